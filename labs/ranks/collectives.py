"""Ring collectives over point-to-point messages, with a counter of the bytes each rank sends.

A ring moves each of N equal chunks over N - 1 links, so a collective over n elements sends
(N - 1)/N · n elements per rank, and an all-reduce, which is a reduce-scatter and an all-gather,
twice that (Rajbhandari et al. 2020, section 7.1). Nothing here computes that formula: the counter
adds up the messages that were sent.
"""

from collections import Counter

import torch
import torch.distributed as dist
from torch import Tensor


class Ring:
    """The ranks of one process group in a ring; `sent[what]` counts bytes sent by this rank."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group or dist.group.WORLD
        self.rank, self.size = dist.get_rank(self.group), dist.get_world_size(self.group)
        self.next = dist.get_global_rank(self.group, (self.rank + 1) % self.size)
        self.previous = dist.get_global_rank(self.group, (self.rank - 1) % self.size)
        self.sent: Counter[str] = Counter()

    def _shift(self, outgoing: Tensor, incoming: Tensor, what: str) -> None:
        """Send one chunk to the next rank while receiving one from the previous rank."""
        send = dist.P2POp(dist.isend, outgoing, self.next, self.group)
        receive = dist.P2POp(dist.irecv, incoming, self.previous, self.group)
        for request in dist.batch_isend_irecv([send, receive]):
            request.wait()
        self.sent[what] += outgoing.numel() * outgoing.element_size()

    def reduce_scatter(self, flat: Tensor, what: str) -> Tensor:
        """Sum `flat` (N·n,) over the ranks; return this rank's chunk (n,). Overwrites `flat`."""
        chunks = flat.chunk(self.size)
        incoming = torch.empty_like(chunks[0])
        for step in range(self.size - 1):
            self._shift(chunks[(self.rank - step - 1) % self.size], incoming, what)
            chunks[(self.rank - step - 2) % self.size].add_(incoming)
        return chunks[self.rank].clone()

    def all_gather(self, shard: Tensor, flat: Tensor, what: str) -> None:
        """Fill `flat` (N·n,) on every rank with the shards (n,) of all ranks, in rank order."""
        chunks = flat.chunk(self.size)
        chunks[self.rank].copy_(shard)
        for step in range(self.size - 1):
            outgoing = chunks[(self.rank - step) % self.size]
            self._shift(outgoing, chunks[(self.rank - step - 1) % self.size], what)

    def all_reduce(self, flat: Tensor, what: str) -> Tensor:
        """Sum `flat` (N·n,) over the ranks in place, on every rank."""
        self.all_gather(self.reduce_scatter(flat, what), flat, what)
        return flat


class LocalOnly(Ring):
    """A ring that forgets to reduce: each rank keeps its own gradient of its shard (a control)."""

    def reduce_scatter(self, flat: Tensor, what: str) -> Tensor:
        """This rank's chunk of its own `flat`, times N so that the later mean leaves it alone."""
        return flat.chunk(self.size)[self.rank] * self.size


class TopK(Ring):
    """A ring that sends sparse gradients: the largest tenth of each rank's elements (a control)."""

    def reduce_scatter(self, flat: Tensor, what: str) -> Tensor:
        """Sum over the ranks of `flat` with its smaller nine tenths set to zero."""
        largest_dropped = flat.abs().kthvalue(int(0.9 * flat.numel())).values
        return super().reduce_scatter(flat * (flat.abs() > largest_dropped), what)
