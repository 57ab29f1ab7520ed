"""What `groundswell check` asks a Jira project before the first issue is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pipeline.trackers.jira import JiraSettings

Ask = Callable[[str, Callable[[Any], Any]], Any]
"""(what, question to the client) -> answer, failing with our errors; the client's answers are loose JSON."""

_PERMISSIONS: Final = {
    "BROWSE_PROJECTS": "see issues",
    "CREATE_ISSUES": "create issues",
    "EDIT_ISSUES": "keep issues up to date",
    "ADD_COMMENTS": "write the comment with quotes",
    "EDIT_OWN_COMMENTS": "take deleted quotes out of it",
    "DELETE_OWN_COMMENTS": "delete it",
}
_SENT: Final = frozenset({"project", "issuetype", "summary", "description", "labels"})
_PAGE: Final = 200


def find_problems(settings: JiraSettings, ask: Ask) -> list[str]:
    """Return what would stop the sink, each problem with its remedy. Writes nothing, raises as `ask` does."""
    cloud = ask("read the server info", lambda jira: jira.deploymentType) == "Cloud"
    if cloud != (settings.auth == "cloud"):
        fits = "cloud" if cloud else "datacenter"
        return [f"{settings.url} is Jira {'Cloud' if cloud else 'Data Center'}: set tracker.jira.auth to {fits}"]
    ask("see who I am", lambda jira: jira.myself())
    ask("see the project", lambda jira: jira.project(settings.project))
    return [*_permissions(settings, ask), *_issue_types(settings, ask, cloud=cloud)]


def _permissions(settings: JiraSettings, ask: Ask) -> list[str]:
    names = ",".join(_PERMISSIONS)
    answer = ask(
        "see my permissions",
        lambda jira: jira.my_permissions(projectKey=settings.project, permissions=names),
    )
    have = {name for name, entry in answer["permissions"].items() if entry.get("havePermission")}
    return [
        f"the account may not {purpose} in {settings.project}: give it the permission {name}"
        for name, purpose in _PERMISSIONS.items()
        if name not in have
    ]


def _issue_types(settings: JiraSettings, ask: Ask, *, cloud: bool) -> list[str]:
    wanted = sorted({*settings.issue_types.values(), settings.default_issue_type})
    fields_of = (_cloud_fields if cloud else _datacenter_fields)(settings.project, wanted, ask)
    problems = []
    for name in wanted:
        if name not in fields_of:
            problems.append(
                f"{settings.project} has no issue type {name!r} for the account: "
                "set tracker.jira.issue_types and tracker.jira.default_issue_type to types of the project"
            )
            continue
        problems.extend(_fields(name, fields_of[name]))
    return problems


def _fields(issue_type: str, fields: list[Mapping[str, Any]]) -> list[str]:
    on_screen = {str(field.get("fieldId") or field.get("key")): field for field in fields}
    problems = [
        f"field {key} is not on the create screen of {issue_type}: put it there"
        for key in ("summary", "description", "labels")
        if key not in on_screen
    ]
    for key, field in on_screen.items():
        if field.get("required") and not field.get("hasDefaultValue") and key not in {*_SENT, "reporter"}:
            problems.append(
                f"field {field.get('name', key)!r} ({key}) is required for {issue_type}: "
                "give it a default value or make it optional"
            )
    return problems


def _cloud_fields(project: str, wanted: list[str], ask: Ask) -> dict[str, list[Mapping[str, Any]]]:
    # jira 3.10.5 refuses the newer endpoints on Cloud and looks for "values" where Cloud says "issueTypes"
    meta = ask(
        "read the issue types",
        lambda jira: jira.createmeta(projectKeys=project, expand="projects.issuetypes.fields"),
    )
    return {
        kind["name"]: [{"fieldId": key, **field} for key, field in kind.get("fields", {}).items()]
        for found in meta["projects"]
        for kind in found["issuetypes"]
        if kind["name"] in wanted
    }


def _datacenter_fields(project: str, wanted: list[str], ask: Ask) -> dict[str, list[Mapping[str, Any]]]:
    types = ask("read the issue types", lambda jira: jira.project_issue_types(project, maxResults=_PAGE))
    found = {}
    for kind in types:
        if kind.raw["name"] in wanted:
            found[kind.raw["name"]] = _type_fields(project, kind.raw["id"], ask)
    return found


def _type_fields(project: str, issue_type: str, ask: Ask) -> list[Mapping[str, Any]]:
    fields = ask(
        "read the fields",
        lambda jira: jira.project_issue_fields(project, issue_type, maxResults=_PAGE),
    )
    return [field.raw for field in fields]
