"""The tracker that the settings name."""

from __future__ import annotations

from pydantic import ValidationError

from pipeline.errors import FatalError
from pipeline.settings import Settings
from pipeline.trackers.port import Tracker


def new_tracker(settings: Settings) -> Tracker:
    """Return the tracker of `tracker.kind`; FatalError when its settings are incomplete."""
    if settings.tracker.kind == "local":
        from pipeline.trackers.local import LocalTracker

        tracker = LocalTracker(settings.database_url)
        tracker.ensure()
        return tracker
    from pipeline.trackers.jira import JiraSettings, JiraTracker

    config = settings.tracker.jira
    try:
        jira = JiraSettings(
            url=config.url,
            email=config.email,
            token=config.token,
            auth=config.auth,
            project=config.project,
            issue_types=config.issue_types,
            default_issue_type=config.default_issue_type,
            label_prefix="",
        )
    except ValidationError as exc:
        problems = "; ".join(
            f"tracker.jira.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        raise FatalError(f"Jira's settings are incomplete: {problems}") from exc
    return JiraTracker(jira)
