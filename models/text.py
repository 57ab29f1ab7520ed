"""Pure functions on the text of one message: no model, no state, no locale.

Each of them accepts any `str`, lone surrogates included, and does work linear in its length.
"""

import hashlib
import re
import unicodedata

# The platforms end a post at 4,000 (Discord, with its paid plan) or 4,096 characters (Telegram), the
# embedding model at 256 word pieces, about 1,000. What is longer is a pasted log or a forum essay, and
# without a bound one such post would hold up a batch.
LOOK_CHARS = 4_000
MAX_CLAUSES = 12
# An agreement with more words than this brings something of its own and stands without its parent.
ECHO_MAX_WORDS = 9

_CODE_BLOCK = re.compile(r"```.*?```", re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"<?\b(?:https?://|www\.)[^\s<>]+>?", re.IGNORECASE)
# Discord's <:name:1>, <a:name:1>, <@1>, <@!1>, <@&1> and <#1>: ids that mean nothing in a sentence.
_MARKUP = re.compile(r"<(?:a?:\w+:|@[!&]?|#)\d+>")
_MENTION = re.compile(r"(?<![\w.@/])@\w[\w.-]*")
_LEADING_MENTION = re.compile(r"\s*@\w[\w-]*[,:]?\s*")
_LEADING_NAME = re.compile(r"\s*(?P<name>[^\W\d_][\w-]{1,31}):\s+(?=\S)")
_GREETED = re.compile(
    r"\s*(?i:hi|hey|hello|dear|thanks|thank you|thx|cc|привет)\s+(?P<name>[^\W\d_a-zа-я][^\W\d_]{1,31})\s*(?:[,.!\n]|$)"
)
# Words that people put before a colon and that are no one's name; "error" and its kin by their ending, too.
_NOT_A_NAME = frozenset(
    """actually android app also answer browser btw bug chrome console context crash desktop device edit eg
    error example expected feature firefox fix fwiw goal hint idea imo info input ios issue linux log
    mac macos meta mobile my note notes os output perhaps platform please problem proposal ps question
    reason request resolved result safari so solution something steps suggestion summary terminal the
    this tip tldr todo update version wait warning web windows wish yes no идея баг вопрос ошибка
    проблема обновление версия""".split()
)
_NOT_A_NAME_ENDINGS = ("error", "exception", "warning", "failure", "fault", "bug", "issue", "request")
_DIGIT = re.compile(r"\d")
_STRETCHED = re.compile(r"([^\W\d_])\1{3,}")
_WORD = re.compile(r"[^\W\d_][\w'\u0300-\u036f\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff]*")
_CLAUSE_EDGE = re.compile(r"(?<=[.!?;])\s+|\n+|[\s,]+(?=(?:but|however|although|except|only|wish)\b)", re.IGNORECASE)

STOP_WORDS = frozenset(
    """a about after again all also always am an and any are aren't as at be because been before being both
    but by can can't cannot could couldn't did didn't do does doesn't doing don't done down each either
    else even ever every few for from further get gets getting go goes going got had has have haven't
    having he her here hers him his how i i'd i'll i'm i've if in into is isn't it it's its itself just
    let let's like lot made make many may maybe me might mine more most much must my myself need needs
    no nor not now of off on once one only or other our ours out over own per put quite rather really s
    same say see she should shouldn't since so some still such t than that that's the their theirs them
    then there there's these they they're thing things this those though through to too under until up
    us use used using very via want wants was wasn't way we we're were weren't what what's when where
    which while who whom whose why will with within without won't would wouldn't yet you you're your
    yours yourself
    anybody anyone anything everybody everyone everything guys hello hey hi nobody nothing people please
    someone something somebody thank thanks
    afaik ah aha btw cheers cool fwiw gg haha hahaha hm hmm huh idk imho imo k kinda lmao lol na nah
    nope nvm oh ok okay omg oops pls plz rofl right sorry sure tho thx tnx ty u ugh uh ur wow wtf xd ya
    yeah yep yes yo yup
    а без более бы был была были было быть в вам вас вот все всё всем вы где да даже для до его ее её
    если есть ещё еще же за здесь и из или им их к как какой ко когда кто ли либо лишь мне много можно
    мой моя мы на над надо нам нас не него нее неё нет ни но ну о об однако он она они оно от очень по
    под пока после потом почему при просто про раз с сам свой себя со так также такой там те тебя тем то
    тоже только том тот ты у уже хотя чего чем через что чтобы эта эти это этот я ага ладно лол привет
    пожалуйста спасибо спс хм""".split()
)

