"""The classifier as it ships, with the embedder as it ships."""

import hashlib
import json
import time
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pytest

from models.acting import ActingRule, kind_of, vote
from models.cues import CUE_NAMES
from models.embedder import SentenceEmbedder
from models.kind_examples import shipped_examples
from models.kind_names import KINDS
from models.kinds import IDEA_ODDS, PRIORS, RECIPE_VERSION, KindClassifier, train_kinds
from models.text import strip_for_embedding
from tests.standins.readers import WordEmbedder

# Written for this test, before the classifier was first run on them; nothing of them stands in the examples.
HELD_OUT = {
    "complaint": [
        "the launcher won't start after yesterday's hotfix",
        "My card got swallowed by your machine and nobody picks up the phone",
        "Every invoice I print is missing the tax line",
        "constant disconnects in the evening, unplayable",
        "Why does the tablet app keep forgetting my password?",
        "Two of the three headphones I bought were dead on arrival",
        "you broke the search, it returns nothing at all",
        "Paying 15 a month for pixelated streams is a rip-off",
    ],
    "idea": [
        "Please add a way to duplicate a form",
        "It would be great to have a map of charging stations",
        "can you make the font size adjustable",
        "I wish there were a left-handed layout",
        "Feature request: bulk delete for old recordings",
        "Let us export our stats as an image",
        "Could you add Polish to the list of languages?",
        "There should be an option to hide finished chores",
    ],
    "question": [
        "Where can I download my tax certificate?",
        "how do i reset my high scores",
        "Does the family subscription cover six people?",
        "What is the maximum length of a username?",
        "Which cable do I need for the external display?",
        "is the museum tour available in French?",
        "How long are log files kept?",
        "Can I use the same licence on my laptop and my desktop?",
    ],
    "praise": [
        "Absolutely brilliant update, everything feels faster",
        "I love this app so much",
        "Best budgeting tool I have ever used",
        "The new soundtrack is stunning",
        "works perfectly, highly recommend it",
        "Such a beautiful and simple interface",
        "great product, great value",
        "Amazing battery life and a gorgeous screen",
    ],
    "other": [
        "good evening folks",
        "thanks Peter, will try it after dinner",
        "haha yeah",
        "which browser are you using?",
        "you can find that under preferences, third tab",
        "ok got it, cheers",
        "I'm in the train right now",
        "2023-11-04 10:15:02 DEBUG connection pool size=8",
    ],
}


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return SentenceEmbedder.load()


@pytest.fixture(scope="module")
def classifier(embedder: SentenceEmbedder) -> KindClassifier:
    return train_kinds(embedder)


