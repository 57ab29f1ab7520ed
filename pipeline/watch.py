"""Early warning: do more people say it than before, by more than chance? Pure.

The rule looks at a cluster each time somebody says it, and asks for the people of the last `window` against those of
each window before, back to `baseline`. Two things must both be unlikely to be chance:

* the cluster's own rate rose: given that `recent + past` people spoke in all, they would fall into the last window as
  time does (the exact conditional test of two Poisson rates; Przyborowski and Wilenski, Biometrika 31, 1940);
* its share rose: they would fall into it as the people of the whole space do. So a busy day, a season or a growing
  community raises nothing.

Four corrections keep the false-alarm rate at or below the setting:

* looks come when somebody speaks, and such moments find more people than others do (Mecke's formula), so one person,
  or as many as the index of dispersion says, is not counted; false alarms are then at most looks times the level
  (Boole), and the level is the cluster's part of the setting divided by the looks to be expected in a week;
* counts vary more than Poisson's where people answer each other: they are divided by their index of dispersion
  (Pearson's chi-square over its degrees of freedom, McCullagh and Nelder, Generalized Linear Models, 1989, 4.5), drawn
  towards `PRIOR_DISPERSION` where the past is thin, and never below 1;
* all live clusters of the space share the setting (Bonferroni);
* windows are whole days, so the hours of the day cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from scipy.special import betainc

PRIOR_DISPERSION: Final = 2.5
PRIOR_WINDOWS: Final = 14
"""How many windows of the past the prior weighs as much as."""
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Counts:
    """Distinct people per window: the last one, and those before it, newest first; of the cluster and of its space."""

    recent: int
    past: tuple[int, ...]
    space_recent: int
    space_past: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rise:
    """A rate that rose: `recent` people in the last window where `expected` were to be expected."""

    recent: int
    expected: float
    chance: float
    """Probability of a rise at least as large by chance, the larger of the two tests."""
    level: float
    """What `chance` had to stay below."""


@dataclass(frozen=True, slots=True)
class Rising:
    """A rise, and what may be behind it."""

    rise: Rise
    window: timedelta
    new_platforms: tuple[str, ...] = ()
    """Platforms of the last window on which nobody said it before."""
    release: str | None = None
    """The last release that came out before the rise, within two windows of it."""
    release_at: datetime | None = None


def rises(counts: Counts, window: timedelta, false_alarms: float, clusters: int, min_people: int) -> Rise | None:
    """Return the rise of a cluster's rate, or None when there is none beyond chance.

    Parameters
    ----------
    window : timedelta
        Length of a window of `counts`, whole days.
    false_alarms : float
        False alarms a week to be expected at most in a space whose clusters' rates never change.
    clusters : int
        Live clusters of the space.
    min_people : int
        People in the last window below which nothing is said.
    """
    if counts.recent < min_people or not counts.past:
        return None
    past, windows = sum(counts.past), len(counts.past)
    looks = max(1.0, (past + 1) / windows * (WEEK / window))
    level = false_alarms / max(1, clusters) / looks
    spread = dispersion(counts)
    in_time = _chance(counts.recent, past, 1 / (windows + 1), spread)
    if in_time > level:
        return None
    whole = counts.space_recent + sum(counts.space_past)
    share = counts.space_recent / whole if whole else 1.0
    in_share = _chance(counts.recent, past, share, spread)
    if in_share > level:
        return None
    expected = max(past / windows, past * share / (1 - share) if share < 1 else 0.0)
    return Rise(counts.recent, expected, max(in_time, in_share), level)


def dispersion(counts: Counts) -> float:
    """Return the index of dispersion of the cluster's past, at least 1; 1 is Poisson's."""
    past, total, whole = counts.past, sum(counts.past), sum(counts.space_past)
    prior = PRIOR_WINDOWS * PRIOR_DISPERSION
    if total == 0 or whole == 0:
        return PRIOR_DISPERSION
    chi_square, seen = 0.0, 0
    for own, people in zip(past, counts.space_past, strict=True):
        if people > 0:
            expected = total * people / whole
            chi_square += (own - expected) ** 2 / expected
            seen += 1
    if seen < 2:
        return PRIOR_DISPERSION
    # Windows in which hardly anybody spoke say little about how counts vary.
    weight = min(seen - 1, total)
    return max(1.0, (weight * chi_square / (seen - 1) + prior) / (weight + PRIOR_WINDOWS))


def _chance(recent: int, past: int, share: float, spread: float) -> float:
    """Return the probability that so many people come by chance, the larger of two.

    Of the conditional binomial test, with all counts divided by `spread`; and of the negative binomial law of that
    index of dispersion, whose far tail is heavier, with the past's mean taken as if one more had come.
    """
    if recent <= spread or share >= 1:
        return 1.0
    others = recent - spread
    binomial = float(betainc(others / spread, past / spread + 1, share))
    if spread <= 1:
        return binomial
    mean = (past + 1) * share / (1 - share)
    return max(binomial, float(betainc(others, mean / (spread - 1), (spread - 1) / spread)))
