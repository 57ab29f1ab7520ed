"""A publisher to be killed: an archive through `connectors.run`, at a pace that leaves time for it.

    python publish_slowly.py BOOTSTRAP PREFIX FILE SPACE LINES_PER_SECOND

Waits for FILE to be there. Ends with 0 when all is published; started again after a kill it goes on at its checkpoint.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from connectors.archive import ArchiveConnector
from connectors.contract import Received
from connectors.publisher import Publisher
from connectors.run import run


class Slow:
    """The archive connector, so many lines a second."""

    name = ArchiveConnector.name

    def __init__(self, archive: ArchiveConnector, per_second: float) -> None:
        self._archive, self._per_second = archive, per_second

    @property
    def instance(self) -> str:
        return self._archive.instance

    async def receive(self, after: Mapping[str, str]) -> AsyncIterator[Received]:
        async for item in self._archive.receive(after):
            yield item
            await asyncio.sleep(1.0 / self._per_second)


async def main() -> None:
    bootstrap, prefix, file, space, per_second = sys.argv[1:]
    while not Path(file).exists():
        await asyncio.sleep(0.1)
    async with Publisher(bootstrap, prefix) as publisher:
        await run(Slow(ArchiveConnector(Path(file), space), float(per_second)), publisher, every_records=100)


if __name__ == "__main__":
    asyncio.run(main())
