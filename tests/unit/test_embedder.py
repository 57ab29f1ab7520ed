"""The shipped model, its safeguards and odd texts."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.embedder import DEFAULT_SHA256, ModelFilesError, SentenceEmbedder, check_weights


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
