"""How many bytes a rank holds: model states by ZeRO stage, and activations beside them.

Model states are parameters, gradients and optimizer states (master copy and moments).
Source of the stages: Rajbhandari et al. 2020, sections 3.1 and 5, Figure 1 and Table 1.
Source of the activation formula: Korthikanti et al. 2022, section 4, equations 1 and 6.
A gigabyte is 1e9 bytes here, as in both papers.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from itertools import accumulate, pairwise

import torch
from torch import Tensor

GB = 1e9


@dataclass(frozen=True)
class Precision:
    """Bytes per element of the stored parameters, gradients and, if kept, the fp32 master copy."""

    params: int
    grads: int
    master: int


PRECISIONS = {
    "mixed": Precision(params=2, grads=2, master=4),  # bf16 or fp16, fp32 master copy
    "mixed, fp32 gradients": Precision(params=2, grads=4, master=4),
    "fp32": Precision(params=4, grads=4, master=0),
}
MOMENTS = {"Adam": 2, "SGD with momentum": 1, "SGD": 0}  # fp32 numbers kept per parameter


@dataclass(frozen=True)
class States:
    """Bytes of the four kinds of model state on one rank, per parameter or in all."""

    params: float
    grads: float
    master: float
    moments: float

    @property
    def total(self) -> float:
        return self.params + self.grads + self.master + self.moments

    def scaled(self, factor: float) -> "States":
        """The same states times `factor`, for example a number of parameters."""
        return States(*(factor * x for x in (self.params, self.grads, self.master, self.moments)))


def state_bytes(
    stage: int, ranks: int, precision: str = "mixed", optimizer: str = "Adam"
) -> States:
    """Bytes per parameter that one rank holds at ZeRO `stage` with `ranks` data-parallel ranks.

    Stage 0 is plain data parallelism. Stage 1 splits optimizer states over the ranks, stage 2
    gradients too, stage 3 parameters too (Rajbhandari et al. 2020, sections 5.1 to 5.3).
    Raises ValueError for a stage outside 0 to 3 or fewer than one rank.
    """
    if stage not in range(4):
        raise ValueError(f"ZeRO has stages 0 to 3, not {stage}")
    if ranks < 1:
        raise ValueError(f"at least one rank is needed, not {ranks}")
    size = PRECISIONS[precision]
    return States(
        params=size.params / (ranks if stage >= 3 else 1),
        grads=size.grads / (ranks if stage >= 2 else 1),
        master=size.master / (ranks if stage >= 1 else 1),
        moments=4 * MOMENTS[optimizer] / (ranks if stage >= 1 else 1),
    )


def deepspeed_state_bytes(stage: int, ranks: int, precision: str = "mixed") -> States:
    """Bytes per parameter that DeepSpeed 0.19.6 holds between the last backward and the step, Adam.

    Two differences from `state_bytes`. At the accumulation boundary stage 1 keeps the gradients of
    its own shard only, as stage 2 does. In fp32, stages 1 to 3 keep an fp32 master copy beside the
    fp32 parameters (deepspeed/runtime/zero/stage_1_and_2.py and stage3.py, version 0.19.6).
    """
    states = state_bytes(2 if stage == 1 else stage, ranks, precision)
    if precision == "fp32" and stage > 0:
        return States(states.params, states.grads, 4 / ranks, states.moments)
    return states


def straddling_elements(sizes: Sequence[int], ranks: int) -> list[int]:
    """Gradient elements that each rank holds in DeepSpeed 0.19.6 at stages 1 and 2.

    The flat vector of all parameters is padded to a multiple of 2·ranks and cut into equal shards.
    A rank keeps a whole gradient tensor even when only a part of it lies in its shard
    (`get_flat_partition` returns views), so a tensor across a border is held by both neighbours.
    `sizes` are the elements of the parameters in order.
    """
    ends = list(accumulate(sizes, initial=0))
    shard = 2 * -(-ends[-1] // (2 * ranks))
    held = [
        sum(b - a for a, b in pairwise(ends) if a < (rank + 1) * shard and b > rank * shard)
        for rank in range(ranks)
    ]
    held[-1] += ranks * shard - ends[-1]  # zeros that fill the last shard
    return held


def largest_model(
    memory: float, stage: int, ranks: int, precision: str = "mixed", optimizer: str = "Adam"
) -> float:
    """Number of parameters whose states alone fill `memory` bytes on every rank."""
    return memory / state_bytes(stage, ranks, precision, optimizer).total


ACTIVATIONS = ("none", "full recomputation", "selective recomputation", "no recomputation")


def activation_bytes(
    layers: float, hidden: float, heads: float, sequence: int, batch: int, keep: str
) -> float:
    """Bytes of activations that one rank keeps for the backward pass of `batch` sequences.

    Per layer, in 16-bit with dropout masks of one byte: sbh(34 + 5as/h) when everything is kept;
    34sbh when the attention matrices are recomputed, as FlashAttention does too; 2sbh when only the
    layer's input is kept (Korthikanti et al. 2022, equation 1, equation 6 with t = 1, section 5).
    Embeddings, the last norm and the logits come on top.
    """
    tokens_by_width = sequence * batch * hidden
    per_layer = {
        "none": 0.0,
        "full recomputation": 2 * tokens_by_width,
        "selective recomputation": 34 * tokens_by_width,
        "no recomputation": tokens_by_width * (34 + 5 * heads * sequence / hidden),
    }
    return layers * per_layer[keep]


def saved_bytes(run: Callable[[], Tensor], parameters: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of `run()`, parameters not counted.

    Distinct storages: a tensor that two operations save is held once.
    """
    storages = {}

    def remember(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda t: t):
        run()
    weights = {p.untyped_storage().data_ptr() for p in parameters}
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in weights)


