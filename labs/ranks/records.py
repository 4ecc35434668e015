"""What ranks write and their launcher reads: one directory, small files, no pickle.

=====================  ==========================================================
``configs.json``       the configurations, a list of JSON objects
``rank-K.pid``         the process of rank K, written before anything is imported
``rank-K.log``         what rank K printed
``rank-K.stacks``      where rank K stood when it was asked to stop (SIGTERM)
``rank-K.end``         how rank K ended: an error with its traceback, or none
``config-I-rank-K``    what rank K returned for configuration I (npz)
=====================  ==========================================================

Every record is written under another name and renamed: a reader sees a whole file or none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_ARRAY = "__array__"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file that takes the name ``path`` only when it is complete."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            write(file)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON; raises TypeError when it is none."""
    text = json.dumps(data, default=_plain)
    write_atomically(path, lambda file: file.write(text.encode()))


def _plain(value: Any) -> Any:
    """Make JSON of what is nearly JSON: a numpy number, a mapping, a path."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a configuration holds JSON data, not {type(value).__name__}: {value!r:.80}")


def read_json(path: Path) -> Any:
    """Return the data of a JSON record, or None while it does not exist."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def result_path(directory: Path, config: int, rank: int) -> Path:
    """Where ``rank`` leaves its result for configuration number ``config``."""
    return directory / f"config-{config}-rank-{rank}"


def save_result(path: Path, data: Any) -> None:
    """Write JSON-like ``data`` with arrays or tensors at any depth as one npz file.

    Tuples become lists. Raises TypeError for anything else: an object that needs pickle
    could run code when it is read.
    """
    arrays: dict[str, np.ndarray] = {}

    def encode(value: Any) -> Any:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray) and value.dtype.hasobject is False:
            arrays[f"array{len(arrays)}"] = value
            return {_ARRAY: f"array{len(arrays) - 1}"}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: encode(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [encode(item) for item in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(
            "a rank can return numbers, strings, None, arrays, tensors, and lists or "
            f"dictionaries (with string keys) of them, not {type(value).__name__}: {value!r:.80}"
        )

    tree = np.array(json.dumps(encode(data)))
    write_atomically(path, lambda file: np.savez(file, tree=tree, **arrays))


def load_result(path: Path) -> Any:
    """Read what :func:`save_result` wrote; tensors come back as numpy arrays."""
    with np.load(path, allow_pickle=False) as file:

        def decode(value: dict[str, Any]) -> Any:
            return file[value[_ARRAY]] if value.keys() == {_ARRAY} else value

        return json.loads(file["tree"].item(), object_hook=decode)


def read_results(directory: str | Path) -> list[list[Any]]:
    """Return ``results[config][rank]`` from the files in ``directory``.

    For runs started from the command line; :func:`labs.ranks.launch.launch` reads its own.
    """
    found: dict[int, dict[int, Any]] = {}
    for path in Path(directory).iterdir():
        if match := re.fullmatch(r"config-(\d+)-rank-(\d+)", path.name):
            found.setdefault(int(match[1]), {})[int(match[2])] = load_result(path)
    return [[found[config][rank] for rank in sorted(found[config])] for config in sorted(found)]
