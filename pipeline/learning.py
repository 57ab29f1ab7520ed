"""Kinds learned from corrections: looked for in the database, refitted beside the work, per space."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import structlog

from models.corrected_kinds import CORRECTIONS_MAX, Correction, refit
from models.embedder import Embedder
from models.kind_examples import Examples, shipped_examples
from models.kinds import KindClassifier
from models.text import strip_for_embedding
from pipeline.embed import Reader
from pipeline.errors import PipelineError
from pipeline.store.corrections import Corrected, corrections, fingerprint
from pipeline.store.database import Database

LOOK_S: Final = 180.0
"""Between two looks for new corrections: nobody waits for them, and a refit takes seconds."""

log = structlog.get_logger(__name__)


class Learner:
    """Keeps a reader up to date with the corrections of one space.

    Parameters
    ----------
    shipped : Examples
        Those that the reader's shipped classifier was fitted on.
    """

    def __init__(self, database: Database, space: str, reader: Reader, shipped: Examples) -> None:
        self.reader = reader
        self._database = database
        self._space = space
        self._shipped = shipped
        self._known: Sequence[tuple[Any, ...]] = ()
        self._states: dict[str, npt.NDArray[np.float32]] = {}
        """Hidden states of corrected texts, which are stored nowhere: each is read once."""

    @classmethod
    def load(cls, database: Database, space: str, embedder: Embedder) -> Learner:
        """Return a learner with a reader that knows no corrections yet; takes seconds."""
        shipped = shipped_examples(embedder)
        classifier = KindClassifier().fit(shipped.texts, shipped.kinds, shipped.hidden)
        return cls(database, space, Reader(embedder, classifier), shipped)

    async def look(self) -> None:
        """Refit when corrections came, changed or went; FatalError or OSError when the database does not answer."""
        found = await fingerprint(self._database, self._space)
        if found == self._known:
            return
        newest = await corrections(self._database, self._space, CORRECTIONS_MAX)
        if newest:
            learned = await asyncio.to_thread(lambda: refit(self._shipped, self._examples(newest)))
            self.reader.learned[self._space] = learned
            log.info("kinds.learned", space=self._space, corrections=len(newest), recipe=learned.recipe)
        elif self.reader.learned.pop(self._space, None) is not None:
            log.info("kinds.unlearned", space=self._space)
        self._known = found

    async def look_again(self) -> None:
        """Look; with the database away, what was learned stands until the next look."""
        try:
            await self.look()
        except (PipelineError, OSError) as exc:
            log.warning("kinds.corrections_unknown", space=self._space, error=str(exc))

    async def close(self) -> None:
        """Give back every connection; the next look takes new ones."""
        await self._database.close()

    def _examples(self, found: Sequence[Corrected]) -> list[Correction]:
        """Return corrections as the classifier takes them. Blocks."""
        stripped = {one.ref: strip_for_embedding(one.text) for one in found}
        new = [text for text in dict.fromkeys(stripped.values()) if text not in self._states]
        self._states |= dict(zip(new, self.reader.embedder.encode_deep(new).hidden, strict=True))
        self._states = {text: self._states[text] for text in stripped.values()}
        return [Correction(one.ref.platform, one.text, one.kind, self._states[stripped[one.ref]]) for one in found]
