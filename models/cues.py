"""Cues: what in a message's wording speaks for a kind, each with a name that a ticket can show.

On strangers' text they add little to the embedding (0 to +.03 macro-F1); they are kept because they explain a
decision, and because `REQUEST_CUES` guard against false ideas.
English only: in another language nearly all cues are 0.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from models.text import LOOK_CHARS

# In both tables a name stands at the margin and under it, indented, the patterns of which one must occur.
# Case does not count, apostrophes are straight, and ^ is the beginning of the whole text.

# A request in so many words: without one of these a message must be surer to act as an idea.
_REQUESTS = r"""
asks for something to be added
    \b(?:please|pls|plz)\b.{0,40}\b(?:CHANGE)\b
    \b(?:please|pls|plz) support (?!my|us\b|me\b)
    \b(?:CHANGE|support)\b[^.?!]{2,80}\b(?:please|pls|plz)\b
says what would be nice
    \b(?:would|could|might|'?d) (?:also |really |even |just )?be (?:\w+ )?(?:NICE)\b
    \bbe (?:so |very |really )?(?:NICE) (?:if|to (?:have|see|be able))\b
    \bit would help\b
    \b(?:would|'d) (?:really )?(?:love|like) (?:to (?:see|be able|have)|if)\b
    \b(?:would|'d) (?:really )?love an?\b
wishes for something
    \bi wish\b
    ^wish\b
    \bif only\b
    \bhope (?:you|they|it gets|to see)\b
calls it a suggestion or feature request
    \b(?:feature|enhancement) (?:request|idea|suggestion)\b
    ^(?:a )?(?:my )?(?:suggestion|proposal|request|idea)s?\b
    \bi(?:'d| would)? (?:suggest|propose)\b
says what the product should have
    (?<!you )\b(?:should|needs? to|ought to) (?:also )?(?:be able|be possible|have|add|allow|let|offer)\b
    \b(?:should|needs? to|has to) be (?:an? )?(?:option|way|setting|button|possib\w+|configurable)\b
    \bthere (?:should|needs to|has to|ought to) be\b
    ^needs (?:an?|more|better)\s
    \b(?:i|we) (?:want|need) (?:an? )?(?:option|way|ability|setting)\b
asks whether something can be added
    \b(?:can|could|would|will) (?:you|u|they|the devs?)(?: guys| please| maybe| also)* (?:CHANGE|support)\b
    \b(?:can|could) we (?:please |also )*(?:add|get|have|make)\b
    \bwould it be possible (?:to|for)\b
asks with how about or why not
    ^(?:so |and )?(?:how about|what if|why not)\b
    \bany chance (?:of|for|you|we|to)\b
    \bwhy (?:can'?t|don'?t) (?:you|we) (?:add|make|have|just)\b
begins with what to add
    ^(?:also,? |and |maybe |just )?(?:ADD) (?!me\b|this\b|it\b|that\b)\w
    ^(?:maybe |just )?make (?!sure)\w
    ^let (?:us|people|users|players|admins|drivers) \w
    ^let me (?!know|check|see|look|try|think|guess|ask|get|find)\w
    ^support (?:for|of|more|\d)
    ^(?:more \w+(?: \w+)? please|(?:an? |the )?(?:ability|options?) (?:to|for))\b
names what is missing to be perfect
    \b(?:\d|five|four) stars? (?:if|when|once)\b
    \bonly thing (?:missing|lacking|i'?d)\b
    \bjust needs\b
    \bwould make (?:this|it) (?:perfect|better|great|so much)\b
"""

_OTHERS = r"""
says what the writer would like
    \bi(?:'d| would)? (?:really |also )?(?:like|love|prefer|need|want) (?:an?|to|if|more)\b
says something is lacking
    \b(?:needs?|lacks?|lacking|missing) (?:an?|the|more|some|better)\b
    \blacks\b
speaks of an option or a way to do it
    \b(?:option|ability|a way|possibility|setting) (?:to|for)\b
    \bsupport for\b
    \binstead of\b
ends with a question mark
    \?\W*$
begins with a question word
    ^(?:\W|so |and |but |hi |hey |hello |ok ){0,4}(?:who|what|when|where|which|how|whose|why)\b
begins as a yes-no question
    ^(?:\W|so |and |but |hi |hey ){0,4}(?:is|are|do|does|did|can|could|will|would|should|has|have|was|any)\b
asks how to do something
    \bhow (?:do|can|to|would|should|could|does|is|are)\b
asks whether somebody knows
    \b(?:any|some)(?:one|body)\b.{0,30}\b(?:know|tell|help|explain|point|tried|using)\b
    \bdoes any(?:one|body)\b
asks for a difference or the best way
    \bdifferences? between\b
    \bis there (?:an?|any)\b
    \b(?:best|right|recommended) way\b
negates
    \b(?:not|no|never|nothing|cannot|without|none|cant|dont|doesnt|wont|isnt|didnt)\b
    n't\b
says it does not work
    \b(?:DENIED)(?: \w+){0,2} (?:work|load|open|connect|save|sync|start|log|play|show|find|send|pair|respond)
speaks of a failure
    \b(?:crash\w*|freez\w*|froze\w*|stuck|lag(?:s|gy|ging|ged)?|slow(?:er|ly)?|bugs?|buggy|broken?|breaks?)\b
    \b(?:fail(?:s|ed|ing|ure)?|errors?|glitch\w*|wrong|disconnect\w*|hangs?|corrupt\w*)\b
    \b(?:stutter\w*|drain\w*|unusable)\b
says it got worse
    \b(?:since|after|with) (?:the |this |your )?(?:\w+ )?(?:update|patch|upgrad\w+|redesign|version|release)\b
    \bany ?(?:more|longer)\b
    \b(?:again|keeps?|still|used to|every (?:single )?time)\b
dislikes it strongly
    \b(?:terrible|worst|worse|useless|hate|annoying|waste|awful|bad|horrible|garbage|ridiculous)\b
    \b(?:disgrace|ruined|mess)\b
    \b(?:unbearable|outrageous|pathetic|disappoint\w+|frustrat\w+|painful\w*|crap|sucks?|rubbish|scam)\b
speaks of money lost or a price
    \b(?:refund|expensive|overpriced|charged|billed|rip-?off|pricey)\b
    \bprice went up\b
asks for a fix
    \bfix(?:ed|es)?\b
asks why it misbehaves
    \bwhy (?:is|does|do|did|are|has|am|can'?t|won'?t)\b
asks whether others have it, too
    \bany(?:one|body) else\b
    \bis it (?:just|only) me\b
names an error
    \b[a-z]{2,30}(?:error|exception)\b
    \b(?:traceback|stack ?trace|segfault|0x[0-9a-f]+|timed? ?out|deadlock)
    \b(?:error|http|code|status|get|getting|a|with) [45]\d\d\b
speaks of something gone or awaited
    \b(?:lost|gone|disappear\w*|vanish\w*|removed|waiting|missing|wiped|expired|declined|rejected)\b
tells what goes wrong for the writer
    \b(?:i|we) (?:can'?t|cannot|get|got|keep|paid|lost|have to|had to)\b
    \bi'?m (?:getting|stuck|unable)\b
praises
    \b(?:great|love[ds]?|loving|awesome|best|easy|easier|helpful|excellent|amazing|fantastic|brilliant|wonderful)\b
    \b(?:perfect(?:ly)?|superb|beautiful(?:ly)?|gorgeous|incredibl[ey]|outstanding|impress(?:ive|ed)|smooth|lovely)\b
    \b(?:favou?rite|nice|good|elegant|joy|adore|happy|pleased)\b
thanks or congratulates
    \b(?:thank\w*|thx|kudos|congrat\w*|well done|hats off)\b
    \b(?:good|great|nice) (?:job|work)\b
recommends it
    \brecommend(?:ed)?\b(?! way)
    \b(?:worth|10/10|just works|highly)\b
    \bworks (?:great|perfectly|like a charm|flawlessly|well)\b
smiles or sends a heart
    <3|[:;]-?[)D]
    [❤\U0001F600-\U0001F60D\U0001F44F\U0001F44D\U0001F389\U0001F525\U0001F970]
negates a praise
    (?:\b(?:not|never|no longer)|n't)(?: \w+){0,2} (?:good|great|easy|helpful|worth|nice|useful|best)\b
turns with but or however
    \b(?:but|however|except|unfortunately|although|though)\b
begins with a greeting or small talk
    ^(?:hi|hello|hey|ok|okay|lol|haha|thanks|thx|thank you|yeah|yes|yep|no|nope|nah|ah|oh|hm+|sure)\b
    ^(?:welcome|sorry|np)\b
    ^good (?:morning|evening|night)\b
tells somebody what to do
    \byou (?:can|could|need|should|have to|must|may|might)\b
    \bi(?:'d| would) (?:ask|go|use|try)\b
begins with advice
    ^(?:just|then|maybe|you|pretty sure|try|use|check|see|it'?s in)\b
    \bby design\b
    \bhave you tried\b
begins with an explanation
    ^(?:because|i think|afaik|as far as|that'?s|it'?s|if you|well|so)\b
addresses somebody
    (?:^|\s)@\w
    ^\w{2,20}[,:]\s
speaks to a reader
    \byou(?:r|rs|'re)?\b
speaks of a person's own affairs
    \b(?:i'?m|i've|he|she|his|my (?:wife|husband|friend|boss|kids?|cat|dog|team))\b
has a link
    https?://|\bwww\.
has code
    `|[{};]\s*$|\w\(\)|^\s*(?:\$ |import |sudo |git |docker |const |select )
names the makers or the product
    \b(?:devs?|developers?|app|update|version|support|team|feature|game|service|software)\b
"""

_SUBSTITUTES = {
    "ADD": "add|allow|enable|introduce|implement|expose|bring back",
    "CHANGE": "add|make|allow|give|let|enable|include|introduce|implement|provide|bring|consider|show",
    "NICE": "nice|great|cool|helpful|useful|awesome|amazing|lovely|good|handy|perfect|fantastic|fun|welcome",
    "DENIED": "(?:does|do|did|wo|ca|is) ?n'?t|not|never|stopped|no longer|cannot|unable to|refuses to",
}

# Figures of a text's shape, each brought to about 0..1; `_shape` returns them in this order.
_SHAPES = (
    "has many words",
    "has two words at most",
    "has five words at most",
    "has question marks",
    "has exclamation marks",
    "is written in capitals",
    "has many digits",
    "has many symbols",
)


def _patterns(table: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Name and compiled pattern of each cue in a table."""
    for block in re.split(r"\n(?=\S)", table.strip("\n")):
        name, *alternatives = block.split("\n")
        joined = "|".join(line.removeprefix("    ") for line in alternatives)
        for word, meaning in _SUBSTITUTES.items():
            joined = joined.replace(word, meaning)
        yield name, re.compile(joined, re.IGNORECASE | re.DOTALL)


_REQUEST_PATTERNS = tuple(_patterns(_REQUESTS))
_PATTERNS = (*_REQUEST_PATTERNS, *_patterns(_OTHERS))

REQUEST_CUES: frozenset[str] = frozenset(name for name, _ in _REQUEST_PATTERNS)
# The first so many columns are wordings, the others shapes.
WORDING_CUES = len(_PATTERNS)
CUE_NAMES: tuple[str, ...] = (*(name for name, _ in _PATTERNS), *_SHAPES)


def cue_matrix(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Cues of each text.

    Parameters
    ----------
    texts
        n texts as they came, n >= 0; of each the first `LOOK_CHARS` characters are read.

    Returns
    -------
    (n, len(CUE_NAMES)) float32
        Columns in the order of `CUE_NAMES`: 0 or 1 for a wording, 0 to about 1 for the shape. Not weights:
        a 1 says that the wording occurs, the classifier learns what that is worth.
    """
    found = np.zeros((len(texts), len(CUE_NAMES)), dtype=np.float32)
    for row, whole in enumerate(texts):
        text = whole[:LOOK_CHARS].replace("\u2019", "'").strip()
        found[row, :WORDING_CUES] = [pattern.search(text) is not None for _, pattern in _PATTERNS]
        found[row, WORDING_CUES:] = _shape(text)
    return found


def has_request(cues: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether a row of `cue_matrix` holds one of `REQUEST_CUES`: (n, len(CUE_NAMES)) float32 to (n,) bool."""
    return np.asarray(cues[:, : len(_REQUEST_PATTERNS)].any(axis=1), dtype=np.bool_)


def _shape(text: str) -> tuple[float, ...]:
    words = len(text.split())
    chars = max(len(text), 1)
    letters = max(sum(map(str.isalpha, text)), 1)
    symbols = sum(not (char.isalnum() or char.isspace()) for char in text)
    return (
        float(np.log1p(words)) / 4,
        float(words <= 2),
        float(words <= 5),
        min(text.count("?"), 3) / 3,
        min(text.count("!"), 3) / 3,
        sum(map(str.isupper, text)) / letters,
        sum(map(str.isdigit, text)) / chars,
        symbols / chars,
    )
