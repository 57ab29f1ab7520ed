"""Cursors in `connector.checkpoints`: how their keys are made, and how they are read back."""

import json
from urllib.parse import quote

from pipeline.errors import FatalError
from pipeline.kafka_edge import read_to_end


def checkpoint_key(name: str, instance: str, partition: str = "") -> str:
    """Return the key of a cursor in `connector.checkpoints`; slashes in the first two parts are escaped."""
    return f"{quote(name, safe='')}/{quote(instance, safe='')}/{partition}"


def read_cursors(bootstrap: str, topic: str, prefix: str) -> dict[str, str]:
    """Return the last cursor of each partition under a key prefix."""
    cursors: dict[str, str] = {}
    for record in read_to_end(bootstrap, topic):
        key = (record.key or b"").decode("utf-8", "replace")
        if not key.startswith(prefix):
            continue
        try:
            cursors[key.removeprefix(prefix)] = str(json.loads(record.value)["cursor"])
        except (ValueError, TypeError, KeyError) as exc:
            raise FatalError(
                f"{topic} offset {record.offset} holds no cursor for {key}: something else writes there"
            ) from exc
    return cursors
