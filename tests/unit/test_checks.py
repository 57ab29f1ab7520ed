"""What `groundswell check` finds without a broker."""

from __future__ import annotations

from pathlib import Path

from pipeline.checks import Verdict, unfinished_rebuilds
from pipeline.settings import Settings


def test_a_rebuild_that_was_killed_is_named_with_its_remedy(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert unfinished_rebuilds(settings) == []
    left = tmp_path / "rebuild" / "acme"
    left.mkdir(parents=True)
    (found,) = unfinished_rebuilds(settings)
    assert found.verdict is Verdict.WARNING
    assert "acme" in found.detail
    assert str(left) in found.remedy