def gpt_shape(parameters: float) -> tuple[float, float, float]:
    """(layers, hidden, heads) of a GPT with GPT-3's proportions: hidden = 128 layers = 128 heads.

    Solves parameters = 12 · layers · hidden² for real numbers; for 175e9 it gives
    96.2 layers of width 12312 (GPT-3: 96 and 12288).
    """
    hidden = (128 * parameters / 12) ** (1 / 3)
    return hidden / 128, hidden, hidden / 128


def page_data() -> dict:
    """What `labs/book/js/zero_memory.js` computes with: the same constants, and where it starts."""
    return {
        "precisions": {name: asdict(size) for name, size in PRECISIONS.items()},
        "moments": MOMENTS,
        "activations": ACTIVATIONS,
        "parameters": [0.35e9, 1.5e9, 3e9, 7.5e9, 13e9, 30e9, 70e9, 128e9, 175e9, 405e9, 1e12],
        "start": {
            "parameters": 7.5e9,
            "ranks": 64,
            "stage": 1,
            "precision": "mixed",
            "optimizer": "Adam",
            "keep": "none",
            "sequence": 4096,
            "batch": 1,
            "gpu": 80,
        },
    }


# Rajbhandari et al. 2020, Table 1, as printed: GB per device for stages 1, 2, 3.
TABLE_1 = {
    7.5e9: {
        1: ("120", "120", "120"),
        4: ("52.5", "41.3", "30"),
        16: ("35.6", "21.6", "7.5"),
        64: ("31.4", "16.6", "1.88"),
        256: ("30.4", "15.4", "0.47"),
        1024: ("30.1", "15.1", "0.12"),
    },
    128e9: {
        1: ("2048", "2048", "2048"),
        4: ("896", "704", "512"),
        16: ("608", "368", "128"),
        64: ("536", "284", "32"),
        256: ("518", "263", "8"),
        1024: ("513", "257", "2"),
    },
    1e12: {
        1: ("16000", "16000", "16000"),
        4: ("7000", "5500", "4000"),
        16: ("4750", "2875", "1000"),
        64: ("4187", "2218", "250"),
        256: ("4046", "2054", "62.5"),
        1024: ("4011", "2013", "15.6"),
    },
}


def prints_as(value: float, printed: str) -> str | None:
    """How `value` becomes `printed` at its number of digits: exact, rounded, truncated, or None."""
    exact, target = Decimal(str(value)), Decimal(printed)
    if exact == target:
        return "exact"
    if exact.quantize(target, ROUND_HALF_UP) == target:
        return "rounded"
    if exact.quantize(target, ROUND_FLOOR) == target:
        return "truncated"
    return None
