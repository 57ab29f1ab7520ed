"""`rebuild`: a space folded again from its journal."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from models.clusterer import DensityClusterer
from models.embedder import ModelFilesError, SentenceEmbedder
from pipeline.cli.context import opened, require_schema
from pipeline.cli.screen import note, say
from pipeline.embed import Reader
from pipeline.errors import FatalError
from pipeline.fitter import ProcessFitter
from pipeline.learning import Learner
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.rebuilding import Differences

SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("rebuild")(rebuild)


def rebuild(
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say how the tables differ from the journal.")] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="Read and cluster all anew, though the model is the same.")
    ] = False,
) -> None:
    """Fold the space again from its journal: after a change of model, or to mend the tables.

    With the model that the space has, folds the journal as it stands and writes what differs; --check only says it.
    With another one in model.name, embeds every text with it (goes on where it was when it was killed), clusters
    anew, and keeps ids, numbers, tickets and people's decisions where the messages agree. --refit does that with the
    same model: after changed cluster settings, languages or corrections. Vectors on the way lie in the data folder
    until it ends; `check` names what a killed one left. Stop the workers first; start them again afterwards.

    Example: groundswell rebuild --check

    Example: GROUNDSWELL_MODEL__NAME=/models/multilingual groundswell rebuild
    """
    if check and refit:
        raise typer.BadParameter("--check changes nothing, and --refit everything: name one")
    asyncio.run(_rebuild(Settings.load(), check=check, refit=refit))


async def _rebuild(settings: Settings, *, check: bool, refit: bool) -> None:
    from pipeline import rebuild as work

    fold = settings.clusters.fold()
    async with opened(settings) as database:
        await require_schema(database)
        found = await work.models_of(database, settings.space)
        if not found:
            raise FatalError(f"space {settings.space} holds no message yet: there is nothing to rebuild")
        if check:
            differences = await work.check(database, settings.space, fold)
            _tell(differences)
            if differences.any:
                raise typer.Exit(1)
            return
        name = await asyncio.to_thread(_model_name, settings)
        if set(found) == {name} and not refit:
            _tell(await work.repair(database, settings.space, fold), mended=True)
            return
        say(f"space {settings.space}: from {', '.join(sorted(found))} to {name}")
        reader = await _reader(settings, database)
        fitter = ProcessFitter(DensityClusterer(min_cluster_size=settings.clusters.min_cluster_size))
        languages = frozenset(settings.model.languages)
        cache = settings.data_dir / "rebuild" / settings.space
        try:
            done = await work.rebuild(database, settings.space, fold, reader, fitter, languages, cache, note)
        finally:
            fitter.close()
    say(f"{done.messages:,} messages, {done.fits:,} fits")
    say(f"{done.kept:,} clusters go on, {done.born:,} are new, {done.merged:,} merged, {done.gone:,} not found again")
    note("start the workers again: `groundswell run`")


def _model_name(settings: Settings) -> str:
    from models.embedder import model_name

    try:
        return model_name(settings.model.name, settings.model.sha256)
    except ModelFilesError as exc:
        raise FatalError(str(exc)) from exc


async def _reader(settings: Settings, database: Database) -> Reader:
    embedder = await asyncio.to_thread(_embedder, settings)
    if not settings.kinds.learn_from_corrections:
        return await asyncio.to_thread(Reader.load, embedder)
    learner = await asyncio.to_thread(Learner.load, database, settings.space, embedder)
    await learner.look()
    return learner.reader


def _embedder(settings: Settings) -> SentenceEmbedder:
    try:
        return SentenceEmbedder.load(settings.model.name, settings.model.sha256, threads=settings.model.threads)
    except ModelFilesError as exc:
        raise FatalError(str(exc)) from exc


def _tell(found: Differences, *, mended: bool = False) -> None:
    if not found.any:
        say("the tables are what the journal says")
        return
    verb = "were mended" if mended else "differ from the journal"
    say(f"{len(found.messages):,} messages and {len(found.clusters):,} clusters {verb}")
    for ref in found.messages[:SHOWN]:
        say(f"  message {ref}")
    for cluster_id in found.clusters[:SHOWN]:
        say(f"  cluster {cluster_id}")
    if found.header:
        say(f"  of the space: {', '.join(found.header)}")
    if found.erased:
        note(
            f"{found.erased:,} messages were erased since they came: the fold had seen them, a replay cannot; some "
            f"difference is theirs, or of settings and releases that changed since"
        )
