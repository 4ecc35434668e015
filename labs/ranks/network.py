"""What a step of data parallelism costs on a network: the alpha-beta model.

A message of n bytes takes alpha + n / bandwidth seconds (Hockney's model, in the form of Thakur et
al. 2005, section 3). A *pass* is one reduce-scatter or one all-gather over all parameters; an
all-reduce is two. The volumes are those of Rajbhandari et al. 2020, section 7.

This is a model: one flat network, every rank with its own full-duplex port, no congestion, and
compute that hides communication perfectly where the schedule lets it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

ALGORITHMS = ("ring", "halving")
GB = 1e9


@dataclass(frozen=True)
class Network:
    """`alpha` seconds for each message, `bandwidth` bytes per second and direction of one rank."""

    alpha: float
    bandwidth: float

    def seconds(self, nbytes: float, messages: float = 1) -> float:
        """Time for `nbytes` in `messages` messages, one after another."""
        return messages * self.alpha + nbytes / self.bandwidth


def rounds(ranks: int, algorithm: str) -> float:
    """Messages that a rank sends, one after another, in one pass over one buffer."""
    return {"ring": ranks - 1, "halving": math.log2(ranks)}[algorithm]


def pass_seconds(
    nbytes: float, ranks: int, network: Network, algorithm: str = "ring", buffers: int = 1
) -> float:
    """One reduce-scatter or all-gather of `nbytes` in all, cut into `buffers` collectives."""
    sent = (ranks - 1) / ranks * nbytes
    return network.seconds(sent, buffers * rounds(ranks, algorithm))


def star_seconds(nbytes: float, ranks: int, network: Network) -> float:
    """An all-reduce through a server that is one of the ranks: N - 1 in, then N - 1 out."""
    return 2 * network.seconds((ranks - 1) * nbytes, ranks - 1)


def tree_seconds(nbytes: float, ranks: int, network: Network) -> float:
    """An all-reduce up and down a binomial tree, whole buffers at each of log2(N) levels."""
    levels = math.log2(ranks)
    return 2 * network.seconds(levels * nbytes, levels)


def passes(stage: int, accumulate: int = 1) -> dict[str, int]:
    """Passes over all parameters in one optimizer step of `accumulate` micro-steps, by place.

    "forward" and "backward" can hide behind that compute, "after" comes after the optimizer.
    """
    return {
        0: {"forward": 0, "backward": 2, "after": 0},
        1: {"forward": 0, "backward": 1, "after": 1},
        2: {"forward": 0, "backward": accumulate, "after": 1},
        3: {"forward": accumulate, "backward": 2 * accumulate, "after": 0},
    }[stage]


@dataclass(frozen=True)
class Setup:
    """One training step: model, machine and schedule. `flops` are achieved FLOP/s of one rank."""

    parameters: float
    ranks: int
    stage: int
    tokens: int  # per rank and micro-step
    accumulate: int = 1
    network: Network = Network(10e-6, 50 * GB)
    flops: float = 400e12
    algorithm: str = "ring"
    bucket: float = 500e6  # elements
    overlap: bool = True
    element: int = 2  # bytes


@dataclass(frozen=True)
class Step:
    """Seconds of one optimizer step, and the bytes that one rank sends in it."""

    compute: float
    communication: float
    latency: float  # the part of communication that is alpha
    exposed: float  # the part that compute does not hide
    sent: float

    @property
    def total(self) -> float:
        return self.compute + self.exposed

    @property
    def efficiency(self) -> float:
        """Share of the step in which the rank computes."""
        return self.compute / self.total


def step(setup: Setup) -> Step:
    """Cost of one optimizer step. Forward is a third of the 6·parameters·tokens FLOPs.

    Stages 0 and 1 reduce in the last micro-step's backward pass, stages 2 and 3 in every one.
    """
    s = setup
    nbytes = s.parameters * s.element
    buffers = max(1, math.ceil(s.parameters / s.bucket))
    one = pass_seconds(nbytes, s.ranks, s.network, s.algorithm, buffers)
    latency = buffers * rounds(s.ranks, s.algorithm) * s.network.alpha
    count = passes(s.stage, s.accumulate)
    micro = 6 * s.parameters * s.tokens / s.flops
    places = s.accumulate if s.stage >= 2 else 1  # backward passes that communicate
    forward = max(0.0, count["forward"] / s.accumulate * one - micro / 3) * s.accumulate
    backward = max(0.0, count["backward"] / places * one - 2 * micro / 3) * places
    after = count["after"] * one
    number = sum(count.values())
    return Step(
        compute=s.accumulate * micro,
        communication=number * one,
        latency=number * latency,
        exposed=forward + backward + after if s.overlap else number * one,
        sent=number * (s.ranks - 1) / s.ranks * nbytes,
    )


def queue(ready: Sequence[float], seconds: Sequence[float]) -> list[tuple[float, float]]:
    """(start, end) of transfers on one link: each waits for its data and for its predecessor."""
    intervals, free = [], 0.0
    for earliest, duration in zip(ready, seconds, strict=True):
        start = max(earliest, free)
        free = start + duration
        intervals.append((start, free))
    return intervals


def zeropp_passes() -> dict[str, dict[str, float]]:
    """Cross-node passes of stage 3 in 16 bits, plain and with ZeRO++ (Wang et al. 2024).

    qwZ sends weights in 8 bits, hpZ keeps a second copy inside each node for the backward pass, qgZ
    sends gradients in 4 bits.
    """
    return {
        "ZeRO-3": {"forward gather": 1.0, "backward gather": 1.0, "gradients": 1.0},
        "ZeRO++": {"forward gather": 8 / 16, "backward gather": 0.0, "gradients": 4 / 16},
    }


def page_data() -> dict:
    """What `labs/book/js/zero_communication.js` computes with, and where it starts."""
    start = asdict(Setup(7e9, 64, 1, 4096, bucket=50e6))
    start.update(start.pop("network"))
    return {
        "parameters": [0.35e9, 1.5e9, 7e9, 13e9, 30e9, 70e9, 175e9, 405e9],
        "ranks": [2**i for i in range(3, 11)],
        "tokens": [2**i for i in range(9, 18)],
        "accumulate": [1, 2, 4, 8, 16, 32],
        "alpha": [1e-6, 3e-6, 10e-6, 30e-6, 100e-6],
        "bandwidth": [x * GB for x in (1.25, 3.125, 12.5, 25, 50, 100, 450)],
        "flops": [x * 1e12 for x in (50, 150, 400, 800)],
        "bucket": [x * 1e6 for x in (5, 50, 500)],
        "algorithm": list(ALGORITHMS),
        "start": {k: v for k, v in start.items() if k != "element"},
        "element": 2,
    }
