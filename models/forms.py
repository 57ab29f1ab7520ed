"""What a short or empty text is, by rules: a link, a dump, a greeting; clear in few words; an agreement that leans.

Pure functions on the text of one message, linear in its length, as `models.text`. English, and a little Russian.
"""

from __future__ import annotations

import re

from models.text import ECHO_MAX_WORDS, LOOK_CHARS, STOP_WORDS, content_words, strip_for_embedding

LINK, DUMP, GREETING = "link only", "code or log only", "greeting"
_BESIDE = 1  # content words beside a link or a dump that say nothing yet: "logs:", "screenshot https://..."
_BESIDE_ALL = 3  # words of any kind: "see the docs" says nothing, "right, it is down" does
_CLEAR_CHARS = 300  # what is longer has words enough

_LINK = re.compile(r"https?://|www\.", re.IGNORECASE)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_LOG_LINE = re.compile(
    r"""\s*(?:
      at\ [\w$.<>\[\]/]+\ ?\(.*  | at\ \S+:\d+.* | File\ "[^"]*",\ line\ \d+.* | Traceback\ \(.* | Caused\ by:.*
    | \[?\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d.* | \[?\d\d:\d\d:\d\d.* | \[?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL)\b.*
    | npm\ (?:ERR|WARN)!?.* | [$>\#]\ ?\S.* | [\w.]{0,80}(?:Error|Exception)\b:?.* | \#\d+\ +(?:0x)?.*
    | [{}()\[\];,]+\s*
    | \.\.\.\ \d+\ more.*
    )""",
    re.VERBOSE,
)
_LOG_LINES = 3
_GREETING = re.compile(
    r"""(?:hi+|hello+|hey+|hiya|howdy|greetings|welcome|hola|bonjour|hallo|gm|gn|morning|evening|привет|здравствуйте
      |good\ (?:morning|evening|afternoon|day|night)|добрый\ (?:день|вечер)|доброе\ утро|всем\ привет)
    (?:[\s,]+(?:there|all|everyone|everybody|guys|folks|people|team|friends|again|to|you|и|всем|y'all))*""",
    re.VERBOSE,
)
_EDGES = " \t\n.,!?;:)(*_~-–—…👋🙂😀😊🎉"

_DETERMINER = r"(?:my|our|the|this|that|these|those|an?|any|your|another|more)"
_QUESTION = re.compile(
    r"""(?:^|[.!?;,]\s+)(?:(?:hi|hello|hey|so|and|but|ok|please|also)[,\s]+)*
    (?:(?:what|where|when|why|how|which|who|whose)(?:'s|'re)?
      |(?:can|could|do|does|did|is|are|was|will|would|should|may|have|has|am|isn't|aren't|can't|don't|doesn't|won't)\s+
       (?:i|we|my|our|the|an?|there|someone|you)
      |как|почему|где|когда|зачем|сколько)\s+\S""",
    re.VERBOSE,
)
_NEGATION = re.compile(r"\b(?:not|never|cannot|cant|no\s+longer|\w+n't)\b|\bне\b")
_WANT = re.compile(r"\b(?:need|want|wants|require|like|rather|request|get|asked|lost)\b")
_HELD = re.compile(rf"\b{_DETERMINER}\s+(?P<noun>[^\W\d_][\w'-]*)")
# A noun or verb that names no subject: "I don't know", "what do you mean?", "that is not the point".
_VAGUE = frozenset(
    """able actually answer bad best better big bit case certain chat code correct cool day different difference doc
    docs easy else end error example fact fine first give go good great guess guy happen happened happening hard help
    hope idea info interesting issue issues job kind know last less link little long look looking mean means mind
    moment nice new next number one ones other others part people person place point possible post pretty problem
    problems question questions read real reason right room run same sense side simple sort start stuff surprised talk
    talking tell think thinking thought time times trick try trying understand understood way week while whole word
    words work worked working works wrong year yet
    being doing having is are was were been be mate dude bro man sir""".split()
)

