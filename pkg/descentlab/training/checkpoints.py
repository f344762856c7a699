"""Checkpoints that a crash cannot damage: written beside the old one, then put in its place in one step."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write `state` so that at any moment, a power cut included, `path` holds the old content or the new one.

    Parameters
    ----------
    path : path
        Its folder is made if need be.
    state : mapping
        Tensors, numbers, strings, and lists, tuples and dicts of such: what ``weights_only`` loading admits.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, on the CPU; nothing in the file is executed.

    Raises
    ------
    ValueError
        The file is not a checkpoint, or damaged; the message names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that it wrote
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a checkpoint that can be read ({first}); remove it to start anew") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: expected a checkpoint, found {type(state).__name__}; remove it to start anew")
    return state