_THING = r"(?:\s+exact)?(?:\s+(?:issue|problem|bug|error|thing|behaviou?r|crash|result|question|situation|story))?"
_HAPPENS = r"(?:\s+(?:happens|happened|happening|goes|applies)(?:\s+(?:to|for|with)\s+(?:me|us))?)?"
_TAIL = r"(?:[\s,]+(?:here|too|as\s+well|also|exactly|though|for\s+(?:me|us)|btw|as\s+(?:above|you|op)))*"
_WHERE = r"(?:[\s,]+(?:on|with|in|since|after|at|using|from|under|for)\s+\S+(?:\s+\S+){0,4})?"
_RU_THING = r"(?:\s+(?:сам(?:ая|ое|ый)))?(?:\s+(?:проблема|ошибка|история|фигня|баг|беда))?"
_RU_WHERE = r"(?:[\s,]+(?:на|с|в|после|у)\s+\S+(?:\s+\S+){0,3})?"
_AGREEMENT = re.compile(
    rf"""
      (?:exact(?:ly)?\s+)?(?:the\s+)?(?:exact\s+)?same{_THING}{_HAPPENS}{_TAIL}{_WHERE}
    | (?:i|we)(?:'ve|\s+have|'m|'re|\s+am|\s+are)?\s+(?:also\s+)?
        (?:have|had|having|got|getting|get|see|seeing|experience|experiencing|facing)
        \s+(?:exactly\s+)?(?:(?:the\s+)?same|this){_THING}{_TAIL}{_WHERE}
    | (?:also\s+)?(?:having|getting|seeing|experiencing|facing)
        \s+(?:(?:the\s+)?same|this){_THING}{_TAIL}{_WHERE}
    | (?:also\s+|still\s+)?(?:happens|happening|happened)\s+(?:to|for|with)\s+(?:me|us){_TAIL}{_WHERE}
    | (?:me|us|mine)\s+(?:too|as\s+well|also){_WHERE}
    | (?:i\s+)?can\s+confirm(?:\s+(?:this|that|it))?{_TAIL}{_WHERE}
    | this(?:\s+(?:one|exactly|so\s+much|right\s+here|times\s+\d+))?
    | (?:i\s+)?(?:totally\s+|fully\s+|strongly\s+|completely\s+)?(?:agreed?|second(?:ed)?)
        (?:\s+(?:with\s+)?(?:this|that|you|the\s+above))?
    | ditto{_TAIL}{_WHERE} | likewise | exactly(?:\s+(?:this|that))? | so\s+true | upvoted?
    | i(?:'d|\s+would)?\s+(?:want|need|like|love)\s+(?:this|that|it)\s+(?:too|as\s+well)
    | (?:big\s+|huge\s+)?(?:\+\s?\d{{1,4}}|plus\s+one)(?:\s+(?:to|for|on)\s+(?:this|that|it))?{_TAIL}{_WHERE}
    | плюс(?:ую|\s+один|\s+1)? | поддерживаю | присоединяюсь | соглас(?:ен|на|ны) | аналогично | подтверждаю
    | (?:и\s+)?(?:у\s+(?:меня|нас)|мне|я|мы)\s+
        (?:тоже|также|(?:та(?:кая)?|то)\s*(?:же|к\s+же)){_RU_THING}{_RU_WHERE}
    | (?:точно\s+)?(?:та(?:кая)?|тот|то)\s+же{_RU_THING}{_RU_WHERE}
    """,
    re.VERBOSE,
)
_ECHO_SIGNS = re.compile(r"\s*(?:\^+|☝|👆|👍|💯|🙋)[\s\^☝👆👍💯🙋\ufe0f\u200d♀♂🏻-🏿]*")
_ECHO_EDGES = " \t\n.,!;:)(*_~-–—…^☝👆👍💯😭😢😡😤🙏🙋\ufe0f\u200d"


def _look(text: str, code: str) -> str:
    """Text with code blocks replaced, then cut: a pasted log must not use up the characters to look at."""
    return _CODE_BLOCK.sub(code, text)[:LOOK_CHARS]


def mask(text: str) -> str:
    """Text for n-grams: what differs between two people saying the same is replaced by a token.

    Code block, inline code, link and @user become words of their own, each digit 0, a letter repeated four
    times or more three of it; lower case, straight apostrophe. Beside code, `LOOK_CHARS` are read.

    >>> mask("@ann it is sooooo slow since v12, see https://example.org/a")
    ' atuser  it is sooo slow since v00, see  weblink '
    """
    text = _look(text, " codeblock ")
    text = _INLINE_CODE.sub(" inlinecode ", text)
    text = _LINK.sub(" weblink ", text)
    text = _MENTION.sub(" atuser ", _MARKUP.sub(" ", text))
    text = _STRETCHED.sub(r"\1\1\1", text.replace("’", "'").lower())
    return _DIGIT.sub("0", text)