_LEAN_TAIL = re.compile(
    r"(?:^|[\s,]+)(?:on|with|in|since|after|at|using|from|under|via)\s+(?!th(?:is|at)\s+(?:too|also))"
    r"[^\s,]+(?:\s+[^\s,]+){0,3}?(?=\s*(?:$|,|\b(?:too|either|also|as\s+well|and|since|after|on|in|with|for)\b))"
)
_LEANS = re.compile(r"\b(?:too|either|also|as\s+well|same|likewise|neither|тоже|также)\b")
_SPEAKS = re.compile(
    r"\b(?:i|i'm|i've|me|we|we're|us|mine|ours|it|here|same\s+(?:on|for|with))\b"
    r"|^(?:and\s+|but\s+)?also\s+(?:on|in|with|for|since|after|under|using)\b"
)
_HAPPENS = frozenset(
    """affected affects affecting broke broken breaks crash crashed crashes crashing failed failing fails fail freezes
    freezing froze happen happened happening happens hit hits hitting experience experiencing experienced facing noticed
    noticing occurred occurs occurring stuck seeing saw see seen issue problem bug error behavior behaviour result end
    side case work works working worked reproduce reproduced persists confirm confirmed agree fine""".split()
)
_WORKING = frozenset("work works working worked fine".split())
_PASSED_OVER = frozenset("well neither never likewise yesterday today".split())
_TO_OTHERS = frozenset("thank thanks thx cheers hi hello hey sorry lol haha you u your".split())
_MENTION = re.compile(r"(?<!\w)@\w[\w.-]*")
_WORD = re.compile(r"[^\W\d_][\w']*")


def form_of(text: str) -> str | None:
    """Return `LINK`, `DUMP` or `GREETING` where the text is nothing else, None where it may say something.

    A complaint with a link or a log beside it says something: two content words of its own are enough.
    """
    text = text[: 4 * LOOK_CHARS]
    prose, lines = _without_dumps(text)
    beside = strip_for_embedding(prose).replace("’", "'").lower()
    silent = (
        len(content_words(prose)) <= _BESIDE
        and len(beside.split(maxsplit=_BESIDE_ALL)) <= _BESIDE_ALL
        and not _NEGATION.search(beside)
    )
    if lines and silent:
        return DUMP
    if silent and _LINK.search(prose):
        return LINK
    bare = _MENTION.sub(" ", strip_for_embedding(prose[:200])).replace("’", "'").lower().strip(_EDGES)
    return GREETING if len(prose) <= 200 and _GREETING.fullmatch(bare) else None


def _without_dumps(text: str) -> tuple[str, bool]:
    """Return the text without code, and without logs of `_LOG_LINES` lines or more; True when there were any."""
    prose = _CODE.sub(" ", text)
    found = prose != text
    lines = prose.split("\n")
    said = [line for line in lines if line.strip() and not _LOG_LINE.fullmatch(line)]
    if sum(1 for line in lines if line.strip()) - len(said) >= _LOG_LINES:
        return "\n".join(said), True
    return prose, found


def clear_in_few_words(text: str) -> bool:
    """Whether a text with one content word or two is a clear question, complaint or wish: "Where is my card?".

    It asks (a question word, or an auxiliary and its subject) about a word that names a subject, or it denies or
    wishes something of a thing ("my PIN", "a refund"). Words that name none ("know", "issue") do not count.
    """
    if len(text) > _CLEAR_CHARS:
        return False
    bare = strip_for_embedding(text).replace("’", "'").lower()
    named = {word for word in content_words(bare) if word not in _VAGUE}
    if not named or len(bare.split()) < 3:
        return False
    if _QUESTION.search(bare):
        return True
    held = any(found["noun"].split("-")[0] in named for found in _HELD.finditer(bare))
    return held and bool(_NEGATION.search(bare) or _WANT.search(bare))


def leans_on_parent(text: str) -> bool:
    """Whether a short reply is an agreement with what it answers: "for me too since 5.2", "doesn't work here either".

    At most `ECHO_MAX_WORDS` words with too, either, also, as well, same or the like; apart from where, since when and
    with what it happens ("on android", "since 5.2"), no word names a subject of its own ("the export fails too"
    does). What works "for me too" is no agreement with a complaint; said of no parent, none of these is an echo.
    """
    if len(text) > 200 or "?" in text:
        return False
    bare = strip_for_embedding(text).replace("’", "'").lower().strip(_EDGES)
    if len(bare.split()) > ECHO_MAX_WORDS or not _LEANS.search(bare):
        return False
    left = _WORD.findall(_LEAN_TAIL.sub(" ", bare))
    denies = _NEGATION.search(bare) is not None
    if not (denies or _SPEAKS.search(bare) or not _HAPPENS.isdisjoint(left)):
        return False
    if not _WORKING.isdisjoint(left) and not denies:
        return False
    if not _TO_OTHERS.isdisjoint(left):
        return False
    return all(word in STOP_WORDS or word in _HAPPENS or word in _PASSED_OVER for word in left)
