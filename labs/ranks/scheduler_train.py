"""Real DeepSpeed engines under one schedule after another: which learning rate does each step use?

Started by `labs.ranks.launch.launch`. One launch runs many configurations on a very small GPT.

A configuration is a dict:
  scheduler   {"type": …, "params": …} of DeepSpeed's configuration, or None
  client      instead: name of a scheduler in CLIENTS, passed to `deepspeed.initialize`
  data        "real" text, "shuffled" targets, or "frozen": gradients are set to zero (default real)
  metric      a list: `engine.step(lr_kwargs={"metrics": …})` gets these numbers, one a step;
              "loss": the step's loss; None: a plain `engine.step()`
  precision   "fp32" (default), "bf16" or "fp16"
  stage       ZeRO stage (default 0)
  steps       micro-steps
  accumulate  micro-steps per optimizer step (default 1)
  overflow    micro-steps whose loss rank 0 multiplies by infinity (default none)
  settings    more entries of DeepSpeed's configuration

{"emulate": [g, …], "scheduler": …} runs no engine: DeepSpeed's fp16 loss scaler and the schedule
see steps whose largest gradient is g. A CPU has no fp16 training in DeepSpeed.
"""

import logging
from contextlib import AbstractContextManager, ExitStack

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.runtime import lr_schedules
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler
from deepspeed.utils import logger
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, ReduceLROnPlateau

from labs.model.transformer import GPT, Config
from labs.ranks.engine import deepspeed_config, engine_for, full_weights
from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss

MODEL = Config(vocab_size=256, context_length=64, n_layers=1, n_heads=2, d_model=16)
CLIENTS = {
    "inverse root": lambda optimizer: LambdaLR(optimizer, lambda t: (t + 1) ** -0.5),
    "exponential": lambda optimizer: ExponentialLR(optimizer, gamma=0.9),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=2),
}


def make_engine(config: dict) -> AbstractContextManager[deepspeed.DeepSpeedEngine]:
    """The engine of a configuration; what `deepspeed.initialize` raises passes through."""
    precision = config.get("precision", "fp32")
    more = dict(config.get("settings", {}))
    if config.get("scheduler"):
        more["scheduler"] = config["scheduler"]
    if precision == "fp16":
        more["fp16"] = {"enabled": True}
    settings = deepspeed_config(
        config.get("stage", 0),
        micro_batch=1,
        accumulate=config.get("accumulate", 1),
        precision="mixed" if precision == "bf16" else "fp32",
        zero={"reduce_bucket_size": 1_000_000},
        **more,
    )
    torch.manual_seed(0)  # the same weights on every rank
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    model = GPT(MODEL).to(device, torch.bfloat16 if precision == "bf16" else torch.float32)
    return engine_for(model, settings, lr_scheduler=CLIENTS.get(config.get("client")))


def loss_of(engine: nn.Module, config: dict, step: int, rank: int, ranks: int) -> torch.Tensor:
    """The loss of a micro-step, nats per token, on the data that the configuration asks for."""
    ids, targets = batch_of(step, rank, ranks, ranks)
    if config.get("data") == "shuffled":
        targets = targets[:, torch.randperm(targets.shape[1])]
    loss = next_token_loss(engine, ids, targets)
    if config.get("data") == "frozen":
        loss = 0.0 * loss + 4.0  # no gradient, so no learning: the loss is constant
    return loss * float("inf") if rank == 0 and step in config.get("overflow", ()) else loss


def train(config: dict, rank: int, world_size: int) -> dict:
    """Run one configuration; see the module's docstring.

    Returns for each micro-step the rate that `step` used, the loss before it, and how far it
    moved any weight of the embedding (None in stage 3); at the end the optimizer steps, how many
    of them were skipped, the steps of the schedule (None unless it is DeepSpeed's), whether all
    weights are finite, and the betas of Adam. What DeepSpeed refuses returns
    {"error": "Type: message"}.
    """
    logger.setLevel(logging.ERROR)
    if "emulate" in config:
        return emulate(config["emulate"], config["scheduler"])
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(make_engine(config))
        except (AssertionError, TypeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return run_steps(engine, config, rank, world_size)


def run_steps(engine: deepspeed.DeepSpeedEngine, config: dict, rank: int, world_size: int) -> dict:
    """The micro-steps of a configuration, and the engine's state after them."""
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    weight = engine.module.head.weight
    seen: dict = {"rates": [], "losses": [], "moved": []}
    for step in range(config["steps"]):
        loss = loss_of(engine, config, step, rank, world_size)
        engine.backward(loss)
        before = weight.detach().float().clone()
        seen["rates"].append(float(engine.get_lr()[0]))
        seen["losses"].append(loss.item())
        engine.step(lr_kwargs=metrics_of(config, step, loss))
        moved = (weight.detach().float() - before).abs()
        seen["moved"].append(moved.max().item() if moved.numel() else None)
    index = getattr(engine.lr_scheduler, "last_batch_iteration", None)
    return seen | {
        "skipped": engine.skipped_steps,
        "optimizer_steps": engine.global_steps,
        "schedule_steps": None if index is None else index + 1,
        "finite": all(bool(w.isfinite().all()) for w in full_weights(engine).values()),
        "betas": list(optimizer.param_groups[0]["betas"]),
    }


def emulate(sizes: list[float], scheduler: dict) -> dict:
    """Loss scale and rate of steps whose largest gradients are `sizes`, as an fp16 engine has them.

    Overflow is real: size times scale, cast to fp16, is infinite. The scaler is DeepSpeed's, with
    the defaults of its "fp16" section; a step without overflow steps the schedule.
    """
    scaler = DynamicLossScaler(
        init_scale=2.0**16,
        scale_window=1000,
        min_scale=1.0,
        delayed_shift=2,
        consecutive_hysteresis=False,
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = getattr(lr_schedules, scheduler["type"])(optimizer, **scheduler["params"])
    seen: dict = {"scales": [], "rates": [], "overflows": []}
    for size in sizes:
        overflow = bool(torch.tensor(size * scaler.loss_scale).half().isinf())
        seen["scales"].append(scaler.loss_scale)
        seen["rates"].append(optimizer.param_groups[0]["lr"])
        seen["overflows"].append(overflow)
        scaler.update_scale(overflow)
        if not overflow:
            optimizer.step()
            schedule.step()
    return seen


def metrics_of(config: dict, step: int, loss: torch.Tensor) -> dict | None:
    """What `engine.step` gets as `lr_kwargs`: a metric, or nothing."""
    metric = config.get("metric")
    if metric is None:
        return None
    return {"metrics": loss.item() if metric == "loss" else metric[step]}


if __name__ == "__main__":
    run_configs(train)
