"""How far two groupings of the same messages agree."""

from collections.abc import Hashable, Sequence

from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score  # type: ignore[import-untyped]


def agreement(gold: Sequence[Hashable], found: Sequence[Hashable]) -> tuple[float, float]:
    """Return ARI (Hubert and Arabie, 1985) and AMI (Vinh et al., 2010) of n messages; equal marks are one group."""
    codes = [_codes(gold), _codes(found)]
    return float(adjusted_rand_score(*codes)), float(adjusted_mutual_info_score(*codes))


def _codes(marks: Sequence[Hashable]) -> list[int]:
    known: dict[Hashable, int] = {}
    return [known.setdefault(mark, len(known)) for mark in marks]
