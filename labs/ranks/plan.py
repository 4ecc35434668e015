"""Which ZeRO stage, how much tensor parallelism: what fits, and what each choice costs.

A strategy is a ZeRO stage, a tensor-parallel size and what is kept of the activations. `estimate`
puts together what other modules compute: model states and activations (`memory`), the alpha-beta
model of data parallelism (`network`), and four all-reduces per layer for tensor parallelism
(Shoeybi et al. 2019, section 3). All strategies are compared at one global batch.

It is a model. It leaves out pipelines, stragglers, data loading and the optimizer's own time; it
takes a Transformer of GPT-3's proportions, the paper's traffic for each stage, and overlap that is
perfect where the schedule lets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from labs.ranks.memory import gpt_shape, state_bytes
from labs.ranks.network import GB, Network, Setup, pass_seconds, step

KEEP = ("selective recomputation", "full recomputation")
TENSOR = (1, 2, 4, 8)
STAGES = range(4)


INFINIBAND = Network(10e-6, 50 * GB)  # 400 Gb/s
NVLINK = Network(3e-6, 450 * GB)  # 900 GB/s both ways


@dataclass(frozen=True)
class Cluster:
    """`gpus` GPUs in nodes of `node`. `flops` are achieved FLOP/s, networks are of one GPU."""

    gpus: int
    memory: float = 80 * GB
    flops: float = 400e12
    between: Network = INFINIBAND
    inside: Network = NVLINK
    node: int = 8
    usable: float = 0.9  # share of the memory; the rest is for buffers and fragments


@dataclass(frozen=True)
class Work:
    """One optimizer step: `tokens` in a replica's micro-step, `accumulate` of them per GPU."""

    parameters: float
    tokens: int = 4096
    accumulate: int = 8


@dataclass(frozen=True, order=True)
class Strategy:
    """A ZeRO stage on replicas that are cut over `tensor` GPUs each."""

    stage: int
    tensor: int = 1
    keep: str = KEEP[0]

    def __str__(self) -> str:
        cut = f", TP {self.tensor}" if self.tensor > 1 else ""
        return f"stage {self.stage}{cut}{', recompute' if self.keep == KEEP[1] else ''}"


@dataclass(frozen=True)
class Estimate:
    """Bytes on one GPU by kind, seconds of one step by cause, and what follows."""

    states: float
    activations: float
    gathered: float
    useful: float  # seconds of compute that any strategy must do
    again: float  # seconds of compute done a second time
    data_parallel: float  # seconds of its traffic that nothing hides
    tensor_parallel: float
    batch: float  # tokens in one step, all GPUs
    limit: float

    @property
    def memory(self) -> float:
        return self.states + self.activations + self.gathered

    @property
    def fits(self) -> bool:
        return self.memory <= self.limit

    @property
    def seconds(self) -> float:
        return self.useful + self.again + self.data_parallel + self.tensor_parallel

    @property
    def efficiency(self) -> float:
        """Share of a step that is useful compute."""
        return self.useful / self.seconds

    @property
    def throughput(self) -> float:
        """Tokens per second, all GPUs."""
        return self.batch / self.seconds


def activations(parameters: float, tokens: int, tensor: int, keep: str) -> float:
    """Bytes of activations on one GPU for a micro-step, and one layer's worth to compute again.

    Per layer and token of width h: h(10 + 24/t) with the attention matrices recomputed, as
    FlashAttention does (Korthikanti et al. 2022, equation 2 without its last term); 2h when only
    the layer's input is kept.
    """
    layers, hidden, _ = gpt_shape(parameters)
    whole = tokens * hidden * (10 + 24 / tensor)
    return layers * whole if keep == KEEP[0] else layers * 2 * tokens * hidden + whole


