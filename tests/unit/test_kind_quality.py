"""The measures of kinds, by hand and against sklearn's; the gold's reading; its errors."""

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score  # type: ignore[import-untyped]

from models.kind_names import KINDS
from models.kind_quality import Point, calibration_error, kappa, macro_f1, measure, operating_points, transferred
from models.kinds import KindClassifier, KindPrediction
from pipeline.errors import FatalError
from pipeline.kind_gold import Gold, Half, Scores, read_gold, read_texts, score
from tests.standins.readers import WordEmbedder

GOLD = Path(__file__).parents[1] / "gold" / "kinds.jsonl"


def certain(*kinds: str) -> np.ndarray:
    """Return a row of .96 for each kind."""
    return np.eye(len(KINDS))[[KINDS.index(kind) for kind in kinds]] * 0.95 + 0.01


def test_measures_by_hand() -> None:
    labels = ["complaint", "complaint", "complaint", "idea", "other"]
    found = measure(labels, certain("complaint", "complaint", "idea", "idea", "complaint"), ["complaint", *labels[1:]])
    assert (found.kinds["complaint"].precision, found.kinds["complaint"].recall) == pytest.approx((2 / 3, 2 / 3))
    assert (found.kinds["idea"].precision, found.kinds["idea"].recall) == (0.5, 1.0)
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found.accuracy == pytest.approx(0.6)
    assert found.ece == pytest.approx(0.36)
    assert found.confusion[0] == [2, 1, 0, 0, 0]
    assert found.confusion[4] == [1, 0, 0, 0, 0]
    assert found.acting["complaint"].recall == 1.0
    assert found.interval[0] <= found.macro_f1 <= found.interval[1]


def test_operating_point_is_the_most_precise_that_reaches_the_recall() -> None:
    is_kind = np.array([True, True, False, True, False, False])
    points = operating_points(is_kind, np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    assert [(p.precision, p.recall, p.threshold) for p in points] == [
        pytest.approx((1.0, 2 / 3, 0.8)),
        pytest.approx((1.0, 2 / 3, 0.8)),
        pytest.approx((0.75, 1.0, 0.6)),
    ]
    assert operating_points(np.zeros(2, dtype=bool), np.ones(2)) == ()


def test_a_threshold_of_other_messages_is_measured_on_these() -> None:
    chosen = Point(0.65, 0.6, 0.9, 0.7)
    found = transferred(chosen, np.array([True, True, False, True, False]), np.array([0.9, 0.6, 0.6, 0.59, 0.1]))
    assert (found.precision, found.recall) == pytest.approx((2 / 3, 2 / 3))
    assert found.chosen is chosen
    nothing = transferred(chosen, np.array([True]), np.array([0.2]))
    assert (nothing.precision, nothing.recall) == (0.0, 0.0)
    with pytest.raises(ValueError, match="recall is of nothing"):
        transferred(chosen, np.array([False]), np.array([0.9]))


class Told:
    """A classifier that believes what it reads: "0.7" is a complaint with .7, else other."""

    def predict(self, texts: list[str], hidden: np.ndarray) -> KindPrediction:
        rows = np.zeros((len(hidden), len(KINDS)))
        rows[:, 0] = [float(text) for text in texts]
        rows[:, 4] = 1 - rows[:, 0]
        return KindPrediction(rows, [()] * len(texts), np.zeros(len(texts), np.bool_))


def test_the_dev_half_chooses_and_the_test_half_is_measured() -> None:
    named = [Gold("a", str(number), "complaint", "complaint") for number in range(200)]
    dev, test = ([one for one in named if one.half == half][:6] for half in ("dev", "test"))
    chat = [replace(one, label_1="other", label_2="other") for one in (*dev[3:], *test[3:])]
    gold = [*dev[:3], *chat[:3], *test[:3], *chat[3:]]
    doubted = replace(test[0], id="doubted", label_2="idea")
    said = ["0.9", "0.8", "0.3", "0.7", "0.2", "0.1", "0.95", "0.5", "0.4", "0.85", "0.6", "0.1"]

    def scored(half: Half) -> Scores:
        return score([*gold, doubted], [*said, "0.99"], WordEmbedder(), cast(KindClassifier, Told()), half)

    for half in ("test", "all"):
        found = scored(half).complaint
        assert found is not None
        assert (found.chosen.threshold, found.chosen.precision) == (0.8, 1.0)
        assert (found.precision, found.recall) == pytest.approx((0.5, 1 / 3))
    assert scored("dev").complaint is None
    assert scored("dev").agreed.messages == scored("test").agreed.messages == 6


def test_calibration_error_is_zero_where_half_of_the_half_sure_are_right() -> None:
    rows = np.tile([0.5, 0.2, 0.1, 0.1, 0.1], (4, 1))
    assert calibration_error(np.array([0, 0, 1, 2]), rows) == pytest.approx(0)
    assert calibration_error(np.array([0, 0, 0, 0]), rows) == pytest.approx(0.5)


def test_kappa_corrects_for_chance() -> None:
    assert kappa(["idea", "idea", "other", "other"], ["idea", "other", "other", "other"]) == pytest.approx(0.5)
    assert kappa(["idea"], ["idea"]) == 1.0
    assert kappa(["idea", "other"], ["other", "idea"]) < 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_macro_f1_is_sklearns_over_the_labels_that_occur(pairs: list[tuple[int, int]]) -> None:
    gold, best = (np.array(column) for column in zip(*pairs, strict=True))
    expected = f1_score(gold, best, labels=sorted(set(gold.tolist())), average="macro", zero_division=0.0)
    assert macro_f1(gold, best) == pytest.approx(expected)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="0 labels"):
        measure([], np.empty((0, 5)), [])
    with pytest.raises(ValueError, match="1 labels, 2 predictions"):
        measure(["idea"], certain("idea", "idea"), ["idea"])


