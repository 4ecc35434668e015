"""Train the small GPT with a DeepSpeed engine and count the model states it holds.

Started by `labs.ranks.launch.launch`, with the `deepspeed` launcher or torchrun; the same script
runs on several machines with the launcher's hostfile. One launch runs many configurations.

A configuration is a dict:
  stage       ZeRO stage, 0 to 3
  precision   "mixed" (bf16 with fp32 master) or "fp32"
  batch       sequences per micro-step, over all ranks
  steps       optimizer steps
  accumulate  micro-steps per optimizer step (default 1)
  norm        how the model writes RMSNorm, see `small_gpt` (default "one operation")
  lean        false keeps DeepSpeed's default buffers and thresholds (default: true, see LEAN)
"""

import gc

import deepspeed
import torch
from torch import Tensor

from labs.ranks.engine import mean_over_ranks
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt
from labs.ranks.zero import nbytes

LEARNING_RATE = 1e-3
# DeepSpeed's buffers are sized for billions of parameters; with its defaults the small GPT would be
# dwarfed by them, and stage 3 would keep all its parameters, each smaller than the threshold.
LEAN = {
    "reduce_bucket_size": 1_000_000,  # elements
    "stage3_param_persistence_threshold": 0,
    "stage3_prefetch_bucket_size": 0,
    "stage3_max_live_parameters": 0,
    "stage3_max_reuse_distance": 0,
}


def engine_config(config: dict, ranks: int) -> dict:
    """DeepSpeed's configuration. Clipping is off: its default of 1.0 changes the update."""
    settings = {
        "train_micro_batch_size_per_gpu": config["batch"] // ranks,
        "gradient_accumulation_steps": config.get("accumulate", 1),
        "gradient_clipping": 0.0,
        "optimizer": {
            "type": "Adam",
            "params": {
                "lr": LEARNING_RATE,
                "torch_adam": True,
                "adam_w_mode": False,
                "weight_decay": 0.0,
            },
        },
        "zero_optimization": {
            "stage": config["stage"],
            **(LEAN if config.get("lean", True) else {}),
        },
        "steps_per_print": 10**9,
    }
    if config["precision"] == "mixed":
        settings["bf16"] = {"enabled": True}
    return settings


def tensors_in(value: object) -> list[Tensor]:
    """All tensors in a nest of lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    nested = value.values() if isinstance(value, dict) else value or []
    return [t for item in nested for t in tensors_in(item)]


def state_tensors(engine) -> dict[str, list[Tensor]]:
    """The tensors behind each kind of model state, by the attribute that holds them (0.19.6)."""
    wrapper, stage = engine.optimizer, engine.zero_optimization_stage()
    optimizer = getattr(wrapper, "optimizer", wrapper)  # DeepSpeed wraps torch's optimizer
    params = list(engine.module.parameters())
    grads = [p.grad for p in params if p.grad is not None]
    for name in ("averaged_gradients", "all_grad_tensors"):  # stages 1 and 2
        grads += tensors_in(getattr(wrapper, name, None))
    if stage == 3:
        grads.append(wrapper.grad_partitions_flat_buffer)
        master = wrapper.fp32_partitioned_groups_flat
    else:
        master = [p for group in optimizer.param_groups for p in group["params"]]
    buckets = getattr(wrapper, "ipg_buckets", {}).values()
    return {
        "params": [p.data for p in params] + [p.ds_tensor for p in params if stage == 3],
        "grads": grads,
        "master": list(master),
        "moments": [t for state in optimizer.state.values() for t in tensors_in(state)],
        "buckets": [t for bucket in buckets for t in tensors_in(getattr(bucket, "buffer", None))],
    }


def state_bytes(engine) -> dict[str, int]:
    """Bytes this rank holds now, by kind; master weights that are the parameters count once."""
    held = state_tensors(engine)
    count = {kind: nbytes(tensors) for kind, tensors in held.items()}
    count["master"] = nbytes([*held["params"], *held["master"]]) - count["params"]
    return count


def train(config: dict, rank: int, world_size: int) -> dict:
    """Run one configuration; see the module's docstring. Returns losses and bytes per moment."""
    model = small_gpt(config["precision"], config.get("norm", "one operation"))
    elements = sum(p.numel() for p in model.parameters())
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config=engine_config(config, world_size),
    )
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    steps_taken = [int(s["step"]) for s in optimizer.state.values() if "step" in s]
    losses, moments_seen, micro_step = [], {}, 0
    for step in range(config["steps"]):
        before = [t.detach().clone() for t in state_tensors(engine)["master"]]
        for _ in range(config.get("accumulate", 1)):
            loss = next_token_loss(engine, *batch_of(micro_step, rank, world_size, config["batch"]))
            engine.backward(loss)
            last = engine.is_gradient_accumulation_boundary()
            moments_seen["before_step" if last else "between"] = state_bytes(engine)
            engine.step()
            losses.append(mean_over_ranks(loss))
            micro_step += 1
        if step == 0:
            after = state_tensors(engine)["master"]
            moved = torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])
            first_update = moved.abs().median().item() / LEARNING_RATE
    moments_seen["after_step"] = state_bytes(engine)
    result = {
        "losses": losses,
        "elements": elements,
        "bytes": moments_seen,
        "steps_before_training": max(steps_taken, default=0),
        "first_update": first_update,
        "wrapper": type(engine.optimizer).__name__,
    }
    engine.destroy()
    del engine, model, optimizer
    gc.collect()
    return result


if __name__ == "__main__":
    run_configs(train)
