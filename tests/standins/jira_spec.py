"""Holds exchanges against Jira's published OpenAPI specification, in both directions.

The specification is v3, we speak v2: paths and shapes are the same but for rich text, a string in v2 and a
document in v3, which it leaves untyped. It is data beside the checkout, not part of the project.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.standins.jira_faults import Exchange

_FILE = Path("specs/jira-cloud-v3.json.gz")


def spec_path() -> Path | None:
    """Return where the specification is: in $GROUNDSWELL_SHARED, or in shared/ beside the checkout."""
    beside = Path(__file__).parents[3] / "shared"
    path = Path(os.environ.get("GROUNDSWELL_SHARED", beside)) / _FILE
    return path if path.exists() else None


class JiraSpec:
    """The parsed specification; `load` reads it once."""

    @classmethod
    @cache
    def load(cls, path: Path) -> JiraSpec:
        """Return the specification in `path`."""
        return cls(path)

    def __init__(self, path: Path) -> None:
        with gzip.open(path) as file:
            self._spec: dict[str, Any] = json.load(file)
        self._registry: Registry[Any] = Registry().with_resource("urn:jira", DRAFT4.create_resource(self._spec))
        self._paths = [
            (re.compile(re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(path))), path) for path in self._spec["paths"]
        ]

    def violations(self, exchanges: Iterable[Exchange]) -> list[str]:
        """Return every way in which an exchange departs from the specification."""
        return [problem for exchange in exchanges for problem in self._check(exchange)]

    def _check(self, exchange: Exchange) -> list[str]:
        where = f"{exchange.method} {exchange.path}"
        path = exchange.path.replace("/rest/api/2/", "/rest/api/3/")
        # a fixed path wins over one with a parameter: issue/createmeta is no issue
        fits = sorted((template.count("{"), template) for regex, template in self._paths if regex.fullmatch(path))
        operation = self._spec["paths"][fits[0][1]].get(exchange.method.lower()) if fits else None
        if operation is None:
            return [f"{where}: no such operation"]
        problems = [f"{where}: query: {text}" for text in self._query(operation, exchange.query)]
        if "requestBody" in operation:
            problems += self._body(f"{where}: request", operation["requestBody"], exchange.request)
        answer = operation["responses"].get(str(exchange.status))
        if answer is None:
            return [*problems, f"{where}: status {exchange.status} is not documented"]
        if exchange.response is None:  # 204s are declared with content that never comes
            return problems
        return problems + self._body(f"{where}: response {exchange.status}", answer, exchange.response)

    def _query(self, operation: dict[str, Any], query: dict[str, list[str]]) -> list[str]:
        known = {entry["name"]: entry for entry in operation.get("parameters", []) if entry["in"] == "query"}
        problems = [f"unknown parameter {name}" for name in query if name not in known]
        for name, entry in known.items():
            if entry.get("required") and name not in query:
                problems.append(f"missing parameter {name}")
            kind = entry["schema"].get("type")
            for value in query.get(name, []):
                if kind == "integer" and not value.isdecimal():
                    problems.append(f"{name}={value} is no integer")
        return problems

    def _body(self, where: str, described: dict[str, Any], body: Any) -> list[str]:
        schema = described.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return []
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:jira#/'))
        validator = Draft4Validator(absolute, registry=self._registry)
        return [f"{where}: {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(body)]