def embed(embedder: SentenceEmbedder, texts: list[str]) -> npt.NDArray[np.float32]:
    return embedder.encode_deep([strip_for_embedding(text) for text in texts]).hidden


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, str]]:
    lines = files("models").joinpath("data/kinds.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["kind"]) for row in map(json.loads, lines)]


def test_recipe_version_names_the_examples() -> None:
    digest = hashlib.sha256(files("models").joinpath("data/kinds.jsonl").read_bytes()).hexdigest()
    assert RECIPE_VERSION.endswith(digest[:8])


def test_examples_are_many_balanced_and_apart_from_the_test(examples: list[tuple[str, str]]) -> None:
    counts = [sum(kind == one for _, one in examples) for kind in KINDS]
    assert sum(counts) == len(examples) >= 3_000
    # Chatter is the most various.
    assert min(counts) >= 450
    assert max(counts) <= 1_000
    texts = {text.casefold() for text, _ in examples}
    assert len(texts) == len(examples)
    assert texts.isdisjoint(text.casefold() for group in HELD_OUT.values() for text in group)


def test_what_ships_is_what_the_model_reads_in_the_examples(
    embedder: SentenceEmbedder, examples: list[tuple[str, str]]
) -> None:
    shipped = shipped_examples(embedder)
    assert list(zip(shipped.texts, shipped.kinds, strict=True)) == examples
    some = np.random.default_rng(0).choice(len(examples), 60, replace=False)
    read = embed(embedder, [examples[row][0] for row in some])
    cosines = np.einsum("nh,nh->n", read, shipped.hidden[some])
    # Whole numbers turn a row by half a degree; another example's row is a quarter turn and more away.
    assert cosines.min() > 0.9995, "run: python -m models.kind_examples"
    assert shipped.hidden.dtype == np.float32
    assert np.allclose(np.linalg.norm(shipped.hidden, axis=1), 1, atol=1e-6)


def test_another_model_reads_the_examples_itself() -> None:
    embedder = WordEmbedder()
    assert shipped_examples(embedder).hidden.shape == (embedder.texts, embedder.dimensions)
    assert embedder.texts >= 3_000


def test_held_out_sentences_get_their_kind(classifier: KindClassifier, embedder: SentenceEmbedder) -> None:
    texts = [text for group in HELD_OUT.values() for text in group]
    gold = [kind for kind, group in HELD_OUT.items() for _ in group]
    found = classifier.predict(texts, embed(embedder, texts)).probabilities.argmax(axis=1)
    wrong = [(text, KINDS[best]) for text, kind, best in zip(texts, gold, found, strict=True) if KINDS[best] != kind]
    assert len(texts) == 40
    assert len(wrong) <= 4, wrong


def test_rows_sum_to_one_and_the_same_twice_in_any_batch(
    classifier: KindClassifier, embedder: SentenceEmbedder
) -> None:
    texts = [text for group in HELD_OUT.values() for text in group] + [
        "it broke. " * 30,
        "",
        "\ud83d",
        "не работает",
    ]
    vectors = embed(embedder, texts)
    whole = classifier.predict(texts, vectors)
    assert whole.probabilities.shape == (44, 5)
    assert whole.probabilities.dtype == np.float64
    assert np.allclose(whole.probabilities.sum(axis=1), 1, atol=1e-12)
    assert whole.probabilities.min() > 0
    alone = [classifier.predict([text], vectors[row : row + 1]) for row, text in enumerate(texts)]
    assert np.array_equal(whole.probabilities, np.vstack([one.probabilities for one in alone]))
    assert whole.cues == [one.cues[0] for one in alone]


def test_fitting_again_gives_the_same(classifier: KindClassifier, embedder: SentenceEmbedder) -> None:
    texts = [group[0] for group in HELD_OUT.values()]
    vectors = embed(embedder, texts)
    again = train_kinds(embedder).predict(texts, vectors)
    assert np.allclose(again.probabilities, classifier.predict(texts, vectors).probabilities, atol=1e-6)


def test_no_messages(classifier: KindClassifier) -> None:
    nothing = classifier.predict([], np.empty((0, 384), dtype=np.float32))
    assert nothing.probabilities.shape == (0, 5)
    assert nothing.cues == []
    assert nothing.requests.shape == (0,)


def test_cues_say_why(classifier: KindClassifier, embedder: SentenceEmbedder) -> None:
    texts = ["Please add a way to duplicate a form", "the app crashed again", "не работает"]
    prediction = classifier.predict(texts, embed(embedder, texts))
    assert "asks for something to be added" in prediction.cues[0]
    assert "speaks of a failure" in prediction.cues[1]
    assert all(len(names) <= 3 and set(names) <= set(CUE_NAMES) for names in prediction.cues)
    assert prediction.requests.tolist() == [True, False, False]


def test_prior_moves_odds_by_its_ratio(classifier: KindClassifier, embedder: SentenceEmbedder) -> None:
    texts = ["the sync is stuck"]
    vectors = embed(embedder, texts)
    even = dict.fromkeys(KINDS, 0.2)
    plain = classifier.predict(texts, vectors, prior=even).probabilities[0]
    rare = classifier.predict(texts, vectors, prior={**even, "complaint": 0.02}).probabilities[0]
    assert rare[0] / rare[4] == pytest.approx(plain[0] / plain[4] / 10)
    assert rare.sum() == pytest.approx(1)
    assert set(PRIORS["chat"]) == set(KINDS)
    assert sum(PRIORS["chat"].values()) == pytest.approx(1)


def test_ideas_are_rare_where_no_shares_are_known(
    classifier: KindClassifier, embedder: SentenceEmbedder, examples: list[tuple[str, str]]
) -> None:
    texts = ["could the sync be quicker"]
    hidden = embed(embedder, texts)
    learned = {kind: sum(kind == one for _, one in examples) / len(examples) for kind in KINDS}
    as_learned = classifier.predict(texts, hidden, prior=learned).probabilities[0]
    plain = classifier.predict(texts, hidden).probabilities[0]
    assert plain[1] / plain[0] == pytest.approx(IDEA_ODDS * as_learned[1] / as_learned[0])
    assert plain[2:] / plain[0] == pytest.approx(as_learned[2:] / as_learned[0])


@pytest.mark.parametrize(
    "prior", [{"complaint": 1.0}, dict.fromkeys(KINDS, 0.0), {**dict.fromkeys(KINDS, 0.2), "x": 1}]
)
def test_incomplete_prior_is_refused(classifier: KindClassifier, prior: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a prior gives a share above 0"):
        classifier.predict(["x"], np.zeros((1, 384), dtype=np.float32), prior=prior)


def test_misuse_is_refused(classifier: KindClassifier) -> None:
    with pytest.raises(ValueError, match="fit the classifier first"):
        KindClassifier().predict(["x"], np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="2 texts do not go with"):
        classifier.predict(["x", "y"], np.zeros((1, 384), dtype=np.float32))
    with pytest.raises(ValueError, match="two examples of each kind"):
        KindClassifier().fit(["x"], ["idea"], np.zeros((1, 4), dtype=np.float32))


def test_defect_at_the_end_of_a_long_praise_counts(classifier: KindClassifier, embedder: SentenceEmbedder) -> None:
    praise = "I love this app and its beautiful design, the best notes app there is, I recommend it to everybody. "
    defect = "However it crashes since the update."
    texts = [praise, praise + defect, praise * 3, praise * 3 + defect]
    complaint = classifier.predict(texts, embed(embedder, texts)).probabilities[:, KINDS.index("complaint")]
    assert complaint[1] > 10 * complaint[0]
    assert complaint[3] > 10 * complaint[2]


def test_very_long_text_takes_a_moment(classifier: KindClassifier) -> None:
    text = "the export fails, please add a log and tell me how? " * 10_000
    begun = time.perf_counter()
    classifier.predict([text], np.zeros((1, 384), dtype=np.float32))
    assert time.perf_counter() - begun < 1.0


def shares_row(**shares: float) -> npt.NDArray[np.float64]:
    """Return a row of probabilities: what is not given gets an equal part of the rest."""
    rest = (1 - sum(shares.values())) / (len(KINDS) - len(shares))
    return np.array([shares.get(kind, rest) for kind in KINDS])


@pytest.mark.parametrize(
    ("probabilities", "requests", "kind"),
    [
        (shares_row(complaint=0.45), False, "complaint"),
        (shares_row(complaint=0.44), False, "unsure"),
        (shares_row(idea=0.4), True, "idea"),
        (shares_row(idea=0.39), True, "unsure"),
        (shares_row(idea=0.6), False, "idea"),
        (shares_row(idea=0.59), False, "unsure"),
        (shares_row(question=0.3), False, "question"),
        (shares_row(praise=0.3), True, "praise"),
        (shares_row(other=0.3), True, "other"),
    ],
)
def test_acting_rule(probabilities: npt.NDArray[np.float64], requests: bool, kind: str) -> None:  # noqa: FBT001
    assert kind_of(probabilities, requests=requests) == kind


def test_acting_rule_can_be_set() -> None:
    assert kind_of(shares_row(complaint=0.5), requests=False, rule=ActingRule(complaint=0.5)) == "complaint"
    assert kind_of(shares_row(complaint=0.5), requests=False, rule=ActingRule(complaint=0.51)) == "unsure"


def test_cluster_vote(classifier: KindClassifier, embedder: SentenceEmbedder) -> None:
    cluster = [
        "login fails with a blank page",
        "can't log in since this morning",
        "is the login down?",
        "same, login page stays white",
        "lol login again",
    ]
    probabilities = classifier.predict(cluster, embed(embedder, cluster)).probabilities
    assert vote(probabilities) == "complaint"
    assert vote(probabilities[:1]) == KINDS[int(probabilities[0].argmax())]
    one_sure_two_unsure = np.array([shares_row(praise=0.98), shares_row(complaint=0.5), shares_row(complaint=0.5)])
    assert vote(one_sure_two_unsure) == "praise"
    with pytest.raises(ValueError, match="at least one"):
        vote(probabilities[:0])
