"""Settings: what wins over what, what a mistake says, and that no secret is ever shown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import FatalError
from pipeline.settings import Settings, settings_file, sources
from pipeline.store.database import Database, checked_url
from pipeline.trackers.factory import new_tracker
from pipeline.trackers.local import LocalTracker

SECRET = "s3cr3t-0123456789"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(__import__("os").environ):
        if name.startswith("GROUNDSWELL_"):
            monkeypatch.delenv(name)


SERVER = "postgresql+asyncpg://ann@db:5433/groundswell?ssl=require"


def test_a_password_may_stand_in_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("a/b@c:é\n", encoding="utf-8")
    monkeypatch.setenv("GROUNDSWELL_DATABASE__URL", SERVER)
    monkeypatch.setenv("GROUNDSWELL_DATABASE__PASSWORD_FILE", str(tmp_path / "password"))

    settings = Settings.load()

    url = checked_url(settings.database_url)
    assert (url.username, url.password, url.host, url.port) == ("ann", "a/b@c:é", "db", 5433)
    assert "a/b" not in repr(settings) + repr(Database(settings.database_url)) + str(sources(settings))
    (tmp_path / "password").unlink()
    with pytest.raises(FatalError, match=r"password_file .*password cannot be read: No such file"):
        _ = settings.database_url


@pytest.mark.parametrize("url", ["postgresql+asyncpg://ann:two@db/x", "postgresql+asyncpg://db/x"])
def test_a_password_file_goes_with_a_user_and_no_other_password(tmp_path: Path, url: str) -> None:
    (tmp_path / "password").write_text(SECRET)
    settings = Settings.load(database={"url": url, "password_file": tmp_path / "password"})
    with pytest.raises(FatalError, match="of the form") as caught:
        _ = settings.database_url
    assert SECRET not in str(caught.value)
    assert "two" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://u:{SECRET}@db/x", "names mysql: what is served is"),
        (f"u:{SECRET}", "cannot be read"),
        (f"postgresql://u:{SECRET}@db:port/x", "cannot be read"),
        (f"postgresql://u:{SECRET}@db", "names a server and no database"),
        (f"postgresql://u:{SECRET}@db/x?foo=1", "an option foo, which is not known"),
    ],
)
def test_a_database_of_no_use_is_refused_without_its_password(url: str, words: str) -> None:
    with pytest.raises(FatalError, match=words) as caught:
        Database(url)
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"


def test_common_spellings_of_a_database_are_understood() -> None:
    for url in ("postgres://ann@db/x?sslmode=require", "postgresql+psycopg2://ann@db/x?ssl=require"):
        assert str(checked_url(url)) == "postgresql+asyncpg://ann@db/x?ssl=require"
    assert str(checked_url("sqlite:////data/x.db")) == "sqlite+aiosqlite:////data/x.db"


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "groundswell.toml"
    path.write_text('space = "acme"\n[policy]\nmin_people = 5\nsettle = "PT30M"\n[kafka]\npartitions = 2\n')
    return path


def test_defaults_file_variables_arguments_in_rising_order(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_file() is not None
    monkeypatch.setenv("GROUNDSWELL_POLICY__MIN_PEOPLE", "12")
    monkeypatch.setenv("GROUNDSWELL_KAFKA__PREFIX", "t.")

    settings = Settings.load(kafka={"partitions": 7})

    assert settings.space == "acme"
    assert (settings.policy.min_people, settings.policy.settle) == (12, timedelta(minutes=30))
    assert settings.policy.window == timedelta(days=30)
    assert (settings.kafka.partitions, settings.kafka.prefix) == (7, "t.")
    shown = sources(Settings.load())
    assert shown["policy.min_people"] == ("12", "GROUNDSWELL_POLICY__MIN_PEOPLE")
    assert shown["space"] == ("acme", toml.name)
    assert shown["policy.window"][1] == "default"


def test_the_variable_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('space = "other"')
    monkeypatch.setenv("GROUNDSWELL_CONFIG", str(other))
    assert Settings.load().space == "other"
    assert toml.exists()

    monkeypatch.setenv("GROUNDSWELL_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(FatalError, match=r"missing\.toml, which is not a file"):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[policy]\nmin_peopel = 5", "policy.min_peopel"),
        ("spaces = 'x'", "spaces"),
        ("[tracker.jira]\nprojekt = 'COM'", "tracker.jira.projekt"),
        ("[policy]\nmin_people = 0", "policy.min_people"),
        ("[policy]\nmode = 'yolo'", "policy.mode"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_file(toml: Path, text: str, named: str) -> None:
    toml.write_text(text)

    with pytest.raises(FatalError) as caught:
        Settings.load()

    assert f"\n  {named}: " in str(caught.value)
    assert toml.name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDSWELL_POLICY__MIN_PEOPEL", "5")

    with pytest.raises(FatalError, match=r"policy\.min_peopel"):
        Settings.load()


def test_a_mistyped_section_in_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDSWELL_POLCY__MIN_PEOPLE", "5")

    with pytest.raises(FatalError, match="GROUNDSWELL_POLCY__MIN_PEOPLE"):
        Settings.load()


def test_a_file_that_is_no_toml_is_named(toml: Path) -> None:
    toml.write_text("space = ")

    with pytest.raises(FatalError, match=r"cannot read groundswell\.toml"):
        Settings.load()


def test_no_secret_is_shown(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml.write_text(f"[tracker.jira]\ntoken = '{SECRET}'\n")
    monkeypatch.setenv("GROUNDSWELL_DATABASE__URL", f"postgresql+asyncpg://me:{SECRET}@db/x")

    settings = Settings.load()

    shown = repr(settings) + str(settings) + repr(settings.tracker) + str(sources(settings))
    shown += settings.model_dump_json()
    assert SECRET not in shown
    assert "**" in sources(settings)["tracker.jira.token"][0]
    assert SECRET in settings.database_url


@pytest.mark.parametrize("token", [f"'{SECRET} with a blank'", f"['{SECRET}']"])
def test_no_error_shows_a_secret(toml: Path, token: str) -> None:
    toml.write_text(
        f"[tracker]\nkind = 'jira'\n[tracker.jira]\nurl = 'https://x.atlassian.net'\nproject = 'COM'\ntoken = {token}\n"
    )

    with pytest.raises(FatalError) as caught:
        new_tracker(Settings.load())

    assert SECRET not in str(caught.value)
    assert "tracker.jira" in str(caught.value)


def test_the_factory_says_what_is_incomplete() -> None:
    with pytest.raises(FatalError) as caught:
        new_tracker(Settings.load(tracker={"kind": "jira"}))

    for name in ("url", "token", "project"):
        assert f"tracker.jira.{name}: " in str(caught.value)


def test_the_local_tracker_is_ready_to_use(tmp_path: Path) -> None:
    tracker = new_tracker(Settings.load(data_dir=tmp_path))

    assert isinstance(tracker, LocalTracker)
    assert tracker.check() == []


@pytest.mark.parametrize(
    ("kind", "named", "mode"), [("local", None, "auto"), ("jira", None, "approve"), ("jira", "auto", "auto")]
)
def test_the_mode_follows_the_tracker_unless_named(kind: str, named: str | None, mode: str) -> None:
    assert Settings.load(tracker={"kind": kind}, policy={"mode": named}).mode == mode


def test_settings_are_frozen() -> None:
    settings = Settings.load()

    with pytest.raises(ValidationError):
        settings.policy.min_people = 3  # type: ignore[misc]
