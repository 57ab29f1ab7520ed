"""The core's figures are of work that was done."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from models.clusterer import DensityClusterer
from pipeline.bench_core import assign_rate, community, fit_times
from pipeline.cli.program import app
from pipeline.state import FoldSettings


def test_messages_near_a_cluster_join_it_and_are_counted() -> None:
    result = assign_rate(FoldSettings(attach_floor=0.2), clusters=50, messages=600)
    assert result.joined == 600
    assert assign_rate(FoldSettings(attach_floor=1.0), clusters=50, messages=600).joined == 0
    assert min(result.batch_per_s, result.single_per_s) > 0


def test_a_fit_in_its_own_process_finds_the_groups_of_a_community() -> None:
    told: list[str] = []
    (found,) = fit_times(DensityClusterer(), [900], told.append)
    assert (found.messages, told) == (900, ["fitting 900 messages"])
    assert found.groups == int(DensityClusterer().fit(community(900)).labels.max()) + 1 > 3
    assert found.seconds > 0


def test_a_community_is_always_the_same_and_of_unit_length() -> None:
    rows = community(300)
    np.testing.assert_array_equal(rows, community(300))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("both", [["--memory", "--assign"], ["--assign", "--fits", "20000"]])
def test_one_thing_is_measured_at_a_time(both: list[str]) -> None:
    result = CliRunner().invoke(app, ["bench", *both])
    assert result.exit_code == 2
    assert "name one" in " ".join(result.output.split())
