"""What a training step puts on the network: every collective, whoever called it.

`Collectives` sees the calls of the `c10d` operators below Python: those of the C++ reducer of
DistributedDataParallel, of DeepSpeed, and of any other code, on gloo and on NCCL. A call is (name,
elements), where elements are those of the whole buffer: the input of a reduction, the output of a
gather. What the backend makes of a call is its own business: gloo carries out a reduce-scatter as
an all-reduce.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Call = tuple[str, int]

# c10d operator: (short name, which of its arguments holds the whole buffer)
OPERATORS = {
    "allreduce_": ("all_reduce", 0),
    "allreduce_coalesced_": ("all_reduce", 0),
    "reduce_": ("reduce", 0),
    "broadcast_": ("broadcast", 0),
    "reduce_scatter_": ("reduce_scatter", 1),
    "_reduce_scatter_base_": ("reduce_scatter", 1),
    "reduce_scatter_tensor_coalesced_": ("reduce_scatter", 1),
    "allgather_": ("all_gather", 0),
    "_allgather_base_": ("all_gather", 0),
    "allgather_coalesced_": ("all_gather", 0),
    "allgather_into_tensor_coalesced_": ("all_gather", 0),
    "alltoall_": ("all_to_all", 1),
    "alltoall_base_": ("all_to_all", 1),
}
# Passes of (N - 1)/N that a rank sends on a ring; where the root of reductions or broadcasts
# changes, the mean over the ranks.
RING_PASSES = {
    "all_reduce": 2,
    "reduce": 1,
    "broadcast": 1,
    "reduce_scatter": 1,
    "all_gather": 1,
    "all_to_all": 1,
}


class Collectives(TorchDispatchMode):
    """`with Collectives() as seen:` makes `seen.calls` the list of the block's calls, in order.

    The backward pass of the block is seen too, in whichever thread it runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operator; write it down when it is a collective."""
        if func.namespace == "c10d":
            operator = func.__name__.partition(".")[0]
            if operator in OPERATORS:
                name, position = OPERATORS[operator]
                self.calls.append((name, elements_of(args[position])))
        return func(*args, **(kwargs or {}))


def elements_of(value: Any) -> int:
    """Elements of a tensor, or of all tensors in a nest of lists."""
    if isinstance(value, Tensor):
        return value.numel()
    return sum(elements_of(item) for item in value)


def by_name(calls: Iterable[Call], least: int = 0) -> dict[str, int]:
    """Elements of each collective; calls of fewer than `least` elements are left out."""
    total: Counter[str] = Counter()
    for name, count in calls:
        if count >= least:
            total[name] += count
    return dict(total)


def ring_passes(calls: Iterable[Call], parameters: int, least: int = 0) -> float:
    """Passes over `parameters` elements that the calls cost on rings: an all-reduce is two.

    One pass sends (N - 1)/N · parameters elements from every rank. Entries that are no collective
    cost nothing.
    """
    total = sum(RING_PASSES.get(n, 0) * count for n, count in by_name(calls, least).items())
    return total / parameters
