"""Where data are looked for, and where they live then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def own_folders(root: Path | None) -> list[Path]:
    """The user's own folders: the argument, then the environment variable."""
    named = os.environ.get("DESCENTLAB_DATA")
    return [*([root] if root is not None else []), *([Path(named).expanduser()] if named else [])]


def cache_folder() -> Path:
    """Where downloads are kept unless there is a folder of the user's."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "descentlab"


def download_folder(root: Path | None) -> Path:
    """Where a download goes."""
    return [*own_folders(root), cache_folder()][0]


def choose_device(device: str | torch.device) -> torch.device:
    """The device that a name means; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        The name is unknown, or this machine has no such device.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is unknown; valid are 'auto', 'cpu', 'cuda', 'cuda:1', 'mps'") from error
    absent = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if absent.get(chosen.type, False):
        raise ValueError(f"device={str(device)!r}: this machine or this build of torch has none; use 'auto' or 'cpu'")
    return chosen
