"""docker-compose.yml: valid by its specification, closed to the network, free of secrets. Needs no docker."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.broker_config import Ports, server_properties
from pipeline.broker_jars import KAFKA_VERSION
from pipeline.settings import Settings
from pipeline.store.database import checked_url

ROOT = Path(__file__).parents[2]
# What a container network needs to be different.
_OWN_TO_COMPOSE = {
    "node.id",
    "process.roles",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "controller.listener.names",
    "controller.quorum.voters",
    "log.dirs",
}
_SECRET = re.compile(r"pass(word|wd)?\b|secret|token|api_?key|credential|private_key", re.IGNORECASE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, parsed."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return parsed


def compose_schema() -> Any:
    """The Compose Specification's own schema, as check-jsonschema (Apache-2.0) carries it."""
    carrier = metadata.distribution("check-jsonschema")
    vendored = carrier.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    return json.loads(Path(str(vendored)).read_text(encoding="utf-8"))


def test_it_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(compose_schema()).validate(compose)


def test_the_schema_would_notice(compose: dict[str, Any]) -> None:
    broken = compose | {"services": {"kafka": compose["services"]["kafka"] | {"prots": []}}}
    with pytest.raises(jsonschema.ValidationError, match="prots"):
        jsonschema.Draft202012Validator(compose_schema()).validate(broken)


def test_published_ports_are_for_this_machine_only(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(isinstance(port, str) and port.startswith("127.0.0.1:") for port in published)
    assert not any("network_mode" in service for service in compose["services"].values())


def test_no_secret_stands_in_it() -> None:
    for file in ("docker-compose.yml", "Dockerfile"):
        # A name that ends so says in which file a secret is, and not what it is.
        text = re.sub(r"\w+_FILE: /\S+", "", (ROOT / file).read_text(encoding="utf-8"))
        assert _SECRET.findall(text) == []


def test_what_the_database_is_entered_by_is_drawn_once(compose: dict[str, Any], tmp_path: Path) -> None:
    shell, flag, script = compose["services"]["key"]["entrypoint"]
    here = script.replace("/run/key", str(tmp_path))
    drawn = []
    for _ in range(2):
        subprocess.run([shell, flag, here], check=True, timeout=10)
        drawn.append((tmp_path / "postgres").read_text(encoding="ascii"))
    assert drawn[0] == drawn[1]
    assert re.fullmatch(r"[0-9a-f]{64}", drawn[0])
    assert (tmp_path / "postgres").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]


def test_workers_use_the_database_that_was_migrated_and_nobody_else_reaches_it(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    services = compose["services"]
    told = services["postgres"]["environment"]
    (tmp_path / "key").write_text("drawn")
    for name in ("worker", "migrate"):
        own = services[name]["environment"]
        assert (
            own["GROUNDSWELL_DATABASE__PASSWORD_FILE"] == services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"]
        )
        monkeypatch.setenv("GROUNDSWELL_DATABASE__URL", own["GROUNDSWELL_DATABASE__URL"])
        monkeypatch.setenv("GROUNDSWELL_DATABASE__PASSWORD_FILE", str(tmp_path / "key"))
        url = checked_url(Settings.load().database_url)
        assert (url.host, url.username, url.database) == ("postgres", told["POSTGRES_USER"], told["POSTGRES_DB"])
        assert url.password == "drawn"
    waits = services["worker"]["depends_on"]
    assert waits["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert services["postgres"]["networks"] == ["database"]
    assert "ports" not in services["postgres"]
    assert compose["networks"]["database"] == {"internal": True}
    assert {name for name, service in services.items() if "database" in service.get("networks", ())} == {
        "key", "postgres", "migrate", "worker",
    }  # fmt: skip


def test_kafka_is_set_as_the_embedded_broker_is(compose: dict[str, Any]) -> None:
    environment: dict[str, str] = compose["services"]["kafka"]["environment"]
    in_compose = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in environment.items()}
    embedded = server_properties(Ports(clients=1, controller=2))
    assert {key: value for key, value in in_compose.items() if key not in _OWN_TO_COMPOSE} == {
        key: value for key, value in embedded.items() if key not in _OWN_TO_COMPOSE
    }


def test_kafka_is_the_embedded_version(compose: dict[str, Any]) -> None:
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_our_containers_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"]
        assert service.get("read_only") is (None if name in {"kafka", "postgres"} else True)
    users = re.findall(r"^USER (\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["groundswell"]


def test_no_named_volume_is_forgotten(compose: dict[str, Any]) -> None:
    mounts = [mount.split(":")[0] for service in compose["services"].values() for mount in service["volumes"]]
    assert {mount for mount in mounts if mount.isidentifier()} == set(compose["volumes"])
