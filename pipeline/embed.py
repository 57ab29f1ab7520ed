"""Stage 1: events become signals. Text gets a vector, a kind and a language; everything else passes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.embedder import Embedder
from models.kinds import KindClassifier, KindPrediction, kind_of
from models.language import detect
from models.text import strip_for_embedding
from pipeline.records import Event, EventType, Kinds, Origin, Signal, pack_vector


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads texts: the models of the embed stage, loaded once."""

    embedder: Embedder
    kinds: KindClassifier

    def vectors(self, events: Sequence[Event]) -> npt.NDArray[np.float32]:
        """Return the vectors of those events that carry text, (m, d) float32. Blocks; call it off the event loop."""
        return self.embedder.encode([strip_for_embedding(text) for text in _texts(events)])

    def signals(
        self, events: Sequence[Event], origins: Sequence[Origin], vectors: npt.NDArray[np.float32]
    ) -> list[Signal]:
        """Return one signal per event, in order, given what `vectors` returned. Blocks; call it off the event loop."""
        # A repeated text is read once here too; in one call of the embedder it has one vector.
        first = {text: row for row, text in reversed(list(enumerate(_texts(events))))}
        rows = sorted(first.values())
        texts = sorted(first, key=first.__getitem__)
        readings: dict[str, dict[str, Any]] = {}
        if texts:
            prediction = self.kinds.predict(texts, vectors[rows])
            readings = {
                text: {
                    "kinds": _kinds(prediction, place),
                    "language": detect(text).code,
                    "model": self.embedder.name,
                    "vector": pack_vector(vectors[row]),
                }
                for place, (text, row) in enumerate(zip(texts, rows, strict=True))
            }
        return [
            Signal(event=event, origin=origin, **(readings[event.data.text or ""] if _carries_text(event) else {}))
            for event, origin in zip(events, origins, strict=True)
        ]

    def read(self, texts: Sequence[str], vectors: npt.NDArray[np.float32]) -> tuple[list[Kinds], list[str | None]]:
        """Return kinds and language of texts, given their vectors (n, d); n > 0. Blocks."""
        prediction = self.kinds.predict(texts, vectors)
        return [_kinds(prediction, row) for row in range(len(texts))], [detect(text).code for text in texts]


def _texts(events: Sequence[Event]) -> list[str]:
    return [event.data.text or "" for event in events if _carries_text(event)]


def _kinds(prediction: KindPrediction, row: int) -> Kinds:
    probabilities = prediction.probabilities[row]
    complaint, idea, question, praise, other = (round(float(p), 4) for p in probabilities)
    return Kinds(
        complaint=complaint,
        idea=idea,
        question=question,
        praise=praise,
        other=other,
        kind=kind_of(probabilities, requests=bool(prediction.requests[row])),
        cues=prediction.cues[row],
    )


def _carries_text(event: Event) -> bool:
    return event.type in {EventType.CREATED, EventType.EDITED}
