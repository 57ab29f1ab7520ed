"""`evaluate` on labelled messages whose groups are plain to see."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from models import baselines
from pipeline.errors import FatalError
from pipeline.evaluation.reading import Data, read_data
from pipeline.evaluation.streams import for_stream, of_labels, run_batch, run_stream
from pipeline.settings import ClusterSettings, Settings
from tests.standins.readers import word_reader
from tests.unit.test_dry_run import TOPICS, word


def settings(threshold: int) -> Settings:
    clusters = ClusterSettings(first_fit=40, fit_min_new=20, fit_growth=0.2)
    return for_stream(Settings(clusters=clusters), threshold)


def quietly(_done: int, _of: int) -> None:
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    rng = random.Random(3)
    rows = [
        {"id": str(n), "text": f"{topic} does not work {word(rng)}", "label": topic}
        for n in range(40)
        for topic in TOPICS
    ]
    rows += [{"id": f"n{n}", "text": f"{word(rng)} {word(rng)}", "label": "noise"} for n in range(60)]
    path = tmp_path_factory.mktemp("data") / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_data(path, word_reader(), "noise", quietly)


def test_a_stream_of_plain_groups_is_nearly_perfect_and_the_same_each_time(data: Data) -> None:
    one = run_stream(data, settings(10), 10, seed=1)
    assert one.measures.groups == len(TOPICS)
    assert one.measures.recall == 1.0
    assert one.measures.ticket_f1 > 0.85
    assert one.measures.pure_at_opening > 0.9
    assert 1.0 <= one.measures.delay_median < 4.0
    assert run_stream(data, settings(10), 10, seed=1).measures == one.measures


def test_one_fit_and_the_plain_ways(data: Data) -> None:
    assert run_batch(data, settings(10), 10).recall == 1.0
    vectors = data.vectors()
    told = of_labels(data.gold, baselines.leader(vectors, 0.7), 10)
    assert told.recall == 1.0
    labels = baselines.k_means(vectors, 6, seed=0)
    assert sorted(np.unique(labels)) == list(range(6))
    assert baselines.density(vectors[:5]).tolist() == [-1] * 5
    wrong = of_labels(data.gold, np.zeros(len(vectors), np.int32), 10)
    assert (wrong.tickets, wrong.ticket_f1, wrong.false_tickets) == (1, 0.0, 1)


def test_data_without_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"id": "1", "text": "the export fails", "label": "noise"}\n')
    with pytest.raises(FatalError, match="no message with a label"):
        read_data(path, word_reader(), "noise", quietly)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = ['{"text": "the export fails", "label": "export"}', "", '{"text": " "}', "[1]", '{"text": 7, "label": "x"}']
    long = json.dumps({"text": "ab " * 20_000, "label": "export"})
    path.write_text("\n".join([*lines, long, '{"text": "never ends", "label": "export"}']))
    read = read_data(path, word_reader(), "noise", quietly)
    assert read.left_out == {"blank lines": 1, "lines without a text": 3, "texts cut at 40,000 characters": 1}
    assert read.gold == ["export"] * 3
