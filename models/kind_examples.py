"""The examples that kinds are learned from, all written for this project, and the shipped model's states of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt

from models.embedder import Embedder
from models.text import strip_for_embedding

EXAMPLES: Final = "data/kinds.jsonl"
STATES: Final = "data/kinds_states.npz"
"""Hidden states of the examples by the shipped model: to read two thousand texts takes a worker's start many seconds.

Written by `python -m models.kind_examples`, after every change of the examples.
"""


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts that a classifier learns from.

    Attributes
    ----------
    texts
        n texts as they came.
    kinds
        n of `KINDS`.
    hidden
        (n, h) float32, unit rows: `strip_for_embedding` of the texts, as `Embedder.encode_deep` gives them.
    """

    texts: tuple[str, ...]
    kinds: tuple[str, ...]
    hidden: npt.NDArray[np.float32]


def shipped_examples(embedder: Embedder) -> Examples:
    """Return the examples that ship with the project; read anew where the model is not the shipped one."""
    texts, kinds = _texts_and_kinds()
    hidden = _shipped_states(embedder.name)
    if hidden is None:
        hidden = embedder.encode_deep([strip_for_embedding(text) for text in texts]).hidden
    return Examples(texts, kinds, hidden)


def examples_digest() -> str:
    """Return the sha256 of the examples' file, 64 hex digits."""
    return hashlib.sha256(_bytes(EXAMPLES)).hexdigest()


def packed(embedder: Embedder) -> bytes:
    """Return what `STATES` should hold: the states as bytes (n, h) int8, the model's name and the examples' digest.

    Whole numbers of a row's greatest number / 127: the rounding turns a row by less than a degree.
    """
    texts, _ = _texts_and_kinds()
    hidden = embedder.encode_deep([strip_for_embedding(text) for text in texts]).hidden
    whole = np.rint(hidden * (127 / np.abs(hidden).max(axis=1, keepdims=True))).astype(np.int8)
    out = BytesIO()
    np.savez_compressed(out, states=whole, model=np.array(embedder.name), examples=np.array(examples_digest()))
    return out.getvalue()


def _shipped_states(model: str) -> npt.NDArray[np.float32] | None:
    """Return the states that ship, (n, h) float32 unit rows; None for another model, or of other examples."""
    with np.load(BytesIO(_bytes(STATES)), allow_pickle=False) as found:
        if str(found["model"]) != model or str(found["examples"]) != examples_digest():
            return None
        rows = found["states"].astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@cache
def _texts_and_kinds() -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = [json.loads(line) for line in _bytes(EXAMPLES).decode("utf-8").splitlines()]
    return tuple(row["text"] for row in rows), tuple(row["kind"] for row in rows)


def _bytes(name: str) -> bytes:
    return files("models").joinpath(name).read_bytes()


if __name__ == "__main__":
    from pathlib import Path

    from models.embedder import SentenceEmbedder

    (Path(__file__).parent / STATES).write_bytes(packed(SentenceEmbedder.load(device="cpu")))
