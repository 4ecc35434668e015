"""Write down what a block of code asks `torch.distributed` to send, and let the calls pass.

It sees calls made from Python, as DeepSpeed's are, point-to-point messages among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch.distributed as dist
from torch import Tensor

# name of the function: position of the tensor that a rank gives away
GIVEN = {
    "all_reduce": 0, "reduce": 0, "broadcast": 0, "all_gather": 1, "all_gather_into_tensor": 1,
    "reduce_scatter": 1, "reduce_scatter_tensor": 1, "all_to_all_single": 1, "send": 0, "isend": 0,
}  # fmt: skip


class Message(NamedTuple):
    """One call: the function's name, the shape of the tensor given, and its size in bytes."""

    what: str
    shape: tuple[int, ...]
    nbytes: int


@contextmanager
def messages() -> Iterator[list[Message]]:
    """The block's calls in order, backward passes included. Blocks must not be nested.

    Calls in a group of one rank send nothing and are left out.
    """
    seen: list[Message] = []
    known = {name: getattr(dist, name) for name in GIVEN}

    def recorded(name: str):
        def call(*args, **kwargs):
            values = [*args, *kwargs.values()]
            tensor = next(v for v in values[GIVEN[name] :] if isinstance(v, Tensor))
            group = next((v for v in values if isinstance(v, dist.ProcessGroup)), None)
            if dist.get_world_size(group) > 1:
                size = tensor.numel() * tensor.element_size()
                seen.append(Message(name, tuple(tensor.shape), size))
            return known[name](*args, **kwargs)

        return call

    try:
        for name in GIVEN:
            setattr(dist, name, recorded(name))
        yield seen
    finally:
        for name, function in known.items():
            setattr(dist, name, function)


def tally(seen: list[Message]) -> dict[str, int]:
    """How many calls there were of each name and shape: {"all_reduce 8x64x64": 32}."""
    return dict(Counter(f"{m.what} {'x'.join(map(str, m.shape))}" for m in seen))
