"""A published BERT in the book's own modules: its names, its shapes, its weights.

all-MiniLM-L6-v2 comes as an installed package; nothing is downloaded when a notebook runs.
"""

from __future__ import annotations

import json
import re

import torch
from safetensors.torch import load
from torch import Tensor

from labs.model.bert import Bert, BertConfig
from labs.text import corpus
from labs.text.wordpiece import WordPieceTokenizer

# A published checkpoint's names, and ours.
RENAMED = [
    (r"^bert\.", ""),
    (r"^embeddings\.LayerNorm\.", "embedding.norm."),
    (r"^embeddings\.word_embeddings\.", "embedding.token."),
    (r"^embeddings\.token_type_embeddings\.", "embedding.segment."),
    (r"^embeddings\.position_embeddings\.", "embedding.position."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.self\.", ".attention."),
    (r"\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.attention\.output\.dense\.", ".attention.out."),
    (r"\.intermediate\.dense\.", ".mlp.up."),
    (r"\.output\.dense\.", ".mlp.down."),
    (r"\.output\.LayerNorm\.", ".norm2."),
    (r"^pooler\.dense\.", "pooler."),
]


def rename(name: str) -> str:
    """`encoder.layer.0.attention.self.query.weight` becomes `blocks.0.attention.query.weight`."""
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def from_published(config: dict, state: dict[str, Tensor]) -> Bert:
    """An encoder with the weights of a published BERT: its `config.json` and its tensors.

    Raises RuntimeError when a tensor is missing, left over, or of another shape.
    """
    ours = BertConfig(
        vocab_size=config["vocab_size"],
        context_length=config["max_position_embeddings"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        d_model=config["hidden_size"],
        d_ff=config["intermediate_size"],
        n_types=config["type_vocab_size"],
        dropout=config["hidden_dropout_prob"],
        eps=config["layer_norm_eps"],
    )
    with torch.device("meta"):
        model = Bert(ours)
    tensors = {rename(name): x for name, x in state.items() if not name.endswith("position_ids")}
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def load_minilm() -> tuple[Bert, WordPieceTokenizer]:
    """all-MiniLM-L6-v2 in evaluation mode, and its vocabulary: a BERT of 6 layers, 384 wide.

    Distilled from a larger BERT (Wang et al., MiniLM, 2020), then trained for sentence
    similarity. No MLM head is published with it. Raises CorpusError when it is not installed.
    """
    config = json.loads(corpus.read("minilm", "config.json"))
    model = from_published(config, load(corpus.read("minilm", "model.safetensors")))
    vocabulary = corpus.read("minilm", "vocab.txt").decode("utf-8").split("\n")
    return model, WordPieceTokenizer([line for line in vocabulary if line])
