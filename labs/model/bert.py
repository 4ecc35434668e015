"""BERT: an encoder in which every position sees every other, and what stands on top of it.

token + segment + position → norm → n_layers × (norm(x + attention(x)); norm(x + mlp(x))).
Devlin et al., BERT (2019), sec. 3, fig. 2; the layer is the post-norm one of Vaswani et al.
(2017), sec. 3.1. `load_minilm` reads a published encoder into the same modules.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from labs.model.attention import Attention
from labs.model.layers import GeluMLP, LayerNorm
from labs.text import corpus
from labs.text.wordpiece import WordPieceTokenizer


@dataclass(frozen=True)
class BertConfig:
    """Sizes. The defaults are those of BERT-base, uncased.

    Dropout acts on the embedding and on what each layer writes, not on attention weights.
    """

    vocab_size: int = 30_522
    context_length: int = 512
    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768
    d_ff: int | None = None
    n_types: int = 2
    dropout: float = 0.1
    eps: float = 1e-12

    @property
    def hidden(self) -> int:
        return 4 * self.d_model if self.d_ff is None else self.d_ff

    def to_dict(self) -> dict:
        return asdict(self)


class Embedding(nn.Module):
    """Ids (B, T) and types (B, T) to vectors (B, T, d_model): three tables, a sum, a norm."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.d_model)
        self.segment = nn.Embedding(config.n_types, config.d_model)
        self.position = nn.Embedding(config.context_length, config.d_model)
        self.norm = LayerNorm(config.d_model, config.eps)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        if ids.size(1) > self.position.num_embeddings:
            raise ValueError(
                f"{ids.size(1)} tokens, but positions are learned for "
                f"{self.position.num_embeddings}."
            )
        at = torch.arange(ids.size(1), device=ids.device)
        types = torch.zeros_like(ids) if types is None else types
        return self.drop(self.norm(self.token(ids) + self.segment(types) + self.position(at)))


class PostNormBlock(nn.Module):
    """Attention, then MLP; each is added to its input, and the sum is normed."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.attention = Attention(
            config.d_model, config.n_heads, positions="none", causal=False, bias=True
        )
        self.norm1 = LayerNorm(config.d_model, config.eps)
        self.mlp = GeluMLP(config.d_model, config.hidden)
        self.norm2 = LayerNorm(config.d_model, config.eps)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, weights: list[Tensor] | None = None
    ) -> Tensor:
        x = self.norm1(x + self.drop(self.attention(x, mask, None, weights)))
        return self.norm2(x + self.drop(self.mlp(x)))


class Bert(nn.Module):
    """The encoder: ids (B, T) to contextual vectors (B, T, d_model)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(PostNormBlock(config) for _ in range(config.n_layers))
        self.pooler = nn.Linear(config.d_model, config.d_model)
        self.apply(init_weights)

    def encode(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        weights: list[Tensor] | None = None,
        layers: list[Tensor] | None = None,
    ) -> Tensor:
        """The blocks alone: embedded tokens (B, T, d_model) to contextual vectors."""
        for block in self.blocks:
            if layers is not None:
                layers.append(x)
            x = block(x, mask, weights)
        if layers is not None:
            layers.append(x)
        return x

    def forward(
        self,
        ids: Tensor,
        types: Tensor | None = None,
        mask: Tensor | None = None,
        weights: list[Tensor] | None = None,
        layers: list[Tensor] | None = None,
    ) -> Tensor:
        """Vectors (B, T, d_model) of ids (B, T).

        `types`: 0 in the first segment, 1 in the second; default 0. `mask`: True where a query may
        look, broadcastable to (B, n_heads, T, T), for example `padding_mask`. `weights`: a list
        that receives every layer's attention weights. `layers`: one that receives the embedding
        and every layer's output, n_layers + 1 tensors (B, T, d_model).
        """
        return self.encode(self.embedding(ids, types), mask, weights, layers)

    def pool(self, x: Tensor) -> Tensor:
        """Tanh of a linear map of the first position, [CLS]: (B, T, d_model) to (B, d_model)."""
        return torch.tanh(self.pooler(x[:, 0]))


class MaskedTokenHead(nn.Module):
    """Vectors (…, d_model) to logits (…, vocab_size); the decoder is the token embedding."""

    def __init__(self, config: BertConfig, decoder: nn.Parameter):
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.norm = LayerNorm(config.d_model, config.eps)
        self.decoder = decoder
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(init_weights)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(F.gelu(self.dense(x))), self.decoder, self.bias)


class BertForPretraining(nn.Module):
    """The encoder with its two pretraining heads: masked tokens, and next sentence or not."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.masked = MaskedTokenHead(config, self.bert.embedding.token.weight)
        self.next = nn.Linear(config.d_model, 2)
        init_weights(self.next)

    def forward(
        self,
        ids: Tensor,
        types: Tensor | None = None,
        mask: Tensor | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """Logits over the vocabulary, (B, T, vocab_size).

        With `at`, boolean (B, T): only at its n true positions, (n, vocab_size), row by row.
        """
        x = self.bert(ids, types, mask)
        return self.masked(x if at is None else x[at])

    def next_sentence(
        self, ids: Tensor, types: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Logits (B, 2): column 0 says that the second segment follows, 1 that it does not."""
        return self.next(self.bert.pool(self.bert(ids, types, mask)))


def init_weights(module: nn.Module, std: float = 0.02) -> None:
    """N(0, 0.02²) for tables and matrices, 0 for biases: Devlin et al.'s `initializer_range`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


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
