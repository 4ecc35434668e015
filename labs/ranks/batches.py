"""How many sequences one optimizer step sees, and what DeepSpeed makes of an incomplete batch.

train_batch_size = train_micro_batch_size_per_gpu · gradient_accumulation_steps · ranks, where the
ranks are the data-parallel ones. `resolve_batch` follows DeepSpeedConfig of deepspeed 0.19.6
(runtime/config.py, _set_batch_related_parameters and _batch_assertion); a test compares them.
"""

from __future__ import annotations

from typing import NamedTuple


class Batch(NamedTuple):
    """Sequences per optimizer step, per rank and micro-step, and micro-steps per optimizer step."""

    train: int
    micro: int
    accumulate: int


def resolve_batch(
    train: int | None, micro: int | None, accumulate: int | None, ranks: int
) -> Batch:
    """Fill in what is None, by whole division, and check the product.

    Raises ValueError when only `accumulate` or nothing is given, and when the product is not
    `train` or a factor is 0: DeepSpeed stops with an AssertionError there.
    """
    if train is None and micro is None:
        raise ValueError("train_batch_size or train_micro_batch_size_per_gpu is needed")
    if train is not None and micro is not None:
        accumulate = train // micro // ranks if accumulate is None else accumulate
    elif train is not None:
        accumulate = 1 if accumulate is None else accumulate
        micro = train // ranks // accumulate
    else:
        accumulate = 1 if accumulate is None else accumulate
        train = micro * accumulate * ranks
    product = micro * accumulate * ranks
    if train != product or product == 0:
        raise ValueError(f"{train} != {micro} * {accumulate} * {ranks}")
    return Batch(train, micro, accumulate)


def page_data() -> dict:
    """What `labs/book/js/batch_plan.js` starts with: the choices of each control."""
    sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048]
    return {
        "train": [None, *sizes],
        "micro": [None, *(size for size in sizes if size <= 64)],
        "accumulate": [None, *(size for size in sizes if size <= 128)],
        "ranks": [1, 2, 3, 4, 6, 8, 16, 24, 32, 64, 128, 256, 512, 1024],
        "tokens": [512, 1024, 2048, 4096, 8192, 32768],
        "start": {"train": 512, "micro": 4, "accumulate": None, "ranks": 8, "tokens": 4096},
    }
