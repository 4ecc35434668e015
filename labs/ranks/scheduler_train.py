"""Real DeepSpeed engines under one schedule after another: which learning rate does each step use?

Started by `labs.ranks.launch.launch`. One launch runs many configurations on a small GPT.

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
"""

import gc
import logging

import deepspeed
import torch
from deepspeed.utils import logger
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from labs.ranks.worker import run_configs
from labs.ranks.workload import batch_of, next_token_loss, small_gpt

LEARNING_RATE = 1e-3
CLIENTS = {
    "inverse root": lambda optimizer: LambdaLR(optimizer, lambda t: (t + 1) ** -0.5),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=2),
}


def engine_config(config: dict) -> dict:
    """DeepSpeed's configuration: Adam, no clipping (the default of 1.0 would change updates)."""
    adam = {"lr": LEARNING_RATE, "torch_adam": True, "weight_decay": 0.0}
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": config.get("accumulate", 1),
        "gradient_clipping": 0.0,
        "optimizer": {"type": "Adam", "params": adam},
        "zero_optimization": {"stage": config.get("stage", 0), "reduce_bucket_size": 1_000_000},
        "steps_per_print": 10**9,
    }
    if config.get("precision", "fp32") != "fp32":
        settings[config["precision"]] = {"enabled": True}
    if config.get("scheduler"):
        settings["scheduler"] = config["scheduler"]
    return settings | config.get("settings", {})


def make_engine(config: dict) -> deepspeed.DeepSpeedEngine:
    """An engine for the small GPT; what `deepspeed.initialize` raises passes through."""
    model = small_gpt("mixed" if config.get("precision") == "bf16" else "fp32")
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        lr_scheduler=CLIENTS.get(config.get("client")),
        config=engine_config(config),
    )
    return engine


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

    Returns for each micro-step the rate before `step`, the loss, how far the weights moved, and
    the scheduler's own count; at the end the skipped steps, whether all weights are finite, and
    the betas of Adam. A configuration that DeepSpeed refuses returns {"error": "Type: message"}.
    """
    logger.setLevel(logging.ERROR)
    torch.manual_seed(rank)
    try:
        engine = make_engine(config)
    except (AssertionError, TypeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    seen = {"rates": [], "losses": [], "moved": []}
    weight = engine.module.head.weight
    for step in range(config["steps"]):
        loss = loss_of(engine, config, step, rank, world_size)
        engine.backward(loss)
        before = weight.detach().float().clone()
        seen["rates"].append(float(engine.get_lr()[0]))
        seen["losses"].append(loss.item())
        engine.step(lr_kwargs=metrics_of(config, step, loss))
        seen["moved"].append((weight.detach().float() - before).abs().max().item())
    seen |= {
        "skipped": engine.skipped_steps,
        "optimizer_steps": engine.global_steps,
        "finite": all(bool(p.isfinite().all()) for p in engine.module.parameters()),
        "betas": list(optimizer.param_groups[0]["betas"]),
    }
    engine.destroy()
    del engine, optimizer
    gc.collect()
    return seen


def metrics_of(config: dict, step: int, loss: torch.Tensor) -> dict | None:
    """What `engine.step` gets as `lr_kwargs`: a metric, or nothing."""
    metric = config.get("metric")
    if metric is None:
        return None
    return {"metrics": loss.item() if metric == "loss" else metric[step]}


if __name__ == "__main__":
    run_configs(train)
