"""Stable ids: what a fit's labels mean for the clusters there were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracking import Reconciliation, reconcile


def tell(
    groups: list[tuple[int, str | None, int]], order: str = "ABCD", anchors: dict[str, set[int]] | None = None
) -> Reconciliation[str]:
    """`groups` says how many messages of which old cluster have which label: (label, cluster, messages)."""
    labels = [label for label, _, count in groups for _ in range(count)]
    previous = [cluster for _, cluster, count in groups for _ in range(count)]
    return reconcile(np.array(labels, np.int32), previous, {name: rank for rank, name in enumerate(order)}, anchors)


@pytest.mark.parametrize(
    ("groups", "continued", "born", "merged"),
    [
        pytest.param([(0, "A", 5)], {0: "A"}, {}, {}, id="goes on"),
        pytest.param([(0, None, 5)], {}, {0: None}, {}, id="born"),
        pytest.param([(0, "A", 8), (1, "A", 4)], {0: "A"}, {1: "A"}, {}, id="split"),
        pytest.param([(0, "A", 8), (0, "B", 4)], {0: "A"}, {}, {"B": "A"}, id="merge"),
        pytest.param([(-1, "A", 5)], {}, {}, {}, id="all noise"),
        pytest.param([(0, "A", 4), (-1, "A", 9)], {0: "A"}, {}, {}, id="a rest goes on"),
        pytest.param([(0, "A", 2), (0, None, 2)], {}, {0: "A"}, {}, id="two in common are coincidence"),
        pytest.param([(0, "A", 3), (0, None, 9), (-1, "A", 9)], {0: "A"}, {}, {}, id="a quarter is enough"),
        pytest.param([(0, "A", 3), (0, None, 10), (-1, "A", 10)], {}, {0: None}, {}, id="less than a quarter"),
        pytest.param([(0, "B", 5), (0, "A", 5)], {0: "A"}, {}, {"B": "A"}, id="a tie goes to the older"),
        pytest.param([(0, "A", 5), (0, "C", 5), (0, "B", 5)], {0: "A"}, {}, {"B": "A", "C": "A"}, id="three in one"),
        pytest.param([(0, "A", 6), (0, "B", 4), (1, "B", 5)], {0: "A", 1: "B"}, {}, {}, id="no merge of what goes on"),
        pytest.param([(0, "A", 9), (0, "B", 3), (-1, "B", 3)], {0: "A"}, {}, {"B": "A"}, id="half is most"),
        pytest.param([(0, "A", 9), (0, "B", 3), (-1, "B", 4)], {0: "A"}, {}, {}, id="less than half stays"),
        pytest.param([(5, "A", 4), (2, "B", 4)], {5: "A", 2: "B"}, {}, {}, id="labels need not count from 0"),
    ],
)
def test_cases(
    groups: list[tuple[int, str | None, int]],
    continued: dict[int, str],
    born: dict[int, str | None],
    merged: dict[str, str | int],
) -> None:
    assert tell(groups) == Reconciliation(continued, born, merged)


def test_the_older_of_equals_is_by_order_and_not_by_name() -> None:
    assert tell([(0, "A", 5), (0, "B", 5)], order="BA").continued == {0: "B"}


CELLS = st.lists(
    st.tuples(st.integers(-1, 5), st.sampled_from([None, "A", "B", "C", "D"])), max_size=80
)  # fmt: skip


@given(CELLS)
def test_properties(cells: list[tuple[int, str | None]]) -> None:
    labels = np.array([label for label, _ in cells], np.int32)
    previous = [cluster for _, cluster in cells]
    plan = reconcile(labels, previous, {name: rank for rank, name in enumerate("ABCD")})
    assert plan.continued.keys() | plan.born.keys() == set(labels[labels >= 0].tolist())
    assert not plan.continued.keys() & plan.born.keys()
    assert len(set(plan.continued.values())) == len(plan.continued)
    assert not plan.merged.keys() & set(plan.continued.values())
    for ended, into in plan.merged.items():
        assert ended != into
        assert into in plan.continued.values() or into in plan.born
    for label, cluster in plan.continued.items():
        assert sum(cell == (label, cluster) for cell in cells) >= 3
    shuffled = list(reversed(cells))
    assert plan == reconcile(
        np.array([label for label, _ in shuffled], np.int32),
        [cluster for _, cluster in shuffled],
        {name: rank for rank, name in enumerate("ABCD")},
    )


@pytest.mark.parametrize(
    ("groups", "anchors", "continued", "born", "merged", "whole"),
    [
        pytest.param([(0, "A", 8), (1, "A", 4)], {"A": {0, 1}}, {0: "A", 1: "A"}, {}, {}, "", id="all that is its own"),
        pytest.param([(0, "A", 8), (1, "A", 4)], {"A": {0}}, {0: "A"}, {1: "A"}, {}, "", id="not what lies far"),
        pytest.param([(0, "A", 8), (0, "B", 9)], {"A": {0}}, {0: "B"}, {}, {}, "A", id="not what is mostly another's"),
        pytest.param([(0, "A", 4), (0, "B", 9)], {"A": set()}, {0: "B"}, {}, {}, "A", id="ends in no other"),
        pytest.param([(0, "A", 9), (0, "B", 4)], {"A": {0}}, {0: "A"}, {}, {"B": "A"}, "", id="others end in it"),
        pytest.param([(0, "A", 9), (0, "B", 4)], {"A": {0}, "B": {0}}, {0: "A"}, {}, {}, "B", id="neither ends"),
        pytest.param([(0, "A", 2), (1, "A", 9)], {"A": {0, 1}}, {1: "A"}, {0: "A"}, {}, "", id="two are coincidence"),
        pytest.param([(0, "A", 3), (0, None, 10)], {"A": {0}}, {0: "A"}, {}, {}, "", id="too few to take"),
    ],
)
def test_anchored_clusters_take_their_groups_and_end_in_no_other(
    groups: list[tuple[int, str | None, int]],
    anchors: dict[str, set[int]],
    continued: dict[int, str],
    born: dict[int, str | None],
    merged: dict[str, str | int],
    whole: str,
) -> None:
    assert tell(groups, anchors=anchors) == Reconciliation(continued, born, merged, frozenset(whole))


@given(CELLS, st.dictionaries(st.sampled_from("ABCD"), st.sets(st.integers(0, 5))))
def test_properties_with_anchors(cells: list[tuple[int, str | None]], anchors: dict[str, set[int]]) -> None:
    plan = tell([(label, cluster, 1) for label, cluster in cells], anchors=anchors)
    assert plan.continued.keys() | plan.born.keys() == {label for label, _ in cells if label >= 0}
    assert not plan.continued.keys() & plan.born.keys()
    assert not plan.merged.keys() & (anchors.keys() | set(plan.continued.values()))
    for name in "ABCD":
        own = [label for label, cluster in plan.continued.items() if cluster == name]
        assert len(own) <= 1 or set(own) <= anchors.get(name, set())
    assert plan == tell([(label, cluster, 1) for label, cluster in reversed(cells)], anchors=anchors)
