"""A stateful stand-in for Jira over real HTTP: the v2 paths that `jira` 3.10.5 calls, Cloud or Data Center.

    with JiraServer("cloud") as server:
        server.faults.add(Fault("drop_after"))
        tracker = JiraTracker(server.settings())

Ours, from the published API; `tests.standins.jira_spec` holds it and the client to the vendor's own.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.trackers.jira import JiraSettings
from tests.standins.jira_faults import Exchange, Fault, Faults
from tests.standins.jira_state import ISSUE_TYPES, Flavour, Issue, JiraState, RefusedError

if TYPE_CHECKING:
    from types import TracebackType

EMAIL = "bot@example.com"
TOKEN = "s3cr3t-Token-0123456789"
API = "/rest/api/2/"
PERMISSIONS = ("BROWSE_PROJECTS CREATE_ISSUES EDIT_ISSUES ADD_COMMENTS EDIT_OWN_COMMENTS DELETE_OWN_COMMENTS").split()
Answer = tuple[int, Any]


class JiraServer:
    """Runs while the `with` lasts; `state` is what it remembers, `exchanges` what was said."""

    def __init__(self, flavour: Flavour = "cloud") -> None:
        self.flavour: Flavour = flavour
        self.faults = Faults()
        self.exchanges: list[Exchange] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: dict[str, tuple[str, int]] = {}
        self.lock = RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"jira": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.state = JiraState(flavour, self.url)
        # 0.01: how soon it notices that it shall stop
        self._thread = Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> JiraServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.release_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def settings(self, **changes: Any) -> JiraSettings:
        """Return settings that reach this server."""
        login = {"auth": "cloud", "email": EMAIL} if self.flavour == "cloud" else {"auth": "datacenter"}
        return JiraSettings(**({"url": self.url, "token": TOKEN, "project": "COM"} | login | changes))

    def authorised(self, header: str | None) -> bool:
        """Say whether an Authorization header is the account's."""
        basic = "Basic " + base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
        return header == (basic if self.flavour == "cloud" else f"Bearer {TOKEN}")

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """Do what a request asks; a RefusedError is Jira's refusal."""
        if not path.startswith(API):
            raise RefusedError(404, "null for uri")
        match method, *map(unquote, path[len(API) :].split("/")):
            case "GET", "serverInfo":
                return 200, self._server_info()
            case "GET", "myself":
                return 200, self.state.me()
            case "GET", "field":
                names = ("summary", "description", "labels", "status", "updated")
                return 200, [{"id": name, "name": name, "custom": False, "clauseNames": [name]} for name in names]
            case "GET", "project", key if key in self.state.visible:
                return 200, {"id": "10000", "key": key, "name": key, "self": f"{self.url}{API}project/10000"}
            case "GET", "mypermissions":
                return 200, self._permissions(query)
            case "GET", "issue", "createmeta" if self.flavour == "cloud":
                return 200, self._createmeta(query)
            case "GET", "issue", "createmeta", key, "issuetypes" if self.flavour == "datacenter":
                return 200, self._page(self._types(key))
            case "GET", "issue", "createmeta", key, "issuetypes", _ if self.flavour == "datacenter":
                return 200, self._page(self._fields())
            case "POST", "issue":
                issue = self.state.create(body)
                return 201, {"id": issue.id, "key": issue.key, "self": self._self(issue)}
            case "GET", "issue", id_or_key:
                return 200, self._bean(self.state.get(id_or_key), query.get("fields", ["*all"]))
            case "PUT", "issue", id_or_key:
                self.state.edit(id_or_key, body)
                return 204, None
            case "GET", "search" if self.flavour == "datacenter":
                hits = self.state.search(query.get("jql", [""])[0])
                start, size = self._paging(query)
                beans = [self._bean(hit, query.get("fields", ["*navigable"])) for hit in hits[start : start + size]]
                return 200, {"startAt": start, "maxResults": size, "total": len(hits), "issues": beans}
            case "GET", "search":
                raise RefusedError(410, "The requested API has been removed. Migrate to /rest/api/3/search/jql.")
            case "GET", "search", "jql" if self.flavour == "cloud":
                return 200, self._cloud_page(query)
            case _, "issue", id_or_key, "comment", *rest:
                return self._comment(method, id_or_key, rest, body, query)
        raise RefusedError(404, "null for uri")

    def _comment(self, method: str, id_or_key: str, rest: list[str], body: Any, query: dict[str, list[str]]) -> Answer:
        match method, *rest:
            case ("GET",):
                comments = self.state.get(id_or_key).comments
                start, size = (int(query.get(name, [default])[0]) for name, default in _PAGING)
                page = {"startAt": start, "maxResults": size, "total": len(comments)}
                return 200, page | {"comments": comments[start : start + size]}
            case ("POST",):
                return 201, dict(self.state.write_comment(id_or_key, None, body))
            case "GET", number:
                return 200, dict(self.state.comment(id_or_key, number))
            case "PUT", number:
                return 200, dict(self.state.write_comment(id_or_key, number, body))
            case "DELETE", number:
                self.state.get(id_or_key).comments.remove(self.state.comment(id_or_key, number))
                return 204, None
        raise RefusedError(405, "Method Not Allowed")

    def _paging(self, query: dict[str, list[str]]) -> tuple[int, int]:
        start, size = (int(query.get(name, [default])[0]) for name, default in _PAGING)
        return start, min(size, self.state.page_max)

    def _cloud_page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """Answer with the issues after the one that the token names; it is good for its own query only."""
        jql = query.get("jql", [""])[0]
        hits = self.state.search(jql)
        if "nextPageToken" in query:
            after = self.tokens.get(query["nextPageToken"][0])
            if after is None or after[0] != jql:
                raise RefusedError(400, "The provided next page token is invalid or expired.")
            hits = [hit for hit in hits if int(hit.id) > after[1]]
        _, size = self._paging(query)
        page, more = hits[:size], len(hits) > size
        answer = {"isLast": not more, "issues": [self._bean(hit, query.get("fields", [])) for hit in page]}
        if more:
            token = f"token{len(self.tokens)}"
            self.tokens[token] = (jql, int(page[-1].id))
            answer["nextPageToken"] = token
        return answer

    def _server_info(self) -> dict[str, Any]:
        cloud = self.flavour == "cloud"
        return {
            "baseUrl": self.url,
            "version": "1001.0.0-SNAPSHOT" if cloud else "9.12.5",
            "versionNumbers": [1001, 0, 0] if cloud else [9, 12, 5],
            "deploymentType": "Cloud" if cloud else "Server",
            "buildNumber": 100_200,
            "serverTitle": "Jira",
        }

    def _permissions(self, query: dict[str, list[str]]) -> dict[str, Any]:
        if self.flavour == "cloud" and "permissions" not in query:
            raise RefusedError(400, "The 'permissions' query parameter is required.")
        asked = query["permissions"][0].split(",") if self.flavour == "cloud" else PERMISSIONS
        entries = {
            name: {"id": str(number), "key": name, "name": name, "type": "PROJECT"}
            | {"havePermission": name not in self.state.denied}
            for number, name in enumerate(asked)
        }
        return {"permissions": entries}

    def _createmeta(self, query: dict[str, list[str]]) -> dict[str, Any]:
        kinds = [
            {**kind, "fields": {field["fieldId"]: _without(field, "fieldId") for field in self._fields()}}
            for kind in self._types("")
        ]
        keys = query.get("projectKeys", [""])[0].split(",")
        projects = [{"id": "10000", "key": key, "name": key, "issuetypes": kinds} for key in keys]
        return {
            "expand": "projects",
            "projects": [found for found in projects if found["key"] in self.state.visible],
        }

    def _types(self, _key: str) -> list[dict[str, Any]]:
        return [{"id": number, "name": name, "subtask": False} for number, name in ISSUE_TYPES.items()]

    def _fields(self) -> list[dict[str, Any]]:
        names = {
            "project": "Project",
            "issuetype": "Issue Type",
            "summary": "Summary",
            "reporter": "Reporter",
        }
        needed = {**names, **self.state.required}
        return [
            {
                "fieldId": name,
                "key": name,
                "name": label,
                "required": name in needed,
                "hasDefaultValue": name == "reporter" and self.flavour == "cloud",
                "operations": ["set"],
                "schema": {"type": "string", "system": name},
            }
            for name, label in {**needed, "description": "Description", "labels": "Labels"}.items()
            if name not in self.state.off_screen
        ]

    def _page(self, values: list[dict[str, Any]]) -> dict[str, Any]:
        return {"startAt": 0, "maxResults": 200, "total": len(values), "isLast": True, "values": values}

    def _self(self, issue: Issue) -> str:
        return f"{self.url}{API}issue/{issue.id}"

    def _bean(self, issue: Issue, wanted: list[str]) -> dict[str, Any]:
        names = {name for part in wanted for name in part.split(",")}
        every = names & {"*all", "*navigable"}
        fields = {name: value for name, value in issue.fields.items() if every or name in names}
        return {"id": issue.id, "key": issue.key, "self": self._self(issue), "fields": fields}


