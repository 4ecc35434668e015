"""ZeRO stages 0 to 3 by hand, on flat vectors and a ring (Rajbhandari et al. 2020, section 5).

The model is cut into units: each Transformer block, and one root unit for the rest. A unit's
parameters are views into one flat vector, padded to N equal shards; rank r owns shard r.

stage  a rank keeps                            before the step            after the step
0      everything                              all-reduce gradients       -
1      its shard of the optimizer states       reduce-scatter gradients   all-gather parameters
2      and of the gradients                    the same, during backward  all-gather parameters
3      and of the parameters                   the same, and parameters are gathered for a unit's
                                               forward, freed, gathered for its backward, freed
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from labs.ranks.collectives import Ring


def nbytes(tensors: Iterable[Tensor | None]) -> int:
    """Bytes of the distinct storages behind `tensors`; a shared storage counts once."""
    storages = [t.untyped_storage() for t in tensors if t is not None and t.dim()]
    return sum({s.data_ptr(): s.nbytes() for s in storages if s.nbytes()}.values())


class Unit:
    """Parameters that are gathered, reduced and updated together."""

    def __init__(self, name: str, params: list[nn.Parameter], ring: Ring, stage: int) -> None:
        self.name, self.params, self.ring, self.stage = name, params, ring, stage
        numel = sum(p.numel() for p in params)
        self.shard_size = -(-numel // ring.size)
        self.full = params[0].new_zeros(self.shard_size * ring.size).detach()
        views = self.full[:numel].split([p.numel() for p in params])
        for p, view in zip(params, views, strict=True):
            view.copy_(p.detach().flatten())
            p.data = view.view(p.shape)
        own = self.full[ring.rank * self.shard_size :][: self.shard_size]
        self.shard = {0: self.full, 3: own.clone()}.get(stage, own)
        self.master = self.shard.float()  # the shard itself when it is fp32 already
        self.grad: Tensor | None = None  # reduced gradient of the shard

    def gather(self) -> None:
        """Stage 3: allocate the full vector and fill it from all ranks' shards."""
        self.full.untyped_storage().resize_(self.full.numel() * self.full.element_size())
        self.ring.all_gather(self.shard, self.full, "parameters")

    def free(self) -> None:
        """Stage 3: give back the memory of the full vector; its views stay valid names."""
        self.full.untyped_storage().resize_(0)

    def reduce(self) -> None:
        """Sum this unit's gradients over the ranks, keep the owned part, drop the rest."""
        flat = torch.cat([p.grad.flatten() for p in self.params])
        flat = nn.functional.pad(flat, (0, len(self.full) - len(flat)))
        for p in self.params:
            p.grad = None
        collective = self.ring.all_reduce if self.stage == 0 else self.ring.reduce_scatter
        reduced = collective(flat, "gradients").div_(self.ring.size)
        self.grad = reduced if self.grad is None else self.grad.add_(reduced)

    def update(self) -> None:
        """After the optimizer moved the master shard: round it into the parameters, share them."""
        if self.shard is not self.master:
            self.shard.copy_(self.master)
        if self.stage in (1, 2):
            self.ring.all_gather(self.shard, self.full, "parameters")
        self.grad = self.master.grad = None


class Zero:
    """Data-parallel training of `model` at one ZeRO stage.

    `blocks` are the modules gathered one at a time in stage 3. `make_optimizer` gets the list of
    fp32 shards this rank owns. `events` records (what, unit, state bytes) for every change.
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: Iterable[nn.Module],
        ring: Ring,
        stage: int,
        make_optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    ) -> None:
        self.model, self.stage, self.events = model, stage, []
        blocks = list(blocks)
        inside = {id(p) for block in blocks for p in block.parameters()}
        rest = [p for p in model.parameters() if id(p) not in inside]
        self.root = Unit("root", rest, ring, stage)
        self.units = [
            Unit(f"block {i}", list(block.parameters()), ring, stage)
            for i, block in enumerate(blocks)
        ]
        if stage == 3:
            for unit, block in zip(self.units, blocks, strict=True):
                self._gather_around(unit, block)
            model.register_forward_pre_hook(lambda *_: self._do("gather", self.root))
            model.register_forward_hook(lambda *_: self._do("free", self.root))
        self.units.insert(0, self.root)
        if stage >= 2:
            for unit in self.units:
                self._reduce_when_ready(unit)
        if stage == 3:
            for unit in self.units:
                unit.free()
        self.optimizer = make_optimizer([unit.master for unit in self.units])

    def _do(self, what: str, unit: Unit) -> None:
        getattr(unit, what)()
        self.events.append((what, unit.name, self.state_bytes()))

    def _gather_around(self, unit: Unit, block: nn.Module) -> None:
        """Stage 3: parameters exist only while their block runs, forward and backward."""
        block.register_forward_pre_hook(lambda *_: self._do("gather", unit))
        block.register_forward_hook(lambda *_: self._do("free", unit))
        block.register_full_backward_pre_hook(lambda *_: self._do("gather", unit))

    def _reduce_when_ready(self, unit: Unit) -> None:
        """Stages 2 and 3: reduce a unit as soon as the last of its gradients exists."""

        def on_gradient(_: Tensor) -> None:
            if all(p.grad is not None for p in unit.params):
                self.events.append(("gradient", unit.name, self.state_bytes()))
                self._do("reduce", unit)
                if self.stage == 3:
                    self._do("free", unit)

        for p in unit.params:
            p.register_post_accumulate_grad_hook(on_gradient)

    def backward(self, loss: Tensor) -> None:
        """Gradients of `loss`, reduced on the way in stages 2 and 3."""
        if self.stage == 3:
            self._do("gather", self.root)
        loss.backward()

    def step(self) -> None:
        """Reduce what is not reduced yet, update the owned shards, share the new parameters."""
        if self.stage < 2:
            for unit in self.units:
                unit.reduce()
        for unit in self.units:
            unit.master.grad = unit.grad.float()
        self.optimizer.step()
        for unit in self.units:
            unit.update()

    def state_bytes(self) -> dict[str, int]:
        """Bytes this rank holds now, by kind, counted on the live tensors."""
        params = [t for u in self.units for t in (u.full, u.shard)]
        grads = [t for u in self.units for t in (u.grad, *(p.grad for p in u.params))]
        masters = [u.master for u in self.units]
        moments = [t for state in self.optimizer.state.values() for t in state.values()]
        held = nbytes(params)
        return {
            "params": held,
            "grads": nbytes(grads),
            "master": nbytes([*params, *masters]) - held,
            "moments": nbytes(moments),
        }


def adam(lr: float) -> Callable[[list[Tensor]], torch.optim.Optimizer]:
    """A maker of Adam optimizers over fp32 shards, for `Zero`."""
    return partial(torch.optim.Adam, lr=lr)
