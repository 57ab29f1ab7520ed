"""Measures of proposed links, on issues whose duplicates are plain to see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.backlog import Shelf, count_words, said_by
from pipeline.errors import FatalError
from pipeline.evaluation.links import (
    Answers,
    Issues,
    as_many,
    ask_with_clusters,
    ask_with_each,
    choose,
    measure,
    read_issues,
)
from tests.standins.readers import WordEmbedder

WORDS = ("login", "export", "dark", "invoice", "search", "sync", "avatar", "video")


def rows(groups: int = 8, members: int = 2, others: int = 20) -> list[dict[str, str | None]]:
    made: list[dict[str, str | None]] = [
        {"text": f"{WORDS[group]} fails", "body": f"detail{group}x{member}", "label": f"g{group}"}
        for group in range(groups)
        for member in range(members)
    ]
    return made + [{"text": f"other{n} thing{n}", "body": f"more{n} of{n} it{n}", "label": None} for n in range(others)]


def issues(tmp_path: Path, made: list[dict[str, str | None]]) -> Issues:
    path = tmp_path / "issues.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return read_issues(path, WordEmbedder())


def test_plain_duplicates_are_found_and_others_are_not(tmp_path: Path) -> None:
    read = issues(tmp_path, rows())

    answers = ask_with_each(read)["likeness"]
    links = measure(answers, 0.4)

    assert links.filed == 16
    assert links.others == 20
    assert (links.precision, links.recall) == (1.0, 1.0)
    assert links.proposed < 0.2


def test_asking_with_each_is_asking_a_tracker_without_it(tmp_path: Path) -> None:
    read = issues(tmp_path, rows())
    answers = ask_with_each(read)["likeness"]

    for row in (0, 5, 30):
        rest = [other for other in range(len(read.texts)) if other != row]
        # idf, alone of all, is taken over every issue
        counts = count_words(read.texts)
        shelf = Shelf.of(read.vectors, counts)
        without = Shelf(shelf.vectors[rest], shelf.words[rest], shelf.idf, shelf.usual[rest])
        near = shelf.nearness()[np.ix_(rest, rest)]
        np.fill_diagonal(near, -np.inf)
        without.usual[:] = -np.sort(-near, axis=1)[:, :10].mean(axis=1)
        likeness = without.likeness(said_by(read.vectors[row : row + 1], [read.texts[row]]))
        assert answers.scores[row] == pytest.approx(float(likeness.max()), abs=1e-4)


def test_clusters_ask_a_tracker_that_holds_every_second_group(tmp_path: Path) -> None:
    read = issues(tmp_path, rows(members=6, others=0))

    answers = ask_with_clusters(read, 5)["likeness"]

    assert int(answers.filed.sum()) == 6 * 4
    assert len(answers.filed) == 6 * 8
    assert answers.right[answers.filed].all()
    assert not answers.right[~answers.filed].any()


def test_each_measure_counts_what_it_says() -> None:
    answers = Answers(
        scores=np.array([0.9, 0.8, 0.7, 0.2, 0.9, 0.1], np.float32),
        right=np.array([True, False, True, True, False, False]),
        filed=np.array([True, True, True, True, False, False]),
        half=np.array([0, 0, 1, 1, 0, 1]),
    )

    links = measure(answers, 0.5)

    assert (links.filed, links.others) == (4, 2)
    assert links.precision == pytest.approx(2 / 3)
    assert links.recall == pytest.approx(2 / 4)
    assert links.proposed == pytest.approx(1 / 2)
    assert links.precision_balanced == pytest.approx(2 / (3 + 4 / 2))
    assert links.precision_strict == pytest.approx(2 / 4)
    assert measure(answers, 0.95).precision is None
    assert measure(answers, 0.5, half=1).recall == pytest.approx(1 / 2)
    other = Answers(answers.scores[::-1] - 0.05, answers.right, answers.filed, answers.half)
    assert as_many(other, answers, 0.75) == pytest.approx(0.75)
    assert (other.scores >= as_many(other, answers, 0.75)).sum() == (answers.scores >= 0.75).sum()
    assert as_many(other, answers, 0.95) == float("inf")
    assert choose(answers, 1) == pytest.approx(0.2)


def test_without_groups_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="no group of two"):
        issues(tmp_path, rows(groups=8, members=1))
    with pytest.raises(FatalError, match="--messages"):
        ask_with_clusters(issues(tmp_path, rows()), 5)
