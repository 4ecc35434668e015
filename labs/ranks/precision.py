"""Which format every tensor of a DeepSpeed engine has, and how its loss scale moves.

Started by `labs.ranks.launch.launch` on any number of ranks. A configuration is a dict with

  sections     additions to DeepSpeed's configuration, for example {"bf16": {"enabled": true}}
  stage        ZeRO stage (default 1)
  batch        sequences per step over all ranks (default 4)
  fp16 on CPU  true: overrule DeepSpeed, which refuses fp16 on a CPU. PyTorch's CPU kernels know
               it, slowly.
  trace        optimizer steps to take and report one by one; without it, a census of a step
"""

from collections.abc import Callable

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from torch import Tensor, nn

from labs.ranks.deepspeed_train import state_bytes, state_tensors
from labs.ranks.engine import deepspeed_config, engine_for
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt

Batches = Callable[[int], tuple[Tensor, Tensor]]  # step -> this rank's ids and next ids


def dtypes(tensors: list[Tensor]) -> list[str]:
    """The formats among tensors, without the empty ones: ["bfloat16", "float32"]."""
    return sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.numel()})


def watch_linears(model: nn.Module) -> dict[str, list[Tensor]]:
    """Collect the outputs and the output gradients of every Linear from now on."""
    seen: dict[str, list[Tensor]] = {"outputs": [], "output_grads": []}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _m, _i, out: seen["outputs"].append(out.detach()))
            module.register_full_backward_hook(
                lambda _m, _i, grads: seen["output_grads"].append(grads[0].detach())
            )
    return seen


def overrule_fp16() -> None:
    """Let DeepSpeed believe that this accelerator knows fp16, for the rest of the process."""
    accelerator = get_accelerator()
    accelerator.is_fp16_supported = lambda: True
    accelerator.supported_dtypes = lambda: [torch.float32, torch.float16, torch.bfloat16]


def census(engine: deepspeed.DeepSpeedEngine, batches: Batches, seen: dict) -> dict:
    """Formats and bytes by kind of tensor, after the backward pass of a second training step.

    Returns {"dtypes": {kind: [names]}, "bytes": {kind: bytes}, "elements": Ψ, "losses": [nats]}.
    """
    losses = []
    for step in range(2):  # the moments exist after the first step
        for tensors in seen.values():
            tensors.clear()
        loss = next_token_loss(engine, *batches(step))
        engine.backward(loss)
        losses.append(loss.item())
        if step == 0:
            engine.step()
    held = {**state_tensors(engine), **seen}
    held["moments"] = [t for t in held["moments"] if t.dim()]  # not Adam's counts of steps
    return {
        "dtypes": {kind: dtypes(tensors) for kind, tensors in held.items()},
        "bytes": state_bytes(engine),
        "elements": sum(p.numel() for p in engine.module.parameters()),
        "losses": losses,
    }


def trace(engine: deepspeed.DeepSpeedEngine, batches: Batches, steps: int) -> dict:
    """Training steps one by one under a loss scale.

    Returns {"losses": [nats], "scales": one more than steps, the last for the step that is not
    taken, "skipped": one boolean a step, "moved": whether any weight changed in it}.
    """
    report: dict = {"losses": [], "scales": [], "skipped": [], "moved": []}
    weight = engine.module.head.weight
    for step in range(steps):
        loss = next_token_loss(engine, *batches(step))
        engine.backward(loss)
        before, skips = weight.detach().clone(), engine.skipped_steps
        report["scales"].append(float(engine.optimizer.loss_scale))
        engine.step()
        report["losses"].append(loss.item())
        report["skipped"].append(engine.skipped_steps > skips)
        report["moved"].append(not torch.equal(before, weight))
    report["scales"].append(float(engine.optimizer.loss_scale))
    return report


def run(config: dict, rank: int, world_size: int) -> dict:
    """One configuration; see the module's docstring.

    An engine that DeepSpeed refuses to build gives {"refused": the first line of its message}.
    """
    if config.get("fp16 on CPU"):
        overrule_fp16()
    batch = config.get("batch", 4)
    settings = deepspeed_config(
        config.get("stage", 1),
        micro_batch=batch // world_size,
        zero={"reduce_bucket_size": 1_000_000},
        **config.get("sections", {}),
    )
    model = small_gpt("fp32")  # DeepSpeed casts it, or does not: that is the question
    seen = watch_linears(model) if "trace" not in config else {}

    def batches(step: int) -> tuple[Tensor, Tensor]:
        return batch_of(step, rank, world_size, batch)

    try:
        with engine_for(model, settings) as engine:
            if "trace" in config:
                return trace(engine, batches, config["trace"])
            return census(engine, batches, seen)
    except ValueError as error:
        return {"refused": str(error).splitlines()[0]}


if __name__ == "__main__":
    run_configs(run)
