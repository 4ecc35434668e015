"""What a model costs, from its shape alone: parameters, FLOPs and bytes of KV cache.

Everything follows from a `Config`; no weight is allocated. The tests compare each function with
real modules: the parameters of `GPT`, torch's FLOP counter, the bytes of a filled cache.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from labs.model.transformer import Config

# Radford et al. (2019), the smallest model of Table 2, with the sizes of the released weights.
GPT2_SMALL = Config(
    50257, 1024, 12, 12, 768, norm="layernorm", positions="learned", mlp="gelu", bias=True
)
# Grattafiori et al. (2024), Table 3; vocabulary and untied head as in the released config.json.
_LLAMA3 = {"n_kv_heads": 8, "tied": False, "rope_base": 500_000.0}
LLAMA3_8B = Config(128256, 8192, 32, 32, 4096, d_ff=14336, **_LLAMA3)
LLAMA3_70B = Config(128256, 8192, 80, 64, 8192, d_ff=28672, **_LLAMA3)


@dataclass(frozen=True)
class Parts:
    """Parameters of a model by part, all layers together."""

    embedding: int
    positions: int
    attention: int
    mlp: int
    norms: int
    head: int  # 0 when the head is the embedding again

    @property
    def total(self) -> int:
        return sum(astuple(self))


def parameters(config: Config) -> Parts:
    """Trainable numbers of `GPT(config)`; a tied head counts once, with the embedding.

    An `in` by `out` matrix has in · out weights, and `out` more with a bias. Attention has four
    (query and output d × d, key and value d × n_kv d_head), a GELU MLP two, SwiGLU three; each
    layer has two norms, and one more stands before the head. QK-norm adds two gains of d_head a
    layer, counted with the norms.
    """
    d, f, layers, bias = config.d_model, config.hidden, config.n_layers, int(config.bias)
    kv = d // config.n_heads * (config.n_kv_heads or config.n_heads)
    attention = 2 * d * d + 2 * d * kv + bias * (2 * d + 2 * kv)
    to_hidden = 2 if config.mlp == "swiglu" else 1
    mlp = (to_hidden + 1) * d * f + bias * (to_hidden * f + d)
    norm = d * (1 + bias * (config.norm == "layernorm"))
    return Parts(
        embedding=config.vocab_size * d,
        positions=config.context_length * d * (config.positions == "learned"),
        attention=layers * attention,
        mlp=layers * mlp,
        norms=(2 * layers + 1) * norm + config.qk_norm * 2 * layers * (d // config.n_heads),
        head=0 if config.tied else config.vocab_size * d,
    )


def multiplied(config: Config) -> int:
    """Weights that a matrix product uses once per token: of all layers, and of the head.

    Looking up an embedding multiplies nothing; a tied embedding is multiplied as the head.
    """
    weights = parameters(Config(**{**config.to_dict(), "bias": False, "tied": False}))
    return weights.attention + weights.mlp + weights.head


def forward_flops(config: Config, tokens: int, *, causal_half: bool = False) -> int:
    """FLOPs of matrix products when `tokens` positions are run at once, without a cache.

    Two (multiply, add) for each weight and token; for each layer and pair of positions 2 d for
    q·k and 2 d for the weighted sum of values. `causal_half` leaves out the pairs that the causal
    mask forbids, as fused kernels do. Norms, activations, softmax and biases are not counted.
    """
    pairs = tokens * (tokens + 1) // 2 if causal_half else tokens * tokens
    return 2 * multiplied(config) * tokens + 4 * config.d_model * config.n_layers * pairs


def training_flops_per_token(config: Config, tokens: int) -> float:
    """FLOPs for each token of a training step on sequences of `tokens`: forward and backward.

    The backward pass has two products for each one of the forward pass. This is
    6 N + 12 L T d (Chowdhery et al., PaLM, 2023, appendix B), with N the multiplied weights.
    """
    return 3 * forward_flops(config, tokens) / tokens


def kv_cache_bytes(config: Config, tokens: int, bytes_per_number: int = 2) -> int:
    """Bytes of keys and values that decoding keeps for `tokens` tokens of one sequence."""
    kv_heads = config.n_kv_heads or config.n_heads
    d_head = config.d_model // config.n_heads
    return 2 * config.n_layers * kv_heads * d_head * bytes_per_number * tokens


FAMILIES = {
    "GPT-2": {"norm": "layernorm", "positions": "learned", "mlp": "gelu", "bias": True},
    "Llama": {"tied": False},
}
D_FF = {"GPT-2": 4.0, "Llama": 3.5}  # in units of d_model
WIDTHS = (512, 768, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 8192, 12288, 16384)


def family_config(
    family: str, layers: int, width: int, group: int, vocabulary: int, context: int
) -> Config:
    """A model of a family's style: heads of 64, or of 128 from width 2048 on.

    `group` query heads share a key and value head; GPT-2 itself has groups of 1.
    """
    heads = width // (64 if width < 2048 else 128)
    return Config(
        vocabulary,
        context,
        layers,
        heads,
        width,
        n_kv_heads=max(1, heads // group),
        d_ff=int(D_FF[family] * width),
        **FAMILIES[family],
    )


def page_data() -> dict:
    """What `labs/book/js/model_shape.js` computes with, and where it starts: Llama 3 8B."""
    return {
        "families": {name: name == "GPT-2" for name in FAMILIES},
        "d_ff": D_FF,
        "widths": list(WIDTHS),
        "vocabularies": [1024, 32000, 50257, 128256, 256000],
        "start": {
            "family": "Llama",
            "layers": 32,
            "width": 4096,
            "group": 4,
            "vocabulary": 128256,
            "context": 8192,
            "tokens": 15e12,
        },
    }
