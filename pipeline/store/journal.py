"""The journal as rows: what the fold was given, without a word of text."""

from __future__ import annotations

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Row

from models.geometry import View
from pipeline.entries import (
    AuthorErased,
    Body,
    Commanded,
    Deleted,
    Entry,
    Features,
    Fitted,
    Posted,
    Reacted,
    Rebuilt,
    Ticked,
    Vector,
)
from pipeline.records import CommandName, MessageRef


def journal_row(space: str, entry: Entry) -> dict[str, Any]:
    """Return the row of `journal` for an entry; vectors stand in their own table under the same seq."""
    row: dict[str, Any] = {
        "space": space,
        "seq": entry.seq,
        "at": entry.at,
        "type": type(entry.body).__name__.lower(),
        "platform": None,
        "message_id": None,
        "author": None,
        "body": {},
        "labels": None,
    }
    match entry.body:
        case Posted() as posted:
            row |= {"platform": posted.ref.platform, "message_id": posted.ref.message_id, "author": posted.author}
            row["body"] = {
                "revision": posted.revision.isoformat(),
                "features": asdict(posted.features),
                "reply_to": list(posted.reply_to) if posted.reply_to else None,
                "edited": posted.edited,
            }
        case Deleted(ref) | Reacted(ref):
            row |= {"platform": ref.platform, "message_id": ref.message_id}
        case AuthorErased(platform, author):
            row |= {"platform": platform, "author": author}
        case Commanded() as command:
            row["body"] = asdict(command)
        case Fitted() as fitted:
            row["body"] = {
                "begun_seq": fitted.begun_seq,
                "refs": [list(ref) for ref in fitted.refs],
                "view": base64.b64encode(fitted.view.tobytes()).decode("ascii"),
                "oldest": fitted.oldest,
            } | ({"names": [list(name) for name in fitted.names]} if fitted.names else {})
            row["labels"] = fitted.labels.astype("<i4").tobytes()
        case Rebuilt() as rebuilt:
            row["body"] = asdict(rebuilt)
        case Ticked():
            pass
    return row


def entry_of(row: Row[Any], vector: Vector | None) -> Entry:
    """Return the entry a row of `journal` holds; a posted message whose vector was erased reads as deleted."""
    return Entry(row.seq, row.at, _body(row, vector))


def _body(row: Row[Any], vector: Vector | None) -> Body:
    body = row.body
    match row.type:
        case "posted" if vector is not None:
            features = body["features"]
            return Posted(
                ref=MessageRef(row.platform, row.message_id),
                author=row.author,
                revision=datetime.fromisoformat(body["revision"]),
                features=Features(**{**features, "kinds": tuple(features["kinds"])}),
                vector=vector,
                reply_to=MessageRef(*body["reply_to"]) if body["reply_to"] else None,
                edited=body["edited"],
            )
        case "posted" | "deleted":
            return Deleted(MessageRef(row.platform, row.message_id))
        case "reacted":
            return Reacted(MessageRef(row.platform, row.message_id))
        case "authorerased":
            return AuthorErased(row.platform, row.author)
        case "commanded":
            named = tuple(MessageRef(*ref) for ref in body.get("messages", ()))
            return Commanded(**{**body, "name": CommandName(body["name"]), "messages": named})
        case "fitted":
            return Fitted(
                begun_seq=body["begun_seq"],
                refs=tuple(MessageRef(*ref) for ref in body["refs"]),
                labels=np.frombuffer(row.labels, "<i4").astype(np.int32),
                view=View.frombytes(base64.b64decode(body["view"])),
                oldest=body["oldest"],
                names=tuple((label, cluster_id) for label, cluster_id in body.get("names", ())),
            )
        case "rebuilt":
            pairs = {name: tuple(tuple(pair) for pair in body[name]) for name in ("clusters", "names", "merged")}
            return Rebuilt(**(body | pairs))
        case _:
            return Ticked()
