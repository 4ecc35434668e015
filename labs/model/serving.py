"""What a long prompt costs a served model: bytes of KV cache, bytes read, FLOPs of the prefill.

The same decoder with four ways to keep keys and values: one pair for each head (MHA), for a group
of heads (GQA), for all heads (MQA), or one latent vector (MLA: DeepSeek-V2, 2024, sec. 2.1). A
layer may look at everything or at a sliding window only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from labs.model.counting import LLAMA3_8B, LLAMA3_70B, multiplied
from labs.model.transformer import Config

KINDS = ("MHA", "GQA", "MQA", "MLA")
MODELS = {"Llama 3 8B": LLAMA3_8B, "Llama 3 70B": LLAMA3_70B}
# Layers with a window, of how many. Gemma 3 (2025), sec. 2: 5 local layers for 1 global, 1024 wide.
PATTERNS = {"no window": (0, 1), "all layers": (1, 1), "5 of 6 layers": (5, 6)}


@dataclass(frozen=True)
class Latent:
    """MLA's cached widths in units of d_head: DeepSeek-V2 (2024), sec. 2.1.4, note to Table 1."""

    content: float = 4.0  # d_c, the latent of keys and values
    rope: float = 0.5  # d_h^R, the one rotated key that all heads share


def cached_numbers(config: Config, kind: str, latent: Latent = Latent()) -> int:
    """Numbers that one layer keeps for one token: DeepSeek-V2 (2024), Table 1, over the layers.

    Raises ValueError for a `kind` that is not one of KINDS.
    """
    d_head = config.d_model // config.n_heads
    if kind == "MLA":
        return int((latent.content + latent.rope) * d_head)
    return 2 * kv_heads(config, kind) * d_head


def kv_heads(config: Config, kind: str) -> int:
    """Heads of keys and values; MLA has as many as queries, made from the latent when needed."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of attention: take one of {', '.join(KINDS)}.")
    heads = {"GQA": config.n_kv_heads or config.n_heads, "MQA": 1}
    return heads.get(kind, config.n_heads)


def weights(config: Config, kind: str, latent: Latent = Latent()) -> int:
    """Weights that each token is multiplied with, all layers and the head.

    MLA without compressed queries: query d × n(h + r), down d × (c + r), up c × 2nh, output nh × d.
    """
    if kind != "MLA":
        return multiplied(replace(config, n_kv_heads=kv_heads(config, kind)))
    d, n = config.d_model, config.n_heads
    h = d // n
    c, r = int(latent.content * h), int(latent.rope * h)
    attention = d * n * (h + r) + d * (c + r) + c * 2 * n * h + n * h * d
    without = multiplied(replace(config, n_kv_heads=n)) - config.n_layers * 4 * d * d
    return without + config.n_layers * attention


def embedding(config: Config) -> int:
    """Weights that are in memory but multiplied with no token: an untied table of embeddings."""
    return 0 if config.tied else config.vocab_size * config.d_model


def visible_pairs(tokens: int, window: int | None = None) -> int:
    """Pairs (query, key) that a causal layer computes on `tokens`; `window` counts the query."""
    w = tokens if window is None else min(window, tokens)
    return w * (w + 1) // 2 + (tokens - w) * w


@dataclass(frozen=True)
class Cost:
    """Of one prompt: what is kept, what a new token must read, what the prefill computes."""

    kept: float  # bytes of KV cache of one sequence
    held: float  # bytes of all weights in memory, with the table of embeddings
    read: float  # bytes that decoding one more token reads: weights once, and this cache
    linear: int  # FLOPs of all matrix products with weights
    attention: int  # FLOPs of scores and weighted sums

    @property
    def share(self) -> float:
        """The part of the prefill's FLOPs that is attention."""
        return self.attention / (self.attention + self.linear)


def cost(
    config: Config,
    kind: str,
    tokens: int,
    *,
    window: int = 4096,
    pattern: str = "no window",
    bytes_per_number: float = 2.0,
    bytes_per_weight: float = 2.0,
) -> Cost:
    """Cost of a prompt of `tokens`. FLOPs are those of a kernel that skips masked pairs.

    `pattern` names one of PATTERNS; of L layers, L · part // whole have the window.
    """
    part, whole = PATTERNS[pattern]
    local = config.n_layers * part // whole
    far = config.n_layers - local
    numbers = cached_numbers(config, kind) * (far * tokens + local * min(tokens, window))
    kept = numbers * bytes_per_number
    pairs = far * visible_pairs(tokens) + local * visible_pairs(tokens, window)
    d_rope = Latent().rope if kind == "MLA" else 0.0
    per_pair = int((4 + 2 * d_rope) * config.d_model)  # q·k over h + r numbers, values over h
    matrix = weights(config, kind)
    return Cost(
        kept=kept,
        held=(matrix + embedding(config)) * bytes_per_weight,
        read=matrix * bytes_per_weight + kept,
        linear=2 * matrix * tokens,
        attention=per_pair * pairs,
    )


def page_data() -> dict:
    """What the explorable `long_context` needs: shapes, weights by kind, and where it starts."""
    models = {
        name: {
            "layers": config.n_layers,
            "width": config.d_model,
            "embedding": embedding(config),
            "cached": {kind: cached_numbers(config, kind) for kind in KINDS},
            "weights": {kind: weights(config, kind) for kind in KINDS},
        }
        for name, config in MODELS.items()
    }
    start = {
        "model": "Llama 3 8B",
        "kind": "GQA",
        "tokens": 131072,
        "pattern": "no window",
        "window": 4096,
        "bits": 16,
        "batch": 4,
        "gpu": 80,
    }
    return {
        "models": models,
        "patterns": PATTERNS,
        "ropeOfMla": Latent().rope,
        "start": start,
    }
