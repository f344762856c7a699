"""Files that are replaced in one step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def rank() -> int:
    """Number of this process among those that ``torchrun`` started; the first alone writes what is kept."""
    return int(os.environ.get("RANK", "0"))


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees either the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON data with `replace_text`, the same text for the same value."""
    replace_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
