"""What every rank of a data-parallel lab trains: one small GPT on one stream of batches.

The global batch of a step depends on the step alone, never on the number of ranks, so that runs on
1, 2 and 4 ranks see the same data and their loss traces can be compared number by number.
"""

from dataclasses import replace
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from labs.model.layers import RMSNorm
from labs.model.transformer import GPT, Config
from labs.text.corpus import split

CONFIG = Config(vocab_size=256, n_layers=8, n_heads=4, d_model=64, context_length=64)


@cache
def training_bytes() -> Tensor:
    """The first training work of the corpus as bytes, (length,) int64."""
    return torch.frombuffer(bytearray(split("train")[0].data), dtype=torch.uint8).long()


def small_gpt(precision: str = "fp32", norm: str = "one operation") -> nn.Module:
    """The same GPT on every rank, on a GPU of its own where NCCL runs; bfloat16 when "mixed".

    Outside of a launch it is the same model too, on the CPU.

    `norm` "one operation" takes torch's RMSNorm, "written out" keeps the GPT's own. The formula is
    the same, but written out it uses its input twice, so autograd has three gradients to add on the
    residual stream instead of two, and in bfloat16 the order of three additions matters.
    """
    torch.manual_seed(0)
    model = GPT(CONFIG)
    if norm == "one operation":
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, RMSNorm):
                    setattr(module, name, nn.RMSNorm(CONFIG.d_model, eps=child.eps))
    on_gpu = dist.is_initialized() and dist.get_backend() == "nccl"
    device = torch.device("cuda" if on_gpu else "cpu")
    return model.to(device, torch.bfloat16 if precision == "mixed" else torch.float32)


def untied_gpt(seed: int = 0) -> GPT:
    """The GPT with a head of its own and the norms written out, fp32, on the CPU."""
    torch.manual_seed(seed)
    return GPT(replace(CONFIG, tied=False))


def batch_of(step: int, rank: int, ranks: int, batch: int) -> tuple[Tensor, Tensor]:
    """This rank's share (ids, next ids), each (batch / ranks, context), of global batch `step`."""
    text, length = training_bytes(), CONFIG.context_length + 1
    generator = torch.Generator().manual_seed(step)
    starts = torch.randint(len(text) - length, (batch,), generator=generator)
    own = starts[rank * batch // ranks : (rank + 1) * batch // ranks]
    windows = torch.stack([text[start : start + length] for start in own])
    return windows[:, :-1], windows[:, 1:]


def next_token_loss(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token, computed in fp32 on the model's device."""
    device = next(model.parameters()).device
    logits = model(ids.to(device)).float()
    return F.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten())
