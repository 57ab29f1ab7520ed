"""Settings: one TOML file, then `GROUNDSWELL_*` variables over it; frozen, checked once, secrets never shown.

A nested name takes two underscores in a variable: `GROUNDSWELL_POLICY__MIN_PEOPLE=12`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pipeline.errors import FatalError
from pipeline.state import FoldSettings

ENV_PREFIX = "GROUNDSWELL_"
FILE_VARIABLE = "GROUNDSWELL_CONFIG"
DEFAULT_FILE = Path("groundswell.toml")

Stage = Literal["embed", "cluster", "file"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """Where Kafka is."""

    bootstrap: str | None = Field(None, description="host:port of a broker; unset: the embedded broker")
    prefix: str = Field("", pattern=r"^[a-zA-Z0-9._-]*$", description="put before every topic and group name")
    partitions: Annotated[int, Field(ge=1, le=1000)] = Field(4, description="partitions of each topic, when created")


class DatabaseSettings(_Section):
    """Where clusters, the journal and the ledger stand."""

    url: SecretStr | None = Field(
        None,
        description="postgresql+asyncpg://USER:PASSWORD@HOST:5432/NAME, or sqlite+aiosqlite:///FILE; unset: SQLite in "
        "the data directory",
    )
    password_file: Path | None = Field(
        None, description="file that holds the password, where it is not to stand in the URL (a container's secret)"
    )

    def with_password(self) -> str | None:
        """Return the URL with its password; FatalError when that stands in no file, or in two places."""
        if self.url is None:
            return None
        url = self.url.get_secret_value()
        if self.password_file is None:
            return url
        try:
            password = self.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
            raise FatalError(f"database.password_file {self.password_file} cannot be read: {reason}") from exc
        scheme, _, rest = url.partition("://")
        user, at, host = rest.partition("@")
        if not at or ":" in user or not password:
            raise FatalError(
                "database.password_file goes with a database.url of the form postgresql+asyncpg://USER@HOST:5432/NAME, "
                "and holds one line"
            )
        return f"{scheme}://{user}:{quote(password, safe='')}@{host}"


class ModelSettings(_Section):
    """What turns text into vectors."""

    name: str | None = Field(None, description="folder of a sentence-transformers model; unset: the one that ships")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="of the model's weights: no others are loaded; the shipped model is always checked"
    )
    languages: tuple[str, ...] = Field(("en",), description="ISO 639-1 codes of the languages that the model serves")
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="threads of the embed stage; unset: one a core"
    )
    batch: Annotated[int, Field(ge=1, le=2048)] = Field(512, description="messages that one call embeds at most")


class KindSettings(_Section):
    """How kinds are told."""

    learn_from_corrections: bool = Field(
        default=False, description="let what people `correct` in this space teach its classifier of kinds"
    )


class ClusterSettings(_Section):
    """When messages join clusters, and when all is looked at anew. Times are event time."""

    window: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    first_fit: Annotated[int, Field(ge=10)] = 60
    fit_min_new: Annotated[int, Field(ge=10)] = 60
    fit_growth: Annotated[float, Field(gt=0, le=1)] = 0.15
    min_cluster_size: Annotated[int, Field(ge=2)] = Field(4, description="smallest group that a fit may find")
    attach_floor: Annotated[float, Field(ge=-1, le=1)] = 0.65
    attach_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    hold: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.55, description="cosine at which two clusters are as likely one matter as two; people's answers move it"
    )
    merge: Annotated[float, Field(ge=-1, le=1)] = Field(0.85, description="cosine from which on two clusters are one")
    pool_ttl: timedelta = timedelta(days=45)
    all_kinds: bool = Field(default=False, description="let questions, praise and chatter found clusters too")

    def fold(self) -> FoldSettings:
        """Return what the fold needs of these."""
        return FoldSettings(
            window=self.window,
            first_fit=self.first_fit,
            fit_min_new=self.fit_min_new,
            fit_growth=self.fit_growth,
            attach_floor=self.attach_floor,
            attach_margin=self.attach_margin,
            hold=self.hold,
            merge=self.merge,
            pool_ttl=self.pool_ttl,
            found_all_kinds=self.all_kinds,
        )


class WatchSettings(_Section):
    """Early warning: when a cluster is on watch, before it is a ticket (`pipeline.watch` has the rule)."""

    false_alarms: Annotated[float, Field(ge=0, le=100)] = Field(
        0.25, description="false alarms a week to be expected at most in a space where nothing changes; 0: no watch"
    )
    window_days: Annotated[int, Field(ge=1, le=30)] = Field(1, description="days whose people are compared")
    baseline: Annotated[int, Field(ge=7, le=120)] = Field(28, description="windows before that they are compared with")
    min_history: Annotated[int, Field(ge=3)] = Field(7, description="such windows that must lie in the space's past")
    min_people: Annotated[int, Field(ge=2)] = Field(4, description="people in the window below which nothing is said")
    opens: bool = Field(default=False, description="let a watch open a ticket, or propose it, at once")

    @property
    def window(self) -> timedelta:
        """The window as a time; whole days, so that the hours of the day cancel."""
        return timedelta(days=self.window_days)


class BacklogSettings(_Section):
    """Issues that people filed already: read from the tracker, and compared with each cluster before it opens."""

    enabled: bool | None = Field(None, description="unset: with Jira; in the local tracker people file nothing")
    propose: Annotated[float, Field(gt=0, le=1)] = Field(
        0.33, description="likeness from which on a cluster waits for a person to link it or to promote it; 1: sameness"
    )
    link: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="likeness from which on mode auto links by itself an issue that is not done; unset: never"
    )
    recent: timedelta = Field(timedelta(days=90), description="how long ago an issue that is done may have changed")
    refresh: timedelta = Field(timedelta(minutes=5), description="time after which is read what changed")
    full: timedelta = Field(timedelta(days=1), description="time after which everything open and recent is read again")


class PolicySettings(_Section):
    """When a cluster becomes a ticket. It speaks of people, not of messages."""

    mode: Literal["shadow", "approve", "auto"] | None = Field(
        None,
        description="shadow: decide, write nothing; approve: a person releases each by `promote`; auto; "
        "unset: auto with the local tracker, approve with Jira",
    )
    kinds: tuple[Literal["complaint", "idea", "question", "praise", "other", "unsure"], ...] = ("complaint", "idea")
    min_people: Annotated[int, Field(ge=1)] = Field(
        8,
        description="distinct authors within the window, what counts beside them included; about 4 for a community "
        "of 500, 8 for 5,000, 15 to 20 for 50,000 or a busy support channel",
    )
    window: timedelta = Field(timedelta(days=30), description="time within which these people must have spoken")
    person_cap: Annotated[float, Field(ge=1, le=5)] = Field(
        1.0, description="the most that one person counts; 1: saying it again counts nothing"
    )
    repeat_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="what each further message of a person counts, up to person_cap"
    )
    min_platforms: Annotated[int, Field(ge=1)] = Field(1, description="platforms on which it must have been said")
    reaction_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="what somebody counts who only reacted or voted, as part of a person"
    )
    reaction_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="the most that reactions and votes count together, as part of min_people"
    )
    reactions_against: tuple[str, ...] = Field(
        ("👎", "-1", "thumbsdown", "❌", "downvote"), description="reactions that support nothing"
    )
    tag_weight: Annotated[float, Field(ge=0)] = Field(2.0, description="people that a manager's tag counts for")
    clear_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="least part of the people who said it clearly as what it is; the unsure never open alone"
    )
    same_text_people: Annotated[int, Field(ge=1)] = Field(
        5, description="people counted at most of those who only repeated one text word for word"
    )
    hold_release: Annotated[float, Field(ge=1)] = Field(
        10.0, description="times min_people from which a cluster held as close to another opens by itself"
    )
    settle: timedelta = Field(timedelta(hours=1), description="least age of a cluster's first message")
    hysteresis: Annotated[float, Field(gt=0, le=1)] = Field(
        0.75, description="part of min_people below which a proposal is withdrawn"
    )
    update_growth: Annotated[float, Field(gt=1)] = Field(2.0, description="growth in people that updates a ticket")
    update_people: Annotated[int, Field(ge=1)] = Field(3, description="least number of new people of such a growth")
    min_update_gap: timedelta = Field(timedelta(hours=24), description="least time between two updates of a ticket")
    watch: WatchSettings = WatchSettings()
    backlog: BacklogSettings = BacklogSettings()


class JiraConfig(_Section):
    """How to reach Jira; read by the sink when `tracker.kind` is "jira"."""

    url: str = ""
    email: str = ""
    token: SecretStr = SecretStr("")
    auth: Literal["cloud", "datacenter"] = "cloud"
    project: str = ""
    issue_types: Mapping[str, str] = Field(default_factory=lambda: {"complaint": "Bug", "idea": "Story"})
    default_issue_type: str = "Task"


class TrackerSettings(_Section):
    """Where tickets are filed."""

    kind: Literal["local", "jira"] = "local"
    jira: JiraConfig = JiraConfig()


class MetricsSettings(_Section):
    """Where `run` serves Prometheus metrics and health."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = Field(9464, description="0: a free port, printed at start")


