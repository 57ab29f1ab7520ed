"""Stage 1: events become signals. Text gets a vector, a kind and a language; everything else passes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    def signals(self, events: Sequence[Event], origins: Sequence[Origin]) -> list[Signal]:
        """Return one signal per event, in order. Blocks; call it off the event loop."""
        texts = [event.data.text for event in events if _carries_text(event)]
        readings = iter(self._read([text for text in texts if text is not None]))
        return [
            Signal(event=event, origin=origin, **(next(readings) if _carries_text(event) else {}))
            for event, origin in zip(events, origins, strict=True)
        ]

    def _read(self, texts: list[str]) -> list[dict[str, Any]]:
        """Return what is read from each text, by the names of Signal's fields."""
        if not texts:
            return []
        vectors = self.embedder.encode([strip_for_embedding(text) for text in texts])
        prediction = self.kinds.predict(texts, vectors)
        return [
            {
                "kinds": _kinds(prediction, row),
                "language": detect(text).code,
                "model": self.embedder.name,
                "vector": pack_vector(vectors[row]),
            }
            for row, text in enumerate(texts)
        ]


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