def estimate(work: Work, cluster: Cluster, strategy: Strategy) -> Estimate:
    """Memory and time of one optimizer step.

    The global batch is gpus · tokens · accumulate for every strategy: where `tensor` GPUs share a
    replica, it does `tensor` times the micro-steps. Raises ValueError when `tensor` does not divide
    the GPUs, or is more than a node.
    """
    size, tensor, again = cluster.gpus, strategy.tensor, strategy.keep == KEEP[1]
    if size % tensor or tensor > cluster.node:
        raise ValueError(f"{size} GPUs in nodes of {cluster.node} cannot be cut by {tensor}")
    replicas, micro_steps = size // tensor, work.accumulate * tensor
    layers, hidden, _ = gpt_shape(work.parameters)
    own = work.parameters / tensor
    cost = step(
        Setup(
            parameters=own,
            ranks=replicas,
            stage=strategy.stage,
            tokens=work.tokens,
            accumulate=micro_steps,
            network=cluster.inside if size <= cluster.node else cluster.between,
            flops=cluster.flops * (3 / 4 if again else 1),  # the forward pass runs twice
            algorithm="halving",
            bucket=50e6,
        )
    )
    useful = cost.compute * (3 / 4 if again else 1)
    sums = 6 if again else 4  # all-reduces per layer
    one_sum = 2 * pass_seconds(2 * work.tokens * hidden, tensor, cluster.inside)
    return Estimate(
        states=own * state_bytes(strategy.stage, replicas).total,
        activations=activations(work.parameters, work.tokens, tensor, strategy.keep),
        gathered=2 * 2 * 12 * hidden**2 / tensor if strategy.stage == 3 else 0.0,  # two blocks
        useful=useful,
        again=cost.compute - useful,
        data_parallel=cost.exposed,
        tensor_parallel=micro_steps * layers * sums * one_sum,
        batch=float(size * work.tokens * work.accumulate),
        limit=cluster.usable * cluster.memory,
    )


def strategies(cluster: Cluster) -> list[Strategy]:
    """All that make sense: no ZeRO where there is one replica, no cut across nodes."""
    cuts = [t for t in TENSOR if t <= min(cluster.node, cluster.gpus) and cluster.gpus % t == 0]
    return [
        Strategy(stage, tensor, keep)
        for keep, tensor, stage in product(KEEP, cuts, STAGES)
        if stage == 0 or cluster.gpus > tensor
    ]


def fastest(work: Work, cluster: Cluster) -> tuple[Strategy, Estimate] | None:
    """The strategy with the shortest step among all that fit; None when none does."""
    found = [(s, estimate(work, cluster, s)) for s in strategies(cluster)]
    fitting = [(e.seconds, s.tensor, s.stage, i) for i, (s, e) in enumerate(found) if e.fits]
    return found[min(fitting)[3]] if fitting else None


def by_rule(work: Work, cluster: Cluster) -> tuple[Strategy, Estimate] | None:
    """The first strategy that fits, in the order of a rule of thumb; `fastest` tells its price.

    Whole replicas at stage 0, 1, 2. Stage 3 next where a micro-step has tokens enough to hide its
    gathers (achieved FLOP/s over bandwidth), else later. Replicas cut over 2, 4, 8 GPUs at stage 0,
    1, 2. Both at once. Then all of it again with full recomputation.
    """
    network = cluster.inside if cluster.gpus <= cluster.node else cluster.between
    hidden = work.tokens >= cluster.flops / network.bandwidth
    order = [(stage, tensor) for tensor in TENSOR for stage in (0, 1, 2)]
    order.insert(3 if hidden else len(order), (3, 1))
    order += [(3, tensor) for tensor in TENSOR[1:]]
    possible = set(strategies(cluster))
    for keep, (stage, tensor) in product(KEEP, order):
        strategy = Strategy(stage, tensor, keep)
        if strategy in possible and (found := estimate(work, cluster, strategy)).fits:
            return strategy, found
    return None


def page_data() -> dict:
    """What `labs/book/js/training_plan.js` computes with, and where it starts."""
    cluster = Cluster(64)
    return {
        "parameters": [x * 1e9 for x in (0.35, 1.3, 3, 7, 13, 30, 70, 175, 405)],
        "gpus": [2**i for i in range(11)],
        "memory": [x * GB for x in (24, 40, 80, 141, 192)],
        "bandwidth": [x * GB for x in (1.25, 3.125, 12.5, 25, 50, 100)],
        "tokens": [2**i for i in range(9, 18)],
        "accumulate": [2**i for i in range(7)],
        "tensor": list(TENSOR),
        "keep": list(KEEP),
        "constants": {
            "flops": cluster.flops,
            "alpha": cluster.between.alpha,
            "inside_alpha": cluster.inside.alpha,
            "inside_bandwidth": cluster.inside.bandwidth,
            "node": cluster.node,
            "usable": cluster.usable,
            "bucket": 50e6,
        },
        "start": {
            "parameters": 7e9,
            "gpus": 64,
            "memory": cluster.memory,
            "bandwidth": cluster.between.bandwidth,
            "tokens": 4096,
            "accumulate": 8,
            "tensor": 1,
            "keep": KEEP[0],
        },
    }