class Settings(BaseSettings):
    """All settings. `Settings.load` is the only way the program reads them."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    space: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")] = Field(
        "default", description="name of the product's community"
    )
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("groundswell")))
    cache_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_cache_dir("groundswell")))
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    model: ModelSettings = ModelSettings()
    kinds: KindSettings = KindSettings()
    clusters: ClusterSettings = ClusterSettings()
    policy: PolicySettings = PolicySettings()
    tracker: TrackerSettings = TrackerSettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, variables, file."""
        file = settings_file()
        toml = (TomlConfigSettingsSource(settings_cls, toml_file=file),) if file is not None else ()
        return (init_settings, env_settings, *toml)

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the settings; FatalError names each wrong one, where it came from and what is allowed."""
        file = settings_file()
        if file is not None and not file.is_file():
            raise FatalError(f"{FILE_VARIABLE} names {file}, which is not a file: correct the variable or unset it")
        if strange := _strange_variables(cls):
            known = ", ".join(sorted(cls.model_fields))
            raise FatalError(f"no such setting: {', '.join(strange)}; what stands after {ENV_PREFIX} is one of {known}")
        try:
            return cls(**overrides)
        except ValidationError as exc:
            problems = [
                f"  {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
                for problem in exc.errors(include_url=False, include_input=False)
            ]
            where = f"{file} or a {ENV_PREFIX}* variable" if file else f"a {ENV_PREFIX}* variable"
            raise FatalError(f"wrong settings, from {where}:\n" + "\n".join(problems)) from exc
        except ValueError as exc:
            where = str(file) if file is not None else f"a {ENV_PREFIX}* variable"
            raise FatalError(f"cannot read {where}: {exc}") from exc

    @property
    def mode(self) -> Literal["shadow", "approve", "auto"]:
        """The policy's mode in force."""
        return self.policy.mode or ("auto" if self.tracker.kind == "local" else "approve")

    @property
    def reads_backlog(self) -> bool:
        """Whether the tracker's issues are read and compared with clusters."""
        return self.tracker.kind == "jira" if self.policy.backlog.enabled is None else self.policy.backlog.enabled

    @property
    def database_url(self) -> str:
        """The database's URL with its password; never print it."""
        return self.database.with_password() or f"sqlite+aiosqlite:///{self.data_dir / 'groundswell.db'}"


