"""Gold for kinds: public messages that a language model labelled twice, by id; their texts stay where they are."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from models.acting import kind_of
from models.embedder import Embedder
from models.kind_names import KINDS
from models.kind_quality import Quality, Transferred, kappa, measure, operating_points, transferred
from models.kinds import KindClassifier
from models.text import strip_for_embedding
from pipeline.errors import FatalError

Half = Literal["dev", "test", "all"]
HALVES: tuple[Half, ...] = get_args(Half)
AT_RECALL: Final = 0.65
_COMPLAINT: Final = KINDS.index("complaint")
_ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Gold:
    """A message labelled twice by a language model, in two readings that did not see each other: not by people."""

    data_set: str
    id: str
    label_1: str
    label_2: str

    @property
    def half(self) -> Half:
        """Half of the gold it belongs to: variants may be compared on "dev"; "test" is scored at the end."""
        digest = hashlib.sha256(f"half/{self.data_set}/{self.id}".encode()).digest()
        return "dev" if digest[0] % 2 == 0 else "test"


@dataclass(frozen=True, slots=True)
class Scores:
    """A classifier against the gold.

    Attributes
    ----------
    half
        Which part of the gold was scored.
    kappa
        Cohen's, between the two labellers.
    agreed
        Against the messages that both labelled the same; the others are left out.
    first, second
        Against each labeller, on all messages.
    person
        The second labeller's labels as if they were predictions, against the first's: macro-F1 that one reading
        reaches against another.
    complaint
        The threshold that the dev half would have chosen for complaints (the most precise with a recall of at least
        `AT_RECALL`), on the test half; None when only the dev half was asked for.
    sets
        `agreed`, for each data set.
    """

    half: Half
    kappa: float
    agreed: Quality
    first: Quality
    second: Quality
    person: float
    complaint: Transferred | None
    sets: dict[str, Quality]


def read_gold(path: Path) -> list[Gold]:
    """Read the gold, one JSON object a line with data_set, id, label_1 and label_2.

    Raises
    ------
    FatalError
        When the file or a line of it is not that; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise FatalError(f"cannot read the gold {path}: {exc}") from exc
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            gold = Gold(str(row["data_set"]), str(row["id"]), row["label_1"], row["label_2"])
        except (ValueError, KeyError, TypeError) as exc:
            raise FatalError(
                f"{path}:{number}: not a JSON object with data_set, id, label_1 and label_2 ({exc!r})"
            ) from exc
        if strange := {gold.label_1, gold.label_2} - set(KINDS):
            raise FatalError(f"{path}:{number}: {', '.join(map(repr, strange))} is none of {', '.join(KINDS)}")
        found.append(gold)
    if not found:
        raise FatalError(f"{path} holds no labelled message")
    return found


def read_texts(gold: Sequence[Gold], folder: Path) -> list[str]:
    """Return the texts of the gold's messages, in its order, from FOLDER/DATA_SET.jsonl[.gz].

    Raises
    ------
    FatalError
        Names the file, or the ids, that are missing.
    """
    by_set = {}
    for name in dict.fromkeys(item.data_set for item in gold):
        wanted = {item.id for item in gold if item.data_set == name}
        path = _data_file(folder, name)
        texts = _texts(path, wanted)
        if missing := sorted(wanted - texts.keys()):
            raise FatalError(
                f"{path} lacks {len(missing)} of the {len(wanted)} messages that were labelled, {missing[0]!r} among "
                f"them: is it another version of {name}?"
            )
        by_set[name] = texts
    return [by_set[item.data_set][item.id] for item in gold]


def score(
    gold: Sequence[Gold], texts: Sequence[str], embedder: Embedder, classifier: KindClassifier, half: Half = "all"
) -> Scores:
    """Measure a classifier on one half of the gold, or on all.

    Raises
    ------
    FatalError
        When the two labellers agree on no message of it.
    """
    # The dev half is read whatever is scored: it chooses the threshold for the test half. Never the other way round.
    known = [(item, text) for item, text in zip(gold, texts, strict=True) if half != "dev" or item.half == "dev"]
    read = [item for item, _ in known]
    hidden = embedder.encode_deep([strip_for_embedding(text) for _, text in known]).hidden
    prediction = classifier.predict([text for _, text in known], hidden)
    rows = [row for row, item in enumerate(read) if half in {"all", item.half}]
    items, probabilities = [read[row] for row in rows], prediction.probabilities[rows]
    agreed = [row for row, item in enumerate(items) if item.label_1 == item.label_2]
    if not agreed:
        raise FatalError(f"the two labellers agree on none of the {len(items)} messages of the half {half!r}")
    requests = prediction.requests[rows]
    acted = [kind_of(row, requests=bool(asks)) for row, asks in zip(probabilities, requests, strict=True)]
    first, second = [item.label_1 for item in items], [item.label_2 for item in items]

    def on(rows: Sequence[int]) -> Quality:
        return measure([first[row] for row in rows], probabilities[rows], [acted[row] for row in rows])

    return Scores(
        half=half,
        kappa=kappa(first, second),
        agreed=on(agreed),
        first=measure(first, probabilities, acted),
        second=measure(second, probabilities, acted),
        person=_person(first, second),
        complaint=_complaints(read, prediction.probabilities[:, _COMPLAINT]),
        sets={
            name: on([row for row in agreed if items[row].data_set == name])
            for name in sorted({items[row].data_set for row in agreed})
        },
    )


def _complaints(gold: Sequence[Gold], probability: npt.NDArray[np.float64]) -> Transferred | None:
    """Choose a threshold on the dev half and measure it on the test half; None where one of them has no complaint."""
    agreed = np.array([item.label_1 == item.label_2 for item in gold], dtype=np.bool_)
    is_complaint = np.array([item.label_1 == "complaint" for item in gold], dtype=np.bool_)
    dev = agreed & np.array([item.half == "dev" for item in gold], dtype=np.bool_)
    test = agreed & np.array([item.half == "test" for item in gold], dtype=np.bool_)
    points = operating_points(is_complaint[dev], probability[dev])
    if not points or not is_complaint[test].any():
        return None
    chosen = next(point for point in points if point.at_recall == AT_RECALL)
    return transferred(chosen, is_complaint[test], probability[test])


def _person(first: Sequence[str], second: Sequence[str]) -> float:
    certain = np.eye(len(KINDS))[[KINDS.index(label) for label in second]]
    return measure(first, certain, second).macro_f1


def _data_file(folder: Path, name: str) -> Path:
    for ending in _ENDINGS:
        if (path := folder / f"{name}{ending}").is_file():
            return path
    raise FatalError(
        f"no data set {name} in {folder}: looked for {' and '.join(name + ending for ending in _ENDINGS)}; "
        f"name the folder that holds them with --data"
    )


def _texts(path: Path, wanted: set[str]) -> dict[str, str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            rows = (json.loads(line) for line in lines if line.strip())
            return {str(row["id"]): str(row["text"]) for row in rows if str(row["id"]) in wanted}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as exc:
        raise FatalError(f"{path} is not JSON lines with id and text: {exc!r}") from exc