_PAGING = (("startAt", "0"), ("maxResults", "50"))


def _without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}


class _Handler(BaseHTTPRequestHandler):
    jira: JiraServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, else each answer waits 40 ms for an acknowledgement

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        split = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.jira.requests.append((self.command, self.path))
        fault = self.jira.faults.take(self.command, split.path)
        if fault is not None and not fault.commits:
            self._strike(fault)
            return
        status, answer = self._right_answer(split.path, parse_qs(split.query), raw, record=fault is None)
        if fault is not None and self._strike(fault):
            return
        self._send(status, {}, "application/json", b"" if answer is None else json.dumps(answer).encode())

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _right_answer(self, path: str, query: dict[str, list[str]], raw: bytes, *, record: bool) -> Answer:
        with self.jira.lock:
            body = None
            try:
                if not self.jira.authorised(self.headers.get("Authorization")):
                    raise RefusedError(401, "Client must be authenticated to access this resource.")
                if self.command in ("POST", "PUT"):
                    if self.headers.get("Content-Type", "").split(";")[0] != "application/json":
                        raise RefusedError(415, "Unsupported Media Type")
                    body = self._json(raw)
                status, answer = self.jira.answer(self.command, path, query, body)
            except RefusedError as refused:
                status, answer = refused.status, refused.body
            if record:
                self.jira.exchanges.append(Exchange(self.command, path, query, body, status, answer))
            return status, answer

    @staticmethod
    def _json(raw: bytes) -> Any:
        try:
            return json.loads(raw)
        except ValueError as exc:
            raise RefusedError(400, "Invalid request payload.") from exc

    def _strike(self, fault: Fault) -> bool:
        """Do what the fault says; True when the right answer shall not follow."""
        if fault.kind == "hang":
            fault.release.wait(60)
            return False
        if fault.kind in ("answer_before", "answer_after"):
            self._send(fault.status, fault.headers, fault.content_type, fault.body.encode())
            return True
        self.close_connection = True
        # lingering for 0 s makes the close a reset, not an end of file
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        return True

    def _send(self, status: int, headers: dict[str, str], content_type: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body if status != 204 else b"")
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True  # a client that gave up waiting