def _strange_variables(settings: type[BaseSettings]) -> list[str]:
    """Return variables with our prefix that name no setting: pydantic-settings passes over a mistyped one."""
    own = {FILE_VARIABLE, "GROUNDSWELL_DEBUG", "GROUNDSWELL_LIFELINE", "GROUNDSWELL_CHAOS"}
    known = set(settings.model_fields)
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in own
        and name.upper().removeprefix(ENV_PREFIX).split("__")[0].lower() not in known
    )


def settings_file() -> Path | None:
    """Return the TOML file in force: the one the variable names, else ./groundswell.toml if it is there."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def sources(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return for each leaf setting its effective value, secrets hidden, and where it came from."""
    file = settings_file()
    from_env = EnvSettingsSource(Settings)()
    from_file = TomlConfigSettingsSource(Settings, toml_file=file)() if file is not None else {}
    result = {}
    for path, value in _leaves(settings, ()):
        if _has(from_env, path):
            origin = ENV_PREFIX + "__".join(path).upper()
        elif _has(from_file, path):
            origin = str(file)
        else:
            origin = "default"
        result[".".join(path)] = (str(value), origin)
    return result


def _leaves(section: BaseModel, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    leaves: list[tuple[tuple[str, ...], Any]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        leaves += _leaves(value, (*path, name)) if isinstance(value, BaseModel) else [((*path, name), value)]
    return leaves


def _has(tree: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True
