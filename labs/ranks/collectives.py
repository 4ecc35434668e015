"""Ring collectives over point-to-point messages, with a counter of the bytes each rank sends.

A ring moves each of N equal chunks over N - 1 links, so a collective over n elements sends
(N - 1)/N · n elements per rank, and an all-reduce, which is a reduce-scatter and an all-gather,
twice that (Rajbhandari et al. 2020, section 7.1). Nothing here computes that formula: the counter
adds up the messages that were sent.

`Halving` moves the same bytes in fewer messages, `Star` sends everything through one rank.
"""

from collections import Counter
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Ring:
    """The ranks of one process group in a ring.

    `sent[what]` and `received[what]` count bytes of this rank, `messages[what]` what it sent.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group or dist.group.WORLD
        self.rank, self.size = dist.get_rank(self.group), dist.get_world_size(self.group)
        self.next = dist.get_global_rank(self.group, (self.rank + 1) % self.size)
        self.previous = dist.get_global_rank(self.group, (self.rank - 1) % self.size)
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()

    def _shift(self, outgoing: Tensor, incoming: Tensor, what: str) -> None:
        """Send one chunk to the next rank while receiving one from the previous rank."""
        self._transfer(what, [(outgoing, self.next)], [(incoming, self.previous)])

    def _transfer(
        self,
        what: str,
        outgoing: Sequence[tuple[Tensor, int]] = (),
        incoming: Sequence[tuple[Tensor, int]] = (),
    ) -> None:
        """Send and receive (tensor, global rank) all at once; count what this rank moved."""
        operations = [dist.P2POp(dist.isend, t, to, self.group) for t, to in outgoing]
        operations += [dist.P2POp(dist.irecv, t, origin, self.group) for t, origin in incoming]
        for request in dist.batch_isend_irecv(operations):
            request.wait()
        self.sent[what] += sum(t.nbytes for t, _ in outgoing)
        self.received[what] += sum(t.nbytes for t, _ in incoming)
        self.messages[what] += len(outgoing)

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


class Halving(Ring):
    """Recursive halving, then recursive doubling: the ring's bytes in log2(N) messages each way.

    For a number of ranks that is a power of two; raises ValueError otherwise (Thakur et al. 2005).
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(group)
        if self.size & (self.size - 1):
            raise ValueError(f"halving needs a power of two of ranks, not {self.size}")

    def _partner(self, distance: int) -> int:
        """The global rank of the rank whose number differs in one bit, the one of `distance`."""
        return dist.get_global_rank(self.group, self.rank ^ distance)

    def reduce_scatter(self, flat: Tensor, what: str) -> Tensor:
        """As `Ring.reduce_scatter`: exchange half of what is left with ever nearer partners."""
        part, distance = flat, self.size // 2
        while distance:
            low, high = part.chunk(2)
            keep, give = (high, low) if self.rank & distance else (low, high)
            incoming = torch.empty_like(keep)
            partner = self._partner(distance)
            self._transfer(what, [(give, partner)], [(incoming, partner)])
            part = keep.add_(incoming)
            distance //= 2
        return part.clone()

    def all_gather(self, shard: Tensor, flat: Tensor, what: str) -> None:
        """As `Ring.all_gather`: exchange all that is known with ever farther partners."""
        n, distance = len(shard), 1
        flat[self.rank * n : (self.rank + 1) * n].copy_(shard)
        while distance < self.size:
            own = self.rank // distance * distance
            other = own ^ distance
            mine, theirs = (flat[a * n : (a + distance) * n] for a in (own, other))
            partner = self._partner(distance)
            self._transfer(what, [(mine, partner)], [(theirs, partner)])
            distance *= 2


class Star(Ring):
    """Rank 0 as a server that collects all gradients and sends back their sum."""

    def all_reduce(self, flat: Tensor, what: str) -> Tensor:
        """Sum `flat` (n,) over the ranks in place, through rank 0."""
        others = [dist.get_global_rank(self.group, rank) for rank in range(1, self.size)]
        server = dist.get_global_rank(self.group, 0)
        if self.rank:
            self._transfer(what, outgoing=[(flat, server)])
            self._transfer(what, incoming=[(flat, server)])
            return flat
        received = [torch.empty_like(flat) for _ in others]
        self._transfer(what, incoming=list(zip(received, others, strict=True)))
        for gradient in received:
            flat.add_(gradient)
        self._transfer(what, outgoing=[(flat, rank) for rank in others])
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
