"""Plain text for trackers: cleaned, escaped for Jira's wiki markup, cut to Jira's limits. Pure.

What arrives shows as it was written and does nothing: no macro, image, mention, heading, list or table. The
escapes are those of Jira's own renderer, a backslash before one of `-#*_+?^~|%{}[]()!@`, which Data Center
shares with Cloud's converter (npm @atlaskit/editor-wikimarkup-transformer, utils/escape.js). Backslash,
colon, ampersand and full stop cannot be escaped so; an invisible WORD JOINER beside them breaks the pattern
instead. HTML entities would do on Data Center only: Cloud shows them letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

SUMMARY_MAX: Final = 255
"""Jira answers 400 above it, and to any newline."""
TEXT_MAX: Final = 32_767
"""Description and comment (JRASERVER-64351)."""
LABEL_MAX: Final = 255

BLOCK_START: Final = "groundswell keeps this part up to date, please write above or below it"
BLOCK_END: Final = "end of the part that groundswell keeps"
"""Words only: Cloud stores another format and converts on every write and read; these come back unchanged."""

_JOINER: Final = "\u2060"
_ROOM_MIN: Final = 500
"""Below this many characters a block says too little to be worth squeezing in between people's words."""
_NEWLINES: Final = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROLS: Final = [*range(0x00, 0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)]
_BIDI: Final = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_INVISIBLE: Final = [0x200B, *range(0x2060, 0x2066), 0xFEFF]
_DROPPED: Final = dict.fromkeys([*_CONTROLS, *_BIDI, *_INVISIBLE]) | {0x09: " "}
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_ESCAPABLE: Final = re.compile(r"[-#*_+?^~|%{}\[\]()!@]")
_LINE_KEYWORD: Final = re.compile(r"^([^\S\n]*)(?=(?:h\d|bq)\.)", re.MULTILINE | re.IGNORECASE)
_EMOTICON: Final = re.compile(r":(?=[DPdp])")
_URL: Final = re.compile(r"(https?://[\w./%&=:?#~+@!$*'-]+)", re.ASCII | re.IGNORECASE)
_URL_MARKUP: Final = re.compile(r"[~+@!$*']|(?<=\?)\?|(?<=-)-")
_SCHEME: Final = re.compile(r"(https?|ftps?|irc|mailto|jamfselfservice):", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?=#?\w+;)")
_MARKS: Final = {mark: re.compile(rf"^[^\w\n]*{mark}[^\w\n]*$", re.MULTILINE) for mark in (BLOCK_START, BLOCK_END)}


def length(text: str) -> int:
    """Return the UTF-16 units of `text`: Java's `char`, as Jira counts; code points are never more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clean(text: str) -> str:
    """Return `text` with one kind of line end, without controls, bidi marks, joiners, half characters."""
    text = _NEWLINES.sub("\n", text).translate(_DROPPED)
    return _SURROGATES.sub("\ufffd", text)


def escape(text: str) -> str:
    """Return `text`, cleaned, as wiki markup that shows it letter by letter, line by line.

    Only a bare http(s) address stays a link, to what it shows; what is markup inside it is percent-encoded.
    """
    parts = _URL.split(clean(text))
    parts[::2] = [_escape_words(words) for words in parts[::2]]
    # the joiner ends the link: Cloud's converter takes a backslash for a part of an address
    parts[1::2] = [_URL_MARKUP.sub(lambda m: f"%{ord(m[0]):02X}", url) + _JOINER for url in parts[1::2]]
    return _LINE_KEYWORD.sub(rf"\1{_JOINER}", "".join(parts))


def _escape_words(text: str) -> str:
    text = text.replace("\\", "\\" + _JOINER)
    text = _ESCAPABLE.sub(r"\\\g<0>", text)
    text = _SCHEME.sub(rf"\1:{_JOINER}", text)
    text = _ENTITY.sub("&" + _JOINER, text)
    return _EMOTICON.sub(":" + _JOINER, text)


def cut(text: str, limit: int) -> str:
    """Return the longest beginning of `text` within `limit` units that splits no character and no emoji."""
    if length(text) <= limit:
        return text
    kept = text.encode("utf-16-le", "surrogatepass")[: 2 * max(limit, 0)].decode("utf-16-le", "ignore")
    # 16: the longest emoji sequence in use; more marks than that are an attack, not a character
    for _ in range(16):
        if not kept or not (_joins(text[len(kept)]) or kept[-1] == "\u200d"):
            break
        kept = kept[:-1]
    return kept


def _joins(char: str) -> bool:
    skin_tone = 0x1F3FB <= ord(char) <= 0x1F3FF
    return skin_tone or unicodedata.category(char) in ("Mn", "Me", "Mc", "Cf")


def summary_line(text: str) -> str:
    """Return `text` as a summary (no markup there): one line, 1 to 255 units, ending in … when cut."""
    line = " ".join(clean(text).split()) or "(no summary)"
    return line if length(line) <= SUMMARY_MAX else cut(line, SUMMARY_MAX - 1).rstrip() + "…"


def label_slug(text: str) -> str:
    """Return `text` as a label: only letters, digits and `_ . : -`, 1 to 255 units; same text, same label."""
    slug = re.sub(r"[^\w.:]+", "-", clean(unicodedata.normalize("NFKC", text))).strip("-")
    return cut(slug, LABEL_MAX).strip("-") or "unnamed"


def clip(markup: str, limit: int = TEXT_MAX) -> str:
    """Return escaped `markup` within `limit` units: whole lines from its beginning, then "… N more lines"."""
    if length(markup) <= limit:
        return markup
    lines = markup.split("\n")
    room = limit - length(f"\n… {len(lines)} more lines")
    kept: list[str] = []
    for line in lines:
        if length(line) > room:
            break
        kept.append(line)
        room -= length(line) + 1
    if not kept:
        # a cut between a backslash and what it escapes would show the backslash
        kept = [cut(lines[0], room - 1).rstrip("\\") + "…"]
    more = len(lines) - len(kept)
    return "\n".join([*kept, f"… {more} more line{'s' if more > 1 else ''}"] if more else kept)


def render(description: str) -> str:
    """Return a draft's description as wiki markup: "## " begins a heading, "- " a bullet; else plain."""
    lines: list[str] = []
    after_bullet = False
    for line in clean(description).split("\n"):
        bullet = line.startswith("- ")
        if after_bullet and line.strip() and not bullet:
            lines.append("")  # without it the line would belong to the last bullet
        if line.startswith("## "):
            lines.append("h3. " + escape(line[3:].strip()))
        elif bullet:
            lines.append("* " + escape(line[2:].strip()))
        else:
            lines.append(escape(line))
        after_bullet = bullet
    return "\n".join(lines)


def wrap(rendered: str, limit: int = TEXT_MAX) -> str:
    """Return `rendered` between the two marker lines, within `limit` units together."""
    frame = f"{BLOCK_START}\n\n%s\n\n{BLOCK_END}"
    for mark in _MARKS.values():
        # a marker said by the text itself would end the block there at the next update
        rendered = mark.sub(lambda said: said[0].replace("groundswell", f"ground{_JOINER}swell"), rendered)
    return frame.replace("%s", clip(rendered, limit - length(frame) + 2))


def merge_block(existing: str, rendered: str, limit: int = TEXT_MAX) -> str | None:
    """Return `existing` with its machine-owned block replaced by `rendered`; every other character stays.

    None when the two marker lines are not there exactly once and in order, or when people's own text leaves
    no room: then people have made the description theirs, and it is left alone.
    """
    starts, ends = (list(mark.finditer(existing)) for mark in _MARKS.values())
    if len(starts) != 1 or len(ends) != 1 or starts[0].start() > ends[0].start():
        return None
    before, after = existing[: starts[0].start()], existing[ends[0].end() :]
    room = limit - length(before) - length(after)
    if room < _ROOM_MIN:
        return None
    return before + wrap(rendered, room) + after
