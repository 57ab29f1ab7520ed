"""The shipped model, its safeguards and odd texts."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.embedder import DEFAULT_SHA256, ModelFilesError, SentenceEmbedder, check_weights
from tests.standins.tiny_model import tiny_model

WORDS = "the app export crashes login dark mode please sync editor".split()


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return SentenceEmbedder.load(device="cpu")


def folder_with(path: Path, content: bytes = b"weights") -> Path:
    path.mkdir()
    (path / "model.safetensors").write_bytes(content)
    return path


def test_importing_the_module_imports_no_torch() -> None:
    code = "import sys, models.embedder; print('torch' in sys.modules or 'sentence_transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_default_model_says_what_it_is(embedder: SentenceEmbedder) -> None:
    assert embedder.name == f"all-MiniLM-L6-v2@{DEFAULT_SHA256[:12]}"
    assert embedder.dimensions == 384
    assert embedder.languages == frozenset({"en"})


def test_rows_are_unit_float32_in_the_order_given(embedder: SentenceEmbedder) -> None:
    texts = ["The app crashes when I log in", "Dark mode please", "the app crashes on login", "x " * 300]
    rows = embedder.encode(texts)
    assert rows.shape == (4, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert rows[0] @ rows[2] > 0.8 > 0.3 > rows[0] @ rows[1]
    for text, row in zip(texts, rows, strict=True):  # the batch was sorted by length: rows must be put back
        np.testing.assert_allclose(embedder.encode([text])[0], row, atol=1e-5)


def test_hidden_states_come_with_the_very_vectors(embedder: SentenceEmbedder) -> None:
    texts = ["a longer message about something else", "thanks", "", "thanks"]
    found = embedder.encode_deep(texts)
    np.testing.assert_array_equal(found.vectors, embedder.encode(texts))
    assert found.hidden.shape == (4, 384)
    assert found.hidden.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.hidden, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.hidden[1], found.hidden[3])
    assert np.abs(np.einsum("nd,nd->n", found.vectors, found.hidden)).max() < 0.9
    some = found[[2, 0]]
    np.testing.assert_array_equal(some.hidden, found.hidden[[2, 0]])
    np.testing.assert_array_equal(some.vectors, found.vectors[[2, 0]])
    assert embedder.encode_deep([]).hidden.shape == (0, 384)


def test_repeated_texts_get_equal_rows_and_none_gets_none(embedder: SentenceEmbedder) -> None:
    rows = embedder.encode(["thanks", "a longer message about something else", "thanks"])
    np.testing.assert_array_equal(rows[0], rows[2])
    assert embedder.encode([]).shape == (0, 384)
    assert embedder.encode([]).dtype == np.float32


@pytest.mark.parametrize("text", ["", "\0", "\ud83d", "half an emoji \ud83d here", "a\0b", "\ude00\ud83d"])
def test_no_text_breaks_the_tokenizer(embedder: SentenceEmbedder, text: str) -> None:
    row = embedder.encode([text])
    assert np.isfinite(row).all()
    np.testing.assert_allclose(np.linalg.norm(row), 1.0, atol=1e-5)


def test_what_is_cut_had_no_part_in_the_vector(embedder: SentenceEmbedder) -> None:
    start = "the upload stops at ninety percent " * 60  # 360 word pieces of the model's 256
    np.testing.assert_allclose(embedder.encode([start + "z" * 1_000_000])[0], embedder.encode([start])[0], atol=1e-6)


def test_wrong_weights_are_refused_before_loading(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model")
    found = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(ModelFilesError) as refused:
        SentenceEmbedder.load(folder, sha256=DEFAULT_SHA256)
    for part in (str(folder / "model.safetensors"), DEFAULT_SHA256, found, "reinstall"):
        assert part in str(refused.value)


def test_digest_is_sha256sum_of_the_file_and_case_does_not_matter(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert check_weights(folder) == expected
    assert check_weights(folder, expected.upper()) == expected


def test_a_pickled_file_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelFilesError, match=r"2_Dense.*run code"):
        check_weights(folder)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"no model\.safetensors"):
        SentenceEmbedder.load(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another make than the shipped one, built here as the hub lays models out."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny-bert", WORDS, layers=3)


def test_any_hub_style_folder_loads_and_its_vectors_are_the_models_own(tiny: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    embedder = SentenceEmbedder.load(tiny, languages=frozenset({"en", "de"}), device="cpu")
    digest = hashlib.sha256((tiny / "model.safetensors").read_bytes()).hexdigest()
    assert (embedder.name, embedder.dimensions) == (f"tiny-bert@{digest[:12]}", 32)
    assert embedder.languages == frozenset({"en", "de"})

    text = "The app crashes, please export"
    tokens = AutoTokenizer.from_pretrained(tiny)(text, return_tensors="pt")
    with torch.no_grad():
        layers = AutoModel.from_pretrained(tiny).eval()(**tokens, output_hidden_states=True).hidden_states
    # Padded beside a longer one: the padding has no part in either.
    found = embedder.encode_deep([text, f"{text} {text} {text}"])
    assert len(layers) == 4
    for row, layer in ((found.vectors[0], layers[3]), (found.hidden[0], layers[2])):
        mean = layer[0].mean(0).numpy()
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_pinned_model_loads_only_while_its_weights_are_the_pinned_ones(tiny: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((tiny / "model.safetensors").read_bytes()).hexdigest()
    assert SentenceEmbedder.load(tiny, sha256=digest.upper(), device="cpu").name.endswith(digest[:12])
    other = tiny_model(tmp_path / "tiny-bert", WORDS, layers=3, seed=1)
    assert SentenceEmbedder.load(other, device="cpu").name != SentenceEmbedder.load(tiny, device="cpu").name
    with pytest.raises(ModelFilesError, match=digest):
        SentenceEmbedder.load(other, sha256=digest)


def test_weights_saved_as_a_pickle_are_refused_though_safetensors_lie_beside(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "tiny-bert", WORDS)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelFilesError, match=r"2_Dense/pytorch_model\.bin: a pickled file can run code"):
        SentenceEmbedder.load(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelFilesError, match=r"no model\.safetensors"):
        SentenceEmbedder.load(folder)
