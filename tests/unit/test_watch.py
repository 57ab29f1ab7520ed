"""Early warning: what raises it, what does not, and how often it is wrong where nothing changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.watch import PRIOR_DISPERSION, Counts, Rise, dispersion, rises

DAY = timedelta(days=1)
BASELINE = 28
ONE_A_DAY = Counts(recent=1, past=(1,) * BASELINE, space_recent=100, space_past=(100,) * BASELINE)


def watch(counts: Counts, false_alarms: float = 0.25, clusters: int = 30) -> Rise | None:
    return rises(counts, DAY, false_alarms, clusters, min_people=4)


def test_a_rise_is_named_with_what_was_expected() -> None:
    assert watch(replace(ONE_A_DAY, recent=5)) is None
    rise = watch(replace(ONE_A_DAY, recent=12))
    assert rise is not None
    assert rise.recent == 12
    assert rise.expected == pytest.approx(1.0)
    assert 0 < rise.chance <= rise.level < 0.25 / 30


def test_a_busy_day_of_the_whole_space_is_no_rise_and_a_rise_on_a_quiet_one_needs_its_own_rate() -> None:
    assert watch(replace(ONE_A_DAY, recent=12, space_recent=1_200)) is None
    assert watch(replace(ONE_A_DAY, recent=4, space_recent=5)) is None


def test_something_new_needs_several_people() -> None:
    new = replace(ONE_A_DAY, past=(0,) * BASELINE)
    assert watch(replace(new, recent=4)) is None
    assert watch(replace(new, recent=7)) is not None


def test_where_people_answer_each_other_more_are_needed() -> None:
    bursts = replace(ONE_A_DAY, past=(7, 0, 0, 0, 0, 0, 0) * 4, recent=10)
    assert watch(replace(bursts, past=(1,) * BASELINE)) is not None
    assert watch(bursts) is None
    assert dispersion(bursts) > 3
    assert dispersion(replace(bursts, past=(0,) * BASELINE)) == PRIOR_DISPERSION
    assert 1 <= dispersion(ONE_A_DAY) < PRIOR_DISPERSION


counts_of = st.builds(
    lambda recent, past, space_recent, space: Counts(recent, tuple(past), space_recent, (space,) * len(past)),
    st.integers(0, 60),
    st.lists(st.integers(0, 9), min_size=3, max_size=28),
    st.integers(0, 500),
    st.integers(0, 500),
)


@given(counts_of, st.integers(1, 30), st.integers(1, 500))
def test_more_people_keep_a_rise_and_more_clusters_never_make_one(counts: Counts, more: int, clusters: int) -> None:
    before, after = watch(counts), watch(replace(counts, recent=counts.recent + more))
    if before is not None:
        assert after is not None
        assert after.chance <= before.chance
        assert before.chance <= before.level
        assert counts.recent >= 4
    else:
        assert watch(counts, clusters=30 + clusters) is None


# -- false alarms -----------------------------------------------------------------------------------------------------


def _days(rng: np.random.Generator, kind: str, days: int) -> npt.NDArray[np.float64]:
    """Return what multiplies the rate of each hour: the hours of the day, weekends, and a mood of the whole space."""
    hours = np.arange(days * 24)
    if kind == "even":
        return np.ones(len(hours))
    season = (1 + 0.9 * np.sin(2 * np.pi * hours / 24)) * np.where((hours // 24) % 7 >= 5, 0.5, 1.2)
    return season * np.repeat(rng.gamma(4, 1 / 4, days), 24)


def _times(rng: np.random.Generator, rate: float, shape: npt.NDArray[np.float64], kind: str) -> npt.NDArray[np.float64]:
    """Return when people speak, in days, in a cluster whose mean rate never changes."""
    mood = np.repeat(rng.gamma(6, 1 / 6, len(shape) // 24), 24) if kind == "uneven" else 1.0
    counts = rng.poisson(rate / 24 * shape * mood)
    hours = np.repeat(np.arange(len(shape)), counts)
    return np.sort(hours / 24 + rng.random(len(hours)) / 24)


def _false_alarms(kind: str, rate: float, setting: float, repeats: int = 8) -> float:
    """Return false alarms per space and week, of 30 clusters in four weeks after the baseline, everyone once."""
    clusters, weeks = 30, 4
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(repeats):
        shape = _days(rng, kind, BASELINE + 1 + 7 * weeks)
        spoken = [_times(rng, rate, shape, kind) for _ in range(clusters)]
        space = np.sort(np.concatenate([*spoken, _times(rng, 30, shape, "even")]))
        for own in spoken:
            last = -np.inf
            for at in own[own > BASELINE + 1]:
                edges = at - np.arange(BASELINE + 2)
                mine = -np.diff(np.searchsorted(own, edges, side="right"))
                if mine[0] < 4:
                    continue
                whole = -np.diff(np.searchsorted(space, edges, side="right"))
                counts = Counts(int(mine[0]), tuple(mine[1:].tolist()), int(whole[0]), tuple(whole[1:].tolist()))
                if rises(counts, DAY, setting, clusters, 4) is not None:
                    alarms += at - last > 1
                    last = at
    return alarms / (repeats * weeks)


@pytest.mark.parametrize("kind", ["even", "seasonal", "uneven"])
@pytest.mark.parametrize("rate", [0.2, 1.0, 4.0])
def test_false_alarms_stay_below_the_setting(kind: str, rate: float) -> None:
    """Even: Poisson. Seasonal: hours, weekends, moods of the whole space. Uneven: each cluster has moods as well."""
    assert _false_alarms(kind, rate, setting=0.5) <= 0.5
