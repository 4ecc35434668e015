"""DeepSpeed's pipeline engine on the small GPT, with a log of what every stage does."""

from __future__ import annotations

from typing import Any

import torch
from deepspeed.pipe import PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe import schedule
from deepspeed.runtime.pipe.engine import PipelineEngine
from torch import Tensor, nn
from torch.nn import functional as F

from labs.model.transformer import GPT
from labs.ranks.deepspeed_parallel import logits_loss
from labs.ranks.engine import deepspeed_config, engine_for
from labs.ranks.messages import messages, tally
from labs.ranks.workload import CONFIG, batch_of, small_gpt, untied_gpt

WORK = {schedule.ForwardPass: "F", schedule.BackwardPass: "B"}


def layer_names(gpt: GPT) -> list[str]:
    """The layers of the pipeline by the names that they have in the GPT."""
    return ["embedding", *(f"blocks.{i}" for i in range(len(gpt.blocks))), "norm", "head"]


def as_head(embedding: nn.Embedding, x: Tensor) -> Tensor:
    """Use an embedding as the head: logits (B, T, V) of x (B, T, d)."""
    return F.linear(x, embedding.weight)


def pipeline_of(stages: int, method: str = "uniform", tied: bool = False) -> PipelineModule:
    """The small GPT as a list of layers. Tied: first and last stage each hold the embedding."""
    gpt = small_gpt() if tied else untied_gpt()
    ends = [gpt.embedding, gpt.head]
    if tied:
        size = (CONFIG.vocab_size, CONFIG.d_model)
        ends = [
            TiedLayerSpec("embedding", nn.Embedding, *size, forward_fn=forward)
            for forward in (None, as_head)
        ]
    model = PipelineModule(
        layers=[ends[0], *gpt.blocks, gpt.norm, ends[1]],
        num_stages=stages,
        loss_fn=logits_loss,
        partition_method=method,
    )
    for module in model.tied_modules.values():
        module.weight.data.copy_(gpt.embedding.weight)
    return model


def own_weights(model: PipelineModule, names: list[str]) -> dict[str, nn.Parameter]:
    """This stage's parameters by their names in the GPT."""
    own = {}
    for name, parameter in model.named_parameters():
        layer, _, rest = name.removeprefix("tied_modules.").partition(".")
        own[f"{names[int(layer)] if layer.isdigit() else layer}.{rest}"] = parameter
    return own


class Log:
    """What an engine's stage did in one `train_batch`: its work in order, and its gradients."""

    def __init__(self, engine: PipelineEngine, names: list[str], reduce_tied: bool = True) -> None:
        self.work, self.gradients = "", {}
        known = engine._INSTRUCTION_MAP

        def logged(command: type, function):
            def call(stage: PipelineEngine, **arguments: Any) -> None:
                self.work += WORK.get(command, "")
                if command is schedule.OptimizerStep:
                    own = own_weights(stage.module, names)
                    self.gradients = {
                        n: p.grad.clone() for n, p in own.items() if p.grad is not None
                    }
                if command is not schedule.ReduceTiedGrads or reduce_tied:
                    function(stage, **arguments)

            return call

        engine._INSTRUCTION_MAP = {c: logged(c, f) for c, f in known.items()}


def train_pipeline(config: dict, rank: int, ranks: int) -> dict[str, Any]:
    """Optimizer steps of pipelines with `stages` ranks each, as many pipelines as there is room.

    `settings["accumulate"]` micro-batches go through a pipeline in a step. Optional: `method`, how
    layers are dealt to stages; `tied`; `reduce_tied` false leaves out the sum of tied gradients.
    Gradients are those of the first step, messages those of the last.
    """
    method, tied = config.get("method", "uniform"), config.get("tied", False)
    model = pipeline_of(config["stages"], method, tied)
    names, pipelines = layer_names(untied_gpt()), ranks // config["stages"]
    losses, gradients, copies = [], {}, []
    with engine_for(model, deepspeed_config(**config["settings"])) as engine:
        micros, own = engine.gradient_accumulation_steps(), engine.grid.get_data_parallel_rank()
        log = Log(engine, names, config.get("reduce_tied", True))
        for step in range(config["steps"]):
            log.work = ""
            pieces = (
                batch_of(step, m * pipelines + own, micros * pipelines, config["batch"])
                for m in range(micros)
            )
            with messages() as seen:
                losses.append(engine.train_batch(pieces).item())
            gradients = gradients or log.gradients
            if tied and "embedding" in model.tied_modules:
                copies.append(model.tied_modules["embedding"].weight.detach().clone())
        weights = {n: p.detach().clone() for n, p in own_weights(model, names).items()}
        adam = getattr(engine.optimizer, "optimizer", engine.optimizer)
        moments = sum(s["exp_avg"].numel() for s in adam.state.values() if "exp_avg" in s)
        parts = list(model.parts)
    return {
        "losses": losses,
        "gradients": gradients,
        "weights": weights,
        "work": log.work,
        "sent": tally(seen),
        "parts": parts,
        "moments": moments,
        "copies": torch.stack(copies) if copies else None,
    }
