"""A private PostgreSQL of the tests: Debian's programs on a cluster of their own, on 127.0.0.1 and a free port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg  # type: ignore[import-untyped]

from pipeline.store.database import Database

T = TypeVar("T")
ADMIN: Final = "postgres"
ROLE: Final = "groundswell"
"""Owns the tests' databases and is no superuser: what a release needs, it must get along with."""
PASSWORD: Final = "not-a-s3cret/of@anybody"
TEMPLATE: Final = "migrated"
FAST: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""No test pulls a plug; a process that is killed loses nothing of what the system was given."""


def programs() -> Path | None:
    """Return the folder of the newest server's programs, or None where none is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return max(found, key=_version, default=None)


def _version(programs: Path) -> int:
    return int((re.findall(r"/(\d+)/", f"{programs}/") or ["0"])[0])


class PostgresCluster:
    """A cluster in a temporary folder, from `start` to `remove`.

    Parameters
    ----------
    settings : mapping, optional
        Of postgresql.conf; by default those that make tests fast.
    """

    def __init__(self, programs: Path, settings: dict[str, str] | None = None) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="groundswell-pg-"))
        self.port = _free_port()
        self._user: dict[str, Any] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:  # the server refuses to be root's
            user = _somebody()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        secret = self.folder / "admin"
        secret.write_text(PASSWORD, encoding="ascii")
        secret.chmod(0o644)
        # A dictionary's order, as most servers have it: what sorts by bytes here would be another program there.
        order = ["--locale-provider=icu", "--icu-locale=en-US"] if _version(programs) >= 15 else []
        self._run("initdb", "-D", str(self._data), "-U", ADMIN, "-A", "scram-sha-256", "--pwfile", str(secret),
                  "-E", "UTF8", "--locale=C.UTF-8", *order, "--no-sync")  # fmt: skip
        wanted = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "60",
            "shared_buffers": "64MB",
            "log_min_messages": "warning",
        } | (FAST if settings is None else settings)
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in wanted.items())

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server and return when it takes connections."""
        if self._guard is None:
            self._guard = self._end_with_this_process()
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop it; "immediate" is a crash: no checkpoint, recovery from the log at the next start."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self._data))

    def remove(self) -> None:
        """Stop it, if it runs, and remove its folder."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what the server wrote."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def prepare(self) -> None:
        """Make the role, and a migrated database for others to be copied from."""
        self.admin(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        self.admin(f"CREATE DATABASE {TEMPLATE} OWNER {ROLE}")

        async def migrate() -> None:
            database = Database(self.url(TEMPLATE))
            await database.migrate()
            await database.close()

        in_a_thread(migrate)

    def url(self, name: str, user: str = ROLE, password: str | None = PASSWORD) -> str:
        """Return the SQLAlchemy URL of a database."""
        quoted = "" if password is None else ":" + password.replace("/", "%2F").replace("@", "%40")
        return f"postgresql+asyncpg://{user}{quoted}@127.0.0.1:{self.port}/{name}"

    def create(self, template: str = TEMPLATE) -> str:
        """Make a database, migrated unless `template` says otherwise; return its name."""
        name = f"t{uuid.uuid4().hex[:12]}"
        # PostgreSQL 15 copies files by default only with this word; elsewhere block by block through its log.
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {ROLE} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def admin(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run a statement as superuser."""
        return self.ask(statement, (), database, ADMIN)

    def ask(self, query: str, values: tuple[Any, ...], database: str, user: str = ROLE) -> list[Any]:
        """Return the rows of a query, whose values are $1, $2, … in it."""

        async def asked() -> list[Any]:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user=user, password=PASSWORD, database=database
            )
            try:
                return list(await connection.fetch(query, *values))
            finally:
                await connection.close()

        return in_a_thread(asked)

    def _end_with_this_process(self) -> subprocess.Popen[bytes]:
        """Return a process that ends the server when this one was killed: the server is nobody's child."""
        script = 'while [ -d "/proc/$1" ]; do sleep 1; done; "$2/pg_ctl" stop -m immediate -D "$3/data"; rm -rf "$3"'
        return subprocess.Popen(
            ["sh", "-c", script, "guard", str(os.getpid()), str(self._programs), str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            **self._user,
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "Etc/GMT-5"}
        # Output to a file: a server that inherited a pipe would keep it open.
        with (self.folder / f"{program}.out").open("w+", encoding="utf-8") as out:
            ended = subprocess.run(
                [str(self._programs / program), *arguments],
                cwd=self.folder, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False, **self._user,
            )  # fmt: skip
            if ended.returncode:
                out.seek(0)
                raise subprocess.CalledProcessError(ended.returncode, program, out.read())


def in_a_thread(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a loop and a thread of its own: a test may have a running loop."""
    found: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(asyncio.run(call()))
        except BaseException as exc:  # noqa: BLE001 (raised in the caller's thread)
            failed.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def running_cluster(programs: Path, settings: dict[str, str] | None = None) -> Iterator[PostgresCluster]:
    """Yield a running, prepared cluster: the body of a fixture."""
    cluster = PostgresCluster(programs, settings)
    try:
        cluster.start()
        cluster.prepare()
        yield cluster
    finally:
        cluster.remove()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _somebody() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("neither a user postgres nor nobody is there to run the server")
