"""What runs leave for the book: measurements of long runs, and run times."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from descentlab import claims
from descentlab.chapters.discovery import in_module, runtimes
from descentlab.chapters.execution import Run
from descentlab.chapters.files import write_json


def record_full(result: Run, *, seed: int, device: str) -> Path:
    """Commit to ``book/cpu/<name>.json`` or ``book/gpu/`` what a run at full scale measured; returns the path."""
    where = machine(device)
    seeds = getattr(in_module(result.chapter.name, "FULL", None), "seeds", seed)  # those of the module's experiment
    environment = {**where, "seconds": round(result.seconds, 1), "seeds": seeds}
    path = result.chapter.source.parent / ("gpu" if where["cuda"] else "cpu") / f"{result.chapter.name}.json"
    claims.write_recorded(path, result.rows, environment)
    return path


def record_times(results: Iterable[Run]) -> None:
    """Write how long chapters took to ``book/runtimes.json``, beside what is there for others."""
    for result in results:
        path = result.chapter.source.parent / "runtimes.json"
        entry = {"seconds": round(result.seconds, 1), "environment": machine("cpu")}
        times = runtimes(path.parent) | {result.chapter.name: entry}
        write_json(path, times)


def machine(device: str = "cpu") -> dict[str, Any]:
    """What numbers depend on: date, device, versions, commit."""
    name, cuda = platform.processor() or platform.machine(), False
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (model := re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)):
        name = model[1]
    if device != "cpu":
        import torch

        if cuda := torch.cuda.is_available():
            name = torch.cuda.get_device_name()
    return {
        "date": date.today().isoformat(),
        "device": name,
        "cuda": cuda,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "torch": _version("torch"),
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
