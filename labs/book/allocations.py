"""The largest sum of bytes that tensors hold at one moment of a computation, counted exactly."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Tally(TorchDispatchMode):
    """Follows every storage that an operation creates, from its birth to its release."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self.known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            self._meet(tensor, is_new=False)
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            self._meet(tensor, is_new=True)
        return out

    def _meet(self, tensor: Any, is_new: bool) -> None:
        if not isinstance(tensor, torch.Tensor):
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:
            return
        size = storage.nbytes() if is_new else 0

        def released(_: weakref.ref) -> None:
            del self.known[key]
            self.live -= size

        self.known[key] = weakref.ref(storage, released)
        self.live += size
        self.peak = max(self.peak, self.live)


def peak_tensor_bytes(run: Callable[[], Any]) -> int:
    """Most bytes that tensors made inside `run()` hold at one moment, gradients included.

    Tensors that exist before are not counted, nor is scratch memory inside one operation. The
    number is the same on every machine, so a page may print it; `meter` measures a process.
    """
    with _Tally() as tally:
        run()
    return tally.peak