def strip_for_embedding(text: str) -> str:
    """Text without what says nothing about its subject.

    Drops code blocks, links, platform markup (custom emoji, mentions by id), and at the beginning `@name`
    and `name:`; collapses whitespace. "TypeError: …", "Android: …" and the like are no names and stay;
    without the room's member list other topics before a colon are taken for names.

    Returns
    -------
    str
        At most `LOOK_CHARS` characters; empty only where nothing but those was there.
    """
    text = _MARKUP.sub(" ", _LINK.sub(" ", _look(text, " ")))
    while found := _leading_address(text):
        text = text[found:]
    return " ".join(text.split())


def addressed_names(text: str) -> set[str]:
    """Return the lower-case names of those whom the text addresses: `@name`, a leading `name:`, a first "hi Name,".

    Reads the beginning of `LOOK_CHARS`; "Android: ..." and the like are no names.
    """
    text = text[:LOOK_CHARS]
    names = (
        {found.group().lstrip("@").rstrip(".-").lower() for found in _MENTION.finditer(text)} if "@" in text else set()
    )
    if (found := _LEADING_NAME.match(text)) and _leading_address(text):
        names.add(found["name"].lower())
    if found := _GREETED.match(text):
        names.add(found["name"].lower())
    return names


def _leading_address(text: str) -> int:
    """Length of the `@name` or `name:` that the text begins with; 0 without one."""
    if found := _LEADING_MENTION.match(text):
        return found.end()
    found = _LEADING_NAME.match(text)
    if not found:
        return 0
    name = found["name"].lower()
    return 0 if name in _NOT_A_NAME or name.endswith(_NOT_A_NAME_ENDINGS) else found.end()


def content_words(text: str) -> list[str]:
    """Lower-case words in order, repeats kept, without stop words and chat words (English, some Russian).

    Any script counts as far as it separates words; a run of Chinese or Thai is one word. Links, code blocks,
    platform markup, @mentions, numbers and one-letter words are no content.
    """
    text = _MENTION.sub(" ", _MARKUP.sub(" ", _LINK.sub(" ", _look(text, " "))))
    words = (word.rstrip("'") for word in _WORD.findall(text.replace("’", "'").lower()))
    return [word for word in words if len(word) > 1 and word not in STOP_WORDS]


def is_echo(text: str) -> bool:
    """Whether this is a short agreement that means something only with its parent ("same here", "+1", "^^").

    English and some Russian. A version, device or place after it ("same issue on pixel 7") still is one; a
    statement of its own after it ("same here, and the export fails too") is not.
    """
    if len(text) > 200:  # ECHO_MAX_WORDS words and an address are shorter; spares long texts the patterns
        return False
    if _ECHO_SIGNS.fullmatch(text):
        return True
    bare = strip_for_embedding(text).replace("’", "'").lower().strip(_ECHO_EDGES)
    return len(bare.split()) <= ECHO_MAX_WORDS and _AGREEMENT.fullmatch(bare) is not None


def fingerprint(text: str) -> str:
    """Hash of the letters alone: copies with other links, mentions, digits, case, signs or accents share it.

    Returns
    -------
    str
        The first 16 hex digits of a sha256 over the whole text, or "" where no letter is left ("+1", a
        smile): such texts are no copies of one another. Not a measure of similarity: with one other word
        it is another hash.
    """
    text = _MENTION.sub(" ", _MARKUP.sub(" ", _LINK.sub(" ", text)))
    folded = unicodedata.normalize("NFKD", text.casefold()).casefold()
    letters = "".join(filter(str.isalpha, folded))
    return hashlib.sha256(letters.encode("utf-8", "replace")).hexdigest()[:16] if letters else ""


def clauses(text: str) -> list[str]:
    """Pieces of the text, at most `MAX_CLAUSES` from the beginning, in order, each with a word in it.

    Split after . ! ? ; and line breaks, and before but, however, although, except, only, wish. Code
    blocks are left out: their lines would fill the places.
    """
    pieces = (piece.strip() for piece in _CLAUSE_EDGE.split(_look(text, " ")) if _WORD.search(piece))
    return [piece for _, piece in zip(range(MAX_CLAUSES), pieces, strict=False)]