def test_the_gold_is_whole_and_holds_no_text() -> None:
    gold = read_gold(GOLD)
    assert len(gold) == 640
    assert len({(item.data_set, item.id) for item in gold}) == 640
    assert {frozenset(json.loads(line)) for line in GOLD.read_text().splitlines()} == {
        frozenset({"data_set", "id", "label_1", "label_2"})
    }
    assert min(Counter(item.half for item in gold).values()) > 280
    assert set(Counter(item.label_1 for item in gold)) == set(KINDS)


def test_texts_are_found_by_id_in_the_order_of_the_gold(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as out:
        out.writelines(json.dumps({"id": str(n), "text": f"a{n}"}) + "\n" for n in range(3))
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": "0", "text": "b0"}))
    gold = [Gold(*pair, "idea", "idea") for pair in (("a", "2"), ("b", "0"), ("a", "0"))]
    assert read_texts(gold, tmp_path) == ["a2", "b0", "a0"]


@pytest.mark.parametrize(
    ("data_set", "id_", "message"),
    [("b", "0", "no data set b in .*--data"), ("a", "9", "lacks 1 of the 1 messages that were labelled, '9' among")],
)
def test_missing_texts_are_named(tmp_path: Path, data_set: str, id_: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "0", "text": "a"}))
    with pytest.raises(FatalError, match=message):
        read_texts([Gold(data_set, id_, "idea", "idea")], tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not a JSON object"),
        ('{"data_set": "a", "id": "1", "label_1": "idea"}', ":1: .*label_2"),
        ('{"data_set": "a", "id": "1", "label_1": "idea", "label_2": "bug"}', ":1: 'bug' is none of complaint"),
        ("", "holds no labelled message"),
    ],
)
def test_bad_gold_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "gold.jsonl").write_text(line)
    with pytest.raises(FatalError, match=message):
        read_gold(tmp_path / "gold.jsonl")
