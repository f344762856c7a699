"""What a book holds: its chapters, the papers they are about, and what was recorded of them."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from descentlab import claims


@dataclass(frozen=True)
class Paper:
    """One of the ten papers; its name is that of its module, chapter and tests."""

    name: str
    title: str
    authors: str
    arxiv: str
    hook: str


PAPERS = (
    Paper(
        "per_sample_adam",
        "Implicit Bias of Per-sample Adam on Separable Data: Departure from the Full-batch Regime",
        "Baek, Song, Yun",
        "2510.26303",
        "Feed Adam one sample at a time and it finds another classifier than with the full batch.",
    ),
    Paper(
        "weak_to_strong",
        "From Linear to Nonlinear: Provable Weak-to-Strong Generalization through Feature Learning",
        "Oh, Song, Yun",
        "2510.24812",
        "A student taught by a weaker teacher overtakes it, and it is known when.",
    ),
    Paper(
        "robust_memorization",
        "The Cost of Robustness: Tighter Bounds on Parameter Complexity for Robust Memorization in ReLU Nets",
        "Kim, Moon, Yun",
        "2510.24643",
        "How many parameters it takes to fit points together with the balls around them.",
    ),
    Paper(
        "schedule_free",
        "Through the River: Understanding the Benefit of Schedule-Free Methods for Language Model Training",
        "Song, Baek, Ahn, Yun",
        "2507.09846",
        "Why Schedule-Free training follows the river at the bottom of the loss valley without any decay.",
    ),
    Paper(
        "progressive_sharpening",
        "Understanding Sharpness Dynamics in NN Training with a Minimalist Example: "
        "The Effects of Dataset Difficulty, Depth, Stochasticity, and More",
        "Yoo, Song, Yun",
        "2506.06940",
        "One neuron a layer is enough to see, and to predict, how sharp training becomes.",
    ),
    Paper(
        "incremental_gd",
        "Incremental Gradient Descent with Small Epoch Counts is Surprisingly Slow on Ill-Conditioned Problems",
        "Kim, Cha, Yun",
        "2506.04126",
        "Visiting the data in a fixed order can be exponentially worse than drawing it at random.",
    ),
    Paper(
        "coordinate_descent",
        "Provable Benefit of Random Permutations over Uniform Sampling in Stochastic Coordinate Descent",
        "Kim, Lee, Yun",
        "2505.23152",
        "Shuffling the coordinates beats drawing them, for every matrix of a whole class.",
    ),
    Paper(
        "continual_classification",
        "Convergence and Implicit Bias of Gradient Descent on Continual Linear Classification",
        "Jung, Cho, Yun",
        "2504.12712",
        "Tasks that come back again and again are learned as if they had all been there at once.",
    ),
    Paper(
        "sgmcmc",
        "Parameter Expanded Stochastic Gradient Markov Chain Monte Carlo",
        "Kim, Nam, Yun, Yang, Lee",
        "2503.00699",
        "Write each weight matrix as a product, and a sampler explores further at the same price.",
    ),
    Paper(
        "dataset_pruning",
        "Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction Uncertainty",
        "Cho, Shin, Kang, Yun",
        "2502.06905",
        "The first epochs already tell which samples training can do without.",
    ),
)


@dataclass(frozen=True)
class Chapter:
    """A chapter of the book.

    Attributes
    ----------
    source : Path
        The hand-written half, ``book/<name>.md``.
    processes : int
        How many processes the chapter itself starts, from ``descentlab: {processes: 2}`` in its front matter; one
        that starts several runs alone.
    claims : tuple of str
        Claim numbers that its cells are tagged with (``claim-C3``).
    """

    source: Path
    processes: int = 1
    claims: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def notebook(self) -> Path:
        """The stored half of the pair."""
        return self.source.with_suffix(".ipynb")

    @property
    def root(self) -> Path:
        """The folder that holds ``book`` and ``_build``."""
        return self.source.parent.parent

    @property
    def paper(self) -> Paper | None:
        """The paper that the chapter is about, if it is one of the ten."""
        return next((paper for paper in PAPERS if paper.name == self.name), None)


def find_book(start: Path | None = None) -> Path | None:
    """The folder ``book`` of the checkout around `start` (default: here), or of the one this package runs from."""
    start = Path.cwd() if start is None else start
    for root in (start, *start.parents, Path(__file__).resolve().parents[3]):
        if (root / "book").is_dir() and (root / "pkg" / "descentlab").is_dir():
            return root / "book"
    return None


def discover(book: str | Path) -> list[Chapter]:
    """The chapters in `book`, in the order of their papers; a page without a kernel is none.

    A damaged file is listed all the same: it fails when it is executed, and only then.
    """
    found = []
    for path in sorted(Path(book).resolve().glob("*.md")):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        front = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
        if front is None or "kernelspec:" not in front[1]:
            continue
        declared = re.search(r"^descentlab:\s*\{?\s*processes:\s*(\d+)", front[1], re.MULTILINE)
        tags = dict.fromkeys(re.findall(r"\bclaim-(\w[\w.]*)", text))
        found.append(Chapter(path, int(declared[1]) if declared else 1, tuple(sorted(tags, key=_natural))))
    order = {paper.name: i for i, paper in enumerate(PAPERS)}
    return sorted(found, key=lambda chapter: order.get(chapter.name, len(order)))


def claim_keys(chapter: Chapter) -> list[str]:
    """Checks of a chapter, known without running it: cells' tags, and the stored ledger or else the declarations."""
    try:
        declared = [row["check"] for row in stored_rows(chapter.notebook)]
    except ValueError:  # the next run mends a damaged notebook
        declared = []
    statements = getattr(experiments_of(chapter), "statements", None) if not declared else None
    return sorted({*chapter.claims, *declared, *(statements.checks if statements else ())}, key=_natural)


def experiments_of(chapter: Chapter) -> Any:
    """The module ``book/experiments/<name>.py`` of a chapter; None where there is none."""
    path = chapter.source.parent / "experiments" / f"{chapter.name}.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"experiments.{chapter.name}", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules.setdefault(module.__name__, module)  # dataclasses look their module up
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def stored_rows(notebook: Path) -> list[dict[str, Any]]:
    """The ledger rows in a notebook, none where it is not there.

    Raises
    ------
    ValueError
        If the notebook or a row of it is damaged; the message names the file.
    """
    if not notebook.exists():
        return []
    try:
        rows = claims.collect(notebook)
        for row in rows:
            claims.measured_text(row)
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise ValueError(damage(notebook, error)) from None
    return rows


def damage(path: Path, error: BaseException) -> str:
    """One line for a file that cannot be read: its name, and why."""
    name, text = f"{path.parent.name}/{path.name}", " ".join(str(error).split())[:200]
    return text if path.name in text else f"{name} is damaged ({type(error).__name__}: {text})"


def _natural(key: str) -> list[Any]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|\D+", key)]


def runtimes(book: Path) -> dict[str, Any]:
    """Recorded times, ``{name: {"seconds": …, "environment": …}}``; `ValueError` names a damaged file."""
    path = book / "runtimes.json"
    if not path.exists():
        return {}
    try:
        times = json.loads(path.read_text(encoding="utf-8"))
        for name, time in times.items():
            if not 0 <= float(time["seconds"]) < math.inf or not {"device", "date"} <= set(time["environment"]):
                raise ValueError(f"{name}: {time}")
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise ValueError(damage(path, error)) from None
    return times


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
