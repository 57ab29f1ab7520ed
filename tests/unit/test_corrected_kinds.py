"""Refits on corrections, with the embedder as it ships; and the reader that uses them, per space and platform."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.corrected_kinds import (
    PRIOR_MIN_CORRECTIONS,
    PRIOR_STRENGTH,
    CorrectedKinds,
    Correction,
    refit,
    source_priors,
)
from models.embedder import SentenceEmbedder
from models.kind_examples import Examples, shipped_examples
from models.kind_names import KINDS
from models.kinds import RECIPE_VERSION, KindClassifier
from models.text import strip_for_embedding
from pipeline.embed import Reader
from pipeline.learning import Learner
from pipeline.records import Event, EventType, MessageData, Origin, Signal
from pipeline.store.corrections import correct
from pipeline.store.database import Database
from tests.standins.space_stream import SPACE, T0
from tests.unit.test_corrections import LATER, Chat

# Help requests that this community calls chatter, as one that wants only reports might.
WRONG = [
    "the build spins forever on my raspberry pi",
    "my raspberry pi build is stuck again",
    "raspberry pi: the build hangs at linking",
    "still stuck building on the raspberry pi",
    "the raspberry pi build never ends",
    "my pi freezes in the middle of the build",
    "building on the pi fails with out of memory",
    "raspberry pi build broken for me too",
]
ALIKE = "the build on my raspberry pi is stuck"
APART = ["Please add a way to duplicate a form", "I love this app so much", "How long are log files kept?"]


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return SentenceEmbedder.load()


@pytest.fixture(scope="module")
def shipped(embedder: SentenceEmbedder) -> Examples:
    return shipped_examples(embedder)


@pytest.fixture(scope="module")
def classifier(shipped: Examples) -> KindClassifier:
    return KindClassifier().fit(shipped.texts, shipped.kinds, shipped.hidden)


def corrections_of(
    embedder: SentenceEmbedder, texts: Sequence[str], kind: str, source: str = "discord"
) -> list[Correction]:
    rows = embedder.encode_deep([strip_for_embedding(text) for text in texts]).hidden
    return [Correction(source, text, kind, row) for text, row in zip(texts, rows, strict=True)]


@pytest.fixture(scope="module")
def learned(shipped: Examples, embedder: SentenceEmbedder) -> CorrectedKinds:
    return refit(shipped, corrections_of(embedder, WRONG, "other"))


def shares(classifier: KindClassifier, embedder: SentenceEmbedder, texts: Sequence[str]) -> np.ndarray:
    hidden = embedder.encode_deep([strip_for_embedding(text) for text in texts]).hidden
    return classifier.predict(texts, hidden).probabilities


def test_what_is_like_the_corrections_changes_and_the_rest_stays(
    classifier: KindClassifier, learned: CorrectedKinds, embedder: SentenceEmbedder
) -> None:
    before, after = (shares(one, embedder, [ALIKE, *APART]) for one in (classifier, learned.classifier))
    assert KINDS[before[0].argmax()] == "complaint"
    assert KINDS[after[0].argmax()] == "other"
    assert [KINDS[row.argmax()] for row in after[1:]] == ["idea", "praise", "question"]
    assert np.abs(after[1:] - before[1:]).max() < 0.05


def test_a_correction_weighs_as_one_example(
    shipped: Examples, learned: CorrectedKinds, embedder: SentenceEmbedder
) -> None:
    more = corrections_of(embedder, WRONG, "other")
    by_hand = KindClassifier().fit(
        [*shipped.texts, *(one.text for one in more)],
        [*shipped.kinds, *(one.kind for one in more)],
        np.vstack([shipped.hidden, *(one.hidden[None] for one in more)]),
    )
    found, expected = (shares(one, embedder, [ALIKE, *APART]) for one in (learned.classifier, by_hand))
    assert np.allclose(found, expected, atol=1e-3)


def test_the_same_in_any_order_and_a_recipe_that_tells_them_apart(
    shipped: Examples, learned: CorrectedKinds, embedder: SentenceEmbedder
) -> None:
    again = refit(shipped, corrections_of(embedder, WRONG, "other")[::-1])
    assert np.array_equal(shares(again.classifier, embedder, [ALIKE]), shares(learned.classifier, embedder, [ALIKE]))
    assert again.recipe == learned.recipe
    assert learned.recipe.startswith(f"{RECIPE_VERSION}+c8.")
    assert refit(shipped, corrections_of(embedder, WRONG, "question")).recipe != learned.recipe
    assert len(learned.recipe) <= 64
    with pytest.raises(ValueError, match="no corrections"):
        refit(shipped, [])


def test_a_refit_with_two_hundred_takes_seconds(shipped: Examples, embedder: SentenceEmbedder) -> None:
    rows = embedder.encode_deep(list(WRONG)).hidden
    many = [Correction("discord", f"{WRONG[n % 8]} since build {n}", KINDS[n % 5], rows[n % 8]) for n in range(200)]
    begun = time.process_time()
    refit(shipped, many)
    assert time.process_time() - begun < 5.0


@given(st.lists(st.sampled_from(KINDS), max_size=120), st.lists(st.sampled_from(KINDS), min_size=1, max_size=60))
def test_priors_are_smoothed_shares_of_sources_with_enough_corrections(said: list[str], examples: list[str]) -> None:
    examples = [*examples, *KINDS]
    few = [Correction("few", "", kind, np.zeros(1, np.float32)) for kind in said[: PRIOR_MIN_CORRECTIONS - 1]]
    priors = source_priors([Correction("much", "", kind, np.zeros(1, np.float32)) for kind in said] + few, examples)
    if len(said) < PRIOR_MIN_CORRECTIONS:
        assert priors == {}
        return
    assert set(priors) == {"much"}
    prior = priors["much"]
    assert sum(prior.values()) == pytest.approx(1.0)
    for kind in KINDS:
        share, base = said.count(kind) / len(said), examples.count(kind) / len(examples)
        assert 0 < prior[kind]
        assert min(share, base) - 1e-12 <= prior[kind] <= max(share, base) + 1e-12
        own = len(said) / (len(said) + PRIOR_STRENGTH)
        assert prior[kind] == pytest.approx(own * share + (1 - own) * base)


def event(text: str, space: str, platform: str = "discord") -> Event:
    data = MessageData(platform=platform, message_id=f"{space}{platform}{text}", text=text, author="kim")
    return Event(
        id=f"e-{data.message_id}",
        source="//test",
        type=EventType.CREATED,
        time=T0,
        space=space,
        container="c",
        data=data,
    )


def read(reader: Reader, events: list[Event]) -> list[Signal]:
    origins = [Origin(cluster="k", partition=0, offset=number) for number in range(len(events))]
    return reader.signals(events, origins, reader.encoded(events))


def test_each_space_is_read_by_its_own_and_each_platform_with_its_prior(
    classifier: KindClassifier, learned: CorrectedKinds, embedder: SentenceEmbedder
) -> None:
    events = [event(ALIKE, "own"), event(ALIKE, "other"), event(ALIKE, "own", "reddit"), event(APART[0], "other")]
    plain = read(Reader(embedder, classifier), events)
    one, two, three, four = plain
    assert {signal.kinds.recipe for signal in plain if signal.kinds} == {RECIPE_VERSION}
    assert one.kinds == two.kinds == three.kinds
    prior = {**dict.fromkeys(KINDS, 0.01), "question": 0.96}
    own = CorrectedKinds(learned.classifier, {"reddit": prior}, learned.recipe)
    mixed = read(Reader(embedder, classifier, {"own": own}), events)
    assert mixed[1] == two
    assert mixed[3] == four
    assert mixed[0].kinds is not None
    assert mixed[2].kinds is not None
    assert (mixed[0].kinds.kind, mixed[0].kinds.recipe) == ("other", learned.recipe)
    assert mixed[2].kinds.question > 5 * mixed[0].kinds.question
    assert [signal.vector for signal in mixed] == [signal.vector for signal in plain]
    hidden = embedder.encode_deep([strip_for_embedding(text) for text in (ALIKE, ALIKE, APART[0])]).hidden
    reader = Reader(embedder, classifier, {"own": own})
    kinds = reader.read("own", ["reddit", "discord", "discord"], [ALIKE, ALIKE, APART[0]], hidden)
    assert kinds[:2] == [mixed[2].kinds, mixed[0].kinds]
    assert reader.read("other", ["discord"], [ALIKE], hidden[:1]) == [two.kinds]


async def test_a_learner_follows_the_corrections_of_its_space(
    database_url: str, classifier: KindClassifier, shipped: Examples, embedder: SentenceEmbedder
) -> None:
    database = Database(database_url)
    chat = Chat(database)
    for number, text in enumerate(WRONG):
        await chat.say(f"m{number}", text, T0 + timedelta(minutes=number))
    reader = Reader(embedder, classifier)
    learner = Learner(database, SPACE, reader, shipped)
    stranger = Learner(database, "elsewhere", Reader(embedder, classifier), shipped)
    await learner.look()
    assert reader.learned == {}
    for number in range(len(WRONG)):
        await correct(database, SPACE, f"m{number}", "other", "kim", LATER)
    await learner.look()
    await stranger.look()
    assert stranger.reader.learned == {}
    (signal,) = read(reader, [event(ALIKE, SPACE)])
    assert signal.kinds is not None
    assert signal.kinds.kind == "other"
    first = reader.learned[SPACE]
    await learner.look()
    assert reader.learned[SPACE] is first
    await chat.erase("m0")
    await learner.look()
    assert f"{RECIPE_VERSION}+c7." in reader.learned[SPACE].recipe
    for number in range(1, len(WRONG)):
        await correct(database, SPACE, f"m{number}", None, "kim", LATER)
    await learner.look()
    assert reader.learned == {}
    chat.owner.close()
    await database.close()


async def test_with_the_database_away_what_was_learned_stands(
    tmp_path: Path, classifier: KindClassifier, learned: CorrectedKinds, shipped: Examples, embedder: SentenceEmbedder
) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'never_migrated.db'}")
    reader = Reader(embedder, classifier, {SPACE: learned})
    await Learner(database, SPACE, reader, shipped).look_again()
    assert reader.learned == {SPACE: learned}
    await database.close()
