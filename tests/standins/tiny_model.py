"""A sentence-transformers model as the hub lays one out, tiny and random: enough to walk the loading path for real."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tiny_model(folder: Path, words: Iterable[str], *, hidden: int = 32, layers: int = 1, seed: int = 0) -> Path:
    """Write a BERT of one layer over `words`, with mean pooling and normalisation, weights as safetensors.

    Parameters
    ----------
    words
        Lower-case words that become word pieces of their own; letters are pieces too, so that no word is unknown.
    hidden
        Length of its vectors, a multiple of 4.
    layers
        How many it has, above that of the word pieces.
    seed
        Of the random weights: another one is another vector space.
    """
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = list(dict.fromkeys([*WORD_PIECES, *words, *letters, *(f"##{letter}" for letter in letters), ".", ","]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    files = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder
