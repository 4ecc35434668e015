"""Files that are whole or not there: results that a later run, a chapter or a test will read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(
    path: Path,
    data: Any,
    digits: int | None = None,
    indent: int | None = None,
    sort_keys: bool = False,
) -> None:
    """Write `data` as JSON under another name, then rename it: a reader sees old or new, no half.

    `digits`: decimals that floats keep (None: all). Raises TypeError for what is no JSON data, and
    leaves the file as it was.
    """
    if digits is not None:
        data = json.loads(json.dumps(data), parse_float=lambda x: round(float(x), digits))
    text = json.dumps(data, indent=indent, sort_keys=sort_keys) + "\n"
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
