"""The simulation of corrections: who is learned from, who is scored, and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.errors import FatalError
from pipeline.kind_corrections import SHUFFLES, simulate
from pipeline.kind_gold import Gold
from tests.standins.readers import WordEmbedder

# In this product's world, "zorp" is a complaint and "mimp" an idea: nothing but corrections can tell.
WORDS = {"zorp": "complaint", "mimp": "idea"}


def gold_of(count: int) -> tuple[list[Gold], list[str]]:
    """Return labelled messages of the dev half, alternating."""
    named = (Gold("a", str(number), "idea", "idea") for number in range(10 * count))
    dev = [item for item in named if item.half == "dev"][:count]
    words = [list(WORDS)[number % 2] for number in range(count)]
    kinds = [WORDS[word] for word in words]
    gold = [replace(item, label_1=kind, label_2=kind) for item, kind in zip(dev, kinds, strict=True)]
    return gold, [f"{word} thing {number}" for number, word in enumerate(words)]


def test_what_only_corrections_can_tell_is_told_and_the_same_twice() -> None:
    gold, texts = gold_of(130)
    test_half = [Gold("a", str(number), "other", "other") for number in range(2_000, 2_400)]
    extra = [item for item in test_half if item.half == "test"][:20]
    doubted = [Gold("a", item.id, "praise", "other") for item in test_half if item.half == "dev"][:20]
    known = ([*gold, *extra, *doubted], [*texts, *("hello" for _ in range(40))])
    found = simulate(*known, WordEmbedder(), 60)
    assert (found.corrections, found.scored) == (60, 70)
    assert set(found.variants) == {"shipped", "refit", "refit, priors"}
    assert len(found.variants["refit"].macro_f1) == len(found.fit_s) == SHUFFLES
    assert max(found.variants["shipped"].macro_f1) < 0.7 < 0.95 < min(found.variants["refit"].macro_f1)
    assert max(found.variants["refit, priors"].ece) < min(found.variants["refit"].ece)
    assert simulate(*known, WordEmbedder(), 60).variants == found.variants
    assert max(found.fit_s) < 5.0


@pytest.mark.parametrize("count", [20, 60])
def test_too_many_corrections_are_refused(count: int) -> None:
    gold, texts = gold_of(count)
    with pytest.raises(FatalError, match=f"has {count} messages .* at most {max(count - 50, 0)} can be"):
        simulate(gold, texts, WordEmbedder(), 15)
