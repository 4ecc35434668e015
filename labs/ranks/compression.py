"""What deepspeed.compression of release 0.19.6 does to a small model (later releases lack it).

Started by `labs.ranks.launch.launch` on one rank. A configuration is a dict:
  compression  the "compression_training" section of DeepSpeed's configuration
  init         false: an engine has the section in its configuration and takes a step with learning
               rate 0, but `init_compression` is not called
  seed         of the weights (default 0)
  teacher      layers of a teacher for layer reduction
"""

import contextlib
import io

import torch
from deepspeed.compression.compress import init_compression, redundancy_clean
from deepspeed.compression.config import get_compression_config
from deepspeed.compression.scheduler import compression_scheduler
from torch import Tensor, nn
from torch.nn import functional as F

from labs.ranks.engine import deepspeed_config, engine_for
from labs.ranks.worker import run_configs

WIDTH, HIDDEN, HEADS = 64, 128, 8


class Layer(nn.Module):
    """A Transformer layer whose matrices have names that a configuration can address."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.mixed = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, WIDTH) to the same; the number of heads follows from the query's size."""
        q, k, v = (
            part(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        x = x + self.mixed(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.narrow(F.relu(self.wide(x)))


class Layers(nn.Module):
    """A stack of layers: `layers.0`, `layers.1`, …"""

    def __init__(self, depth: int = 2):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def describe(model: nn.Module) -> dict:
    """For each matrix: shape, format, distinct values in a row at the most, share of zeros."""
    return {
        name.removesuffix(".weight"): {
            "shape": list(weight.shape),
            "dtype": str(weight.dtype).removeprefix("torch."),
            "values": max(len(row.unique()) for row in weight.detach()),
            "zeros": (weight == 0).float().mean().item(),
            "zero_rows": (weight == 0).all(1).float().mean().item(),
        }
        for name, weight in model.named_parameters()
        if weight.dim() == 2
    }


def run(config: dict, rank: int, world_size: int) -> dict:
    """Compress, run once, clean: {"before", "after": matrices, "bytes": of parameters, both times,
    "finite": whether the result runs, "from_teacher": layers copied, if any} or
    {"error": "Type: message"} where DeepSpeed refuses."""
    torch.manual_seed(config.get("seed", 0))
    teacher = Layers(config["teacher"]) if "teacher" in config else None
    model = Layers()
    settings = deepspeed_config(micro_batch=2, lr=0.0, compression_training=config["compression"])
    before, size = describe(model), sum(p.nbytes for p in model.parameters())
    x = torch.randn(2, 8, WIDTH, generator=torch.Generator().manual_seed(1))
    try:
        if config.get("init", True):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints names
                compress(model, settings, teacher, x)
        else:
            engine_step(model, settings, x)
    except (AssertionError, KeyError, RuntimeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    result = {
        "before": before,
        "after": describe(model),
        "bytes": [size, sum(p.nbytes for p in model.parameters())],
        "finite": bool(model.cpu().eval()(x).isfinite().all()),
    }
    if teacher is not None:
        result["from_teacher"] = [
            [
                i
                for i, source in enumerate(teacher.layers)
                if torch.equal(source.wide.weight, layer.wide.weight)
            ]
            for layer in model.layers
        ]
    return result


def compress(model: nn.Module, settings: dict, teacher: nn.Module | None, x: Tensor) -> None:
    """DeepSpeed's steps: wrap the layers, switch the methods on, run, make the result permanent."""
    init_compression(model, settings, teacher_model=teacher)
    schedule = compression_scheduler(model, get_compression_config(settings))
    sparse = settings["compression_training"].get("sparse_pruning")
    if sparse:  # its schedule fails in 0.19.6 (KeyError: 'schedule_offset_end')
        for module in model.modules():
            if hasattr(module, "sparse_pruning_enabled"):
                module.sparse_pruning_enabled = True
    else:
        schedule.step()
    model.train()
    model(x)
    redundancy_clean(model, settings)


def engine_step(model: nn.Module, settings: dict, x: Tensor) -> None:
    """DeepSpeed's engine with the section in its configuration: one step."""
    with engine_for(model, settings) as engine:
        engine.backward(engine(x.to(engine.device)).square().mean())
        engine.step()


if __name__ == "__main__":
    run_configs(run)
