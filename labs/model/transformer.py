"""A decoder-only Transformer that a reader can hold in the head.

embedding → n_layers × (x + attention(norm(x)); x + mlp(norm(x))) → norm → logits.
`Config` chooses among the parts of GPT-2 and of Llama; attention, positions, norms and MLPs stand
in modules of their own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from labs.model.attention import Attention, LayerCache
from labs.model.layers import GeluMLP, LayerNorm, RMSNorm, SwiGLU
from labs.model.positions import Rope

CHOICES = {
    "norm": ("rmsnorm", "layernorm"),
    "positions": ("rope", "learned", "alibi", "none"),
    "mlp": ("swiglu", "gelu"),
}


@dataclass(frozen=True)
class Config:
    """Sizes and choices of a model. The defaults are those of Llama: RoPE, RMSNorm, SwiGLU.

    Dropout acts on the embedding and on what each layer writes, not on attention weights: the
    fused kernel has none to drop.
    """

    vocab_size: int
    context_length: int
    n_layers: int
    n_heads: int
    d_model: int
    n_kv_heads: int | None = None
    d_ff: int | None = None
    norm: str = "rmsnorm"
    positions: str = "rope"
    mlp: str = "swiglu"
    bias: bool = False
    tied: bool = True
    causal: bool = True
    dropout: float = 0.0
    rope_base: float = 10_000.0
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}: take one of {allowed}.")

    @property
    def hidden(self) -> int:
        """d_ff: by default 4 d_model (GELU) or 8/3 d_model in steps of 8 (SwiGLU): equal size."""
        if self.d_ff is not None:
            return self.d_ff
        return 4 * self.d_model if self.mlp == "gelu" else 8 * round(self.d_model / 3)

    def to_dict(self) -> dict:
        return asdict(self)


def make_norm(config: Config) -> nn.Module:
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model)
    return LayerNorm(config.d_model, bias=config.bias)


class Block(nn.Module):
    """One pre-norm layer: attention moves information between positions, the MLP within one."""

    def __init__(self, config: Config):
        super().__init__()
        self.norm1, self.norm2 = make_norm(config), make_norm(config)
        self.attention = Attention(
            config.d_model,
            config.n_heads,
            config.n_kv_heads,
            positions=config.positions,
            rope_base=config.rope_base,
            causal=config.causal,
            bias=config.bias,
            qk_norm=config.qk_norm,
        )
        mlp = SwiGLU if config.mlp == "swiglu" else GeluMLP
        self.mlp = mlp(config.d_model, config.hidden, bias=config.bias)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
        weights: list[Tensor] | None = None,
    ) -> Tensor:
        x = x + self.drop(self.attention(self.norm1(x), mask, cache, weights))
        return x + self.drop(self.mlp(self.norm2(x)))


class GPT(nn.Module):
    """A causal language model: ids (B, T) to logits (B, T, vocab_size)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.position = nn.Embedding(config.context_length, config.d_model)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.init_weights()
        if config.tied:
            self.head.weight = self.embedding.weight

    def init_weights(self, std: float = 0.02) -> None:
        """N(0, 0.02²), and less by sqrt(2 n_layers) where a layer writes to the residual stream.

        Radford et al., Language Models are Unsupervised Multitask Learners (2019), sec. 2.3.
        """
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
                scale = (2 * self.config.n_layers) ** -0.5 if writes else 1.0
                nn.init.normal_(parameter, std=std * scale)

    def new_cache(self) -> list[LayerCache]:
        """An empty KV cache: pass it to `forward` with the new tokens only."""
        return [LayerCache() for _ in self.blocks]

    def set_rope(self, rope: Rope | None) -> GPT:
        """Rotate by other frequencies from now on (None: those of `rope_base`); returns self.

        Raises ValueError when the model has no rotary positions.
        """
        if self.config.positions != "rope":
            raise ValueError(f"The model's positions are {self.config.positions}, not rope.")
        for block in self.blocks:
            block.attention.rope = rope
        return self

    def forward(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        cache: list[LayerCache] | None = None,
        weights: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits (B, T, vocab_size) of ids (B, T).

        `mask`: True where a query may look, broadcastable to (B, n_heads, T_q, T_k).
        `weights`: a list that receives every layer's attention weights.
        Raises ValueError when learned positions end before the text does.
        """
        start = 0 if cache is None else cache[0].length
        x = self.embedding(ids)
        if self.config.positions == "learned":
            end = start + ids.size(1)
            if end > self.config.context_length:
                raise ValueError(
                    f"{end} tokens, but positions are learned for {self.config.context_length}."
                )
            x = x + self.position(torch.arange(start, end, device=ids.device))
        x = self.drop(x)
        for index, block in enumerate(self.blocks):
            x = block(x, mask, None if cache is None else cache[index], weights)
        return self.head(self.norm(x))


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers; a tied weight counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
