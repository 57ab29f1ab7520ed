"""Stage 1: events become signals. Text gets a vector, a kind and a language; everything else passes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.acting import kind_of
from models.corrected_kinds import CorrectedKinds
from models.embedder import Embedder, Encoded
from models.kinds import RECIPE_VERSION, KindClassifier, KindPrediction, train_kinds
from models.language import detect
from models.text import strip_for_embedding
from pipeline.records import Event, EventType, Kinds, Origin, Signal, pack_vector

_Voice = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads texts: the models of the embed stage, loaded once.

    Attributes
    ----------
    kinds
        The shipped classifier.
    learned
        What a space learned from its people's corrections; any other space is read by `kinds`. May change between
        two calls.
    """

    embedder: Embedder
    kinds: KindClassifier
    learned: dict[str, CorrectedKinds] = field(default_factory=dict)

    @classmethod
    def load(cls, embedder: Embedder) -> Reader:
        """Return a reader with the shipped classifier; takes seconds."""
        return cls(embedder, train_kinds(embedder))

    def encoded(self, events: Sequence[Event]) -> Encoded:
        """Return what the model makes of the m events that carry text. Blocks; call it off the event loop."""
        return self.embedder.encode_deep([strip_for_embedding(text) for text in _texts(events)])

    def signals(self, events: Sequence[Event], origins: Sequence[Origin], encoded: Encoded) -> list[Signal]:
        """Return one signal per event, in order, given what `encoded` returned. Blocks; call it off the event loop."""
        # Looked at once: all of a space's messages in a call are read by the same classifier.
        learned = dict(self.learned)
        said = [event for event in events if _carries_text(event)]
        groups: dict[_Voice, dict[str, int]] = {}
        for row, event in enumerate(said):
            # A repeated text is read once here too; in one call of the embedder it has one vector.
            groups.setdefault(_voice(learned, event.space, event.data.platform), {}).setdefault(
                event.data.text or "", row
            )
        readings: dict[tuple[_Voice, str], dict[str, Any]] = {}
        for voice, rows in groups.items():
            texts = list(rows)
            kinds = self._kinds(learned, voice, texts, encoded.hidden[list(rows.values())])
            for text, own in zip(texts, kinds, strict=True):
                readings[voice, text] = {
                    "kinds": own,
                    "language": detect(text).code,
                    "model": self.embedder.name,
                    "vector": pack_vector(encoded.vectors[rows[text]]),
                }
        return [
            Signal(
                event=event,
                origin=origin,
                **(
                    readings[_voice(learned, event.space, event.data.platform), event.data.text or ""]
                    if _carries_text(event)
                    else {}
                ),
            )
            for event, origin in zip(events, origins, strict=True)
        ]

    def recipe(self, space: str) -> str:
        """Return the recipe by which a space's messages are read now."""
        return self.learned[space].recipe if space in self.learned else RECIPE_VERSION

    def read(
        self, space: str, platforms: Sequence[str], texts: Sequence[str], hidden: npt.NDArray[np.float32]
    ) -> list[Kinds]:
        """Return the kinds of a space's texts, given platform and hidden state (n, h) of each. Blocks."""
        learned = dict(self.learned)
        rows_of: dict[_Voice, list[int]] = {}
        for row, platform in enumerate(platforms):
            rows_of.setdefault(_voice(learned, space, platform), []).append(row)
        found: dict[int, Kinds] = {}
        for voice, rows in rows_of.items():
            own = self._kinds(learned, voice, [texts[row] for row in rows], hidden[rows])
            found.update(zip(rows, own, strict=True))
        return [found[row] for row in range(len(texts))]

    def _kinds(
        self,
        learned: Mapping[str, CorrectedKinds],
        voice: _Voice,
        texts: Sequence[str],
        hidden: npt.NDArray[np.float32],
    ) -> list[Kinds]:
        space, platform = voice
        if space is None:
            prediction, recipe = self.kinds.predict(texts, hidden), RECIPE_VERSION
        else:
            own = learned[space]
            prior = own.priors[platform] if platform is not None else None
            prediction, recipe = own.classifier.predict(texts, hidden, prior=prior), own.recipe
        return [_as_record(prediction, row, recipe) for row in range(len(texts))]


def _voice(learned: Mapping[str, CorrectedKinds], space: str, platform: str) -> _Voice:
    """Return what decides how a text is read: the space that learned, and the platform whose shares it knows."""
    if space not in learned:
        return None, None
    return space, platform if platform in learned[space].priors else None


def _texts(events: Sequence[Event]) -> list[str]:
    return [event.data.text or "" for event in events if _carries_text(event)]


def _as_record(prediction: KindPrediction, row: int, recipe: str) -> Kinds:
    probabilities = prediction.probabilities[row]
    kind = kind_of(probabilities, requests=bool(prediction.requests[row]))
    return Kinds.of((round(float(p), 4) for p in probabilities), kind, prediction.cues[row], recipe)


def _carries_text(event: Event) -> bool:
    return event.type in {EventType.CREATED, EventType.EDITED}
