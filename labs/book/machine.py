"""What this machine is, how large an experiment may be on it, and what a run cost.

One object, `scale()`, decides every size in the book: a chapter writes
`scale().pick(cpu=20_000, gpu=2_000_000)` and never asks for the hardware itself.
"""

from __future__ import annotations

import os
import platform
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
from tqdm import tqdm

T = TypeVar("T")
SCALES = ("cpu", "gpu")


@dataclass(frozen=True)
class Scale:
    """How large the experiments are: `cpu` (minutes on 2 cores) or `gpu` (minutes on one GPU)."""

    name: str

    def pick(self, *, cpu: T, gpu: T) -> T:
        """The size that belongs to this scale."""
        return gpu if self.name == "gpu" else cpu


def scale() -> Scale:
    """The scale of this process: `gpu` where CUDA works; the variable BOOK_SCALE overrides it.

    Raises ValueError when BOOK_SCALE is neither `cpu` nor `gpu`.
    """
    name = os.environ.get("BOOK_SCALE") or ("gpu" if torch.cuda.is_available() else "cpu")
    if name not in SCALES:
        raise ValueError(f"BOOK_SCALE is {name!r}; set it to 'cpu' or 'gpu', or leave it unset.")
    return Scale(name)


def device() -> torch.device:
    """The device that the experiments run on. A `cpu` scale stays on the CPU."""
    return torch.device("cuda" if scale().name == "gpu" and torch.cuda.is_available() else "cpu")


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (CPU and every GPU)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def set_threads(n: int | None = None) -> int:
    """Let torch use `n` threads (default: the cores this process may run on); return the number."""
    n = n or len(psutil.Process().cpu_affinity())
    torch.set_num_threads(n)
    return n


@contextmanager
def bit_exact(threads: int = 1) -> Iterator[None]:
    """Inside, equal computations give equal bits on this machine.

    The number of threads fixes the order of sums on a CPU, deterministic
    algorithms do on a GPU. There an operation that has none raises
    RuntimeError (float `cumsum` is one). Seeds are the caller's business.
    (PyTorch documentation, Reproducibility.)
    """
    known = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    tuning = torch.backends.cudnn.benchmark
    set_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        set_threads(known)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.backends.cudnn.benchmark = tuning


@dataclass
class Cost:
    """What a metered block cost: wall-clock seconds and the peak of extra memory, in bytes."""

    seconds: float = 0.0
    peak_bytes: int = 0
    _samples: list[int] = field(default_factory=list, repr=False)


@contextmanager
def meter(interval: float = 0.005) -> Iterator[Cost]:
    """Measure the time and the extra memory of a block.

    On a GPU the peak is the allocator's own (exact). On a CPU it is the rise of the resident
    set, sampled every `interval` seconds: a lower bound, and never compared between machines.
    """
    cost, done, process = Cost(), threading.Event(), psutil.Process()
    on_gpu = device().type == "cuda"
    base = torch.cuda.memory_allocated() if on_gpu else process.memory_info().rss

    def sample() -> None:
        while not done.wait(interval):
            cost._samples.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample, daemon=True)
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        sampler.start()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        if on_gpu:
            torch.cuda.synchronize()
        cost.seconds = time.perf_counter() - start
        done.set()
        if on_gpu:
            peak = torch.cuda.max_memory_allocated()
        else:
            sampler.join()
            peak = max([*cost._samples, process.memory_info().rss])
        cost.peak_bytes = max(0, peak - base)


def quiet() -> bool:
    """True while outputs are stored or compared (BOOK_QUIET=1): then nothing may flicker."""
    return os.environ.get("BOOK_QUIET") == "1"


def progress(iterable: Iterable[T] | None = None, **options: Any) -> tqdm:
    """A tqdm progress bar that leaves no trace, and is silent while outputs are stored."""
    return tqdm(iterable, disable=quiet(), leave=False, **options)


def hardware() -> str:
    """The device in words, for a caption: `CPU, 2 threads` or the GPU's name."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> str:
    """One line that says what produced an output: Python, the libraries, the device."""
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "deepspeed"))
    return f"Python {platform.python_version()}, {libraries}; {hardware()}"
