"""Execute the chapters of the book; the engine of the command line.

A chapter is a pair in one folder: ``book/<name>.md``, written by hand, and ``book/<name>.ipynb``, the same cells with
the outputs of the last run. Papermill executes the first into the second, two chapters at a time, each in a process
of its own. Pages without code, such as the ledger, are written by the build from what the chapters stored.

A stored notebook is replaced in one step, and only by a run in which every cell succeeded. Everything else is
written under ``_build``:

=====================  =================================================================
``book/``              the default run (scale ``book``, seed 0, any device, all claims)
``_build/check/``      scale ``smoke``
``_build/full/``       scale ``full``; what it measured goes to ``book/cpu`` or ``book/gpu``
``_build/run/``        another seed, a chosen device, a few claims only
``_build/fallback/``   the default run where a data set is missing; the site then shows this copy
``_build/failed/``     the partial notebook of a chapter that failed
=====================  =================================================================

Papermill and torch are imported where they are used, so that reading the list of chapters is instant.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from descentlab import claims, data

SCALES = ("smoke", "book", "full")
DEVICES = ("auto", "cpu", "cuda")

# Chapters run side by side: a thread pool in each would make both many times slower. Hashes are fixed so that the
# order of a set, and with it a stored output, is the same in each run.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "DESCENTLAB_QUIET": "1",  # a progress bar in a cell would be stored with its output
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_KEPT = ("tags", "mystnb")


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


@dataclass(frozen=True)
class Run:
    """How the execution of a chapter ended: ``error`` is empty if it succeeded."""

    chapter: Chapter
    target: Path
    seconds: float
    error: str = ""
    only: tuple[str, ...] = ()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The ledger rows of the run, those asked for; none of a chapter that failed."""
        rows = [] if self.error else claims.collect(self.target)
        return [row for row in rows if not self.only or any(covers(row["claim"], key) for key in self.only)]


def find_book(start: Path | None = None) -> Path | None:
    """The folder ``book`` of the checkout around `start` (default: here), or of the one this package runs from."""
    start = Path.cwd() if start is None else start
    for root in (start, *start.parents, Path(__file__).resolve().parents[2]):
        if (root / "book").is_dir() and (root / "pkg" / "descentlab").is_dir():
            return root / "book"
    return None


def discover(book: str | Path) -> list[Chapter]:
    """The chapters in `book`, in the order of their papers; a page without a kernel is none."""
    found = []
    for path in sorted(Path(book).resolve().glob("*.md")):
        text = path.read_text(encoding="utf-8")
        front = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
        if front is None or "kernelspec:" not in front[1]:
            continue
        declared = re.search(r"^descentlab:\s*\{?\s*processes:\s*(\d+)", front[1], re.MULTILINE)
        tags = dict.fromkeys(re.findall(r"\bclaim-(\w[\w.]*)", text))
        found.append(Chapter(path, int(declared[1]) if declared else 1, tuple(sorted(tags, key=_natural))))
    order = {paper.name: i for i, paper in enumerate(PAPERS)}
    return sorted(found, key=lambda chapter: order.get(chapter.name, len(order)))


def covers(key: str, asked: str) -> bool:
    """Whether claim `key` is `asked` or a part of it: ``C3a`` belongs to ``C3``, ``C30`` does not."""
    return key == asked or (key.startswith(asked) and not key[len(asked)].isdigit())


def claim_keys(chapter: Chapter) -> list[str]:
    """Claims of a chapter, known without running it: cells' tags, and the stored ledger or else the declarations."""
    if chapter.notebook.exists():
        declared = [row["claim"] for row in claims.collect(chapter.notebook)]
    else:
        declared = [claim.key for claim in _in_module(chapter.name, "CLAIMS", ())]
    return sorted({*chapter.claims, *declared}, key=_natural)


def _in_module(name: str, attribute: str, default: Any) -> Any:
    """An attribute of the paper's module, if there are both."""
    try:
        return getattr(import_module(f"descentlab.{name}"), attribute, default)
    except ModuleNotFoundError:
        return default


def _natural(key: str) -> list[Any]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|\D+", key)]


def missing_data(chapter: Chapter) -> list[str]:
    """Data sets that the stored notebook used and this machine does not have; texts are small, and fetched at once."""
    used = claims.data_used(chapter.notebook) if chapter.notebook.exists() else []
    return [name for name in used if not (data.fetched(name) if name in data.TEXTS else data.available(name))]


def runtimes(book: Path) -> dict[str, Any]:
    """Recorded times, ``{name: {"seconds": …, "environment": …}}``."""
    path = book / "runtimes.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def source(path: Path, only: Sequence[str] = ()) -> Any:
    """The hand-written half as a notebook without outputs, its cells named after their positions.

    With `only`, code cells tagged with other claims are left out.
    """
    import jupytext

    notebook = jupytext.read(path)
    notebook.metadata = {"kernelspec": _KERNEL}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = [cell for cell in notebook.cells if not only or _wanted(cell, only)]
    return _tidy(notebook)


def _wanted(cell: Any, only: Sequence[str]) -> bool:
    tagged = [tag.removeprefix("claim-") for tag in cell.metadata.get("tags", []) if tag.startswith("claim-")]
    return not tagged or any(covers(tag, key) or covers(key, tag) for tag in tagged for key in only)


def _tidy(notebook: Any) -> Any:
    """Keep of the metadata what the book needs; the rest (times, paths, random ids) differs from run to run."""
    notebook.metadata = {"kernelspec": _KERNEL}
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:02d}"
        cell.metadata = {key: cell.metadata[key] for key in _KEPT if cell.metadata.get(key)}
    return notebook


def execute(
    chapter: Chapter,
    target: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Execute a chapter into the notebook `target`, which is replaced only if every cell succeeded.

    Parameters
    ----------
    chapter : Chapter
        What to execute, in the folder of its source.
    target : Path
        The notebook to write.
    parameters : mapping, optional
        Values for the cell tagged ``parameters``.
    only : sequence of str
        Leave out the code cells of other claims than these.
    report : callable
        Called with the number of finished cells and of all cells after each cell.

    Raises
    ------
    papermill.PapermillExecutionError
        If a cell fails; the notebook so far is kept in ``_build/failed``.
    """
    import nbformat
    import papermill

    notebook = source(chapter.source, only)
    partial = _partial(chapter)
    partial.parent.mkdir(parents=True, exist_ok=True)
    _register_engine(report)
    done = papermill.execute_notebook(
        notebook,
        str(partial).replace("{", "{{").replace("}", "}}"),  # papermill takes the path for a format string
        dict(parameters or {}),
        engine_name="descentlab",
        cwd=str(chapter.source.parent),
        progress_bar=False,
        coalesce_streams=True,  # how prints are cut into messages differs from run to run
        extra_arguments=["--log-level=ERROR"],  # no warning that the kernel talks to us in clear text
    )
    replace_text(target, nbformat.writes(_tidy(done)) + "\n")
    partial.unlink()


def _register_engine(report: Callable[[int, int], None]) -> None:
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):
        """Papermill's own engine, which also reports each finished cell."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            finish = nb_man.cell_complete

            def cell_complete(cell: Any, cell_index: int, **kwargs: Any) -> None:
                finish(cell, cell_index=cell_index, **kwargs)
                report(cell_index + 1, len(nb_man.nb.cells))

            nb_man.cell_complete = cell_complete
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("descentlab", Engine)


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


def _partial(chapter: Chapter) -> Path:
    return chapter.root / "_build" / "failed" / chapter.notebook.name


def run(
    chapters: Iterable[Chapter],
    *,
    scale: str = "book",
    seed: int = 0,
    device: str = "auto",
    only: Sequence[str] = (),
    jobs: int = 2,
) -> list[Run]:
    """Execute chapters side by side, with a progress bar each, and say how each ended.

    Parameters
    ----------
    chapters : iterable of Chapter
        What to execute.
    scale, seed, device : str, int, str
        Parameters of the chapters; see `SCALES` and `DEVICES`.
    only : sequence of str
        Run the code of these claims alone.
    jobs : int
        How many chapters run at a time.

    Returns
    -------
    list of Run
        In the order in which they ended. A failure stops no other chapter.
    """
    default = (scale, seed, device) == ("book", 0, "auto")
    parameters = {} if default else {"scale": scale, "seed": seed, "device": device}
    works = []
    for chapter in chapters:
        folder = _folder(chapter, scale, seed, device, only)
        works.append(_Work(chapter, folder / chapter.notebook.name, parameters, tuple(only)))
    alone = [[work] for work in works if work.chapter.processes > 1]
    waves = [[work for work in works if work.chapter.processes == 1], *alone]
    return [ended for wave in waves if wave for ended in _run_wave(wave, jobs)]


@dataclass(frozen=True)
class _Work:
    """One notebook to execute."""

    chapter: Chapter
    target: Path
    parameters: Mapping[str, Any]
    only: tuple[str, ...] = ()


def _folder(chapter: Chapter, scale: str, seed: int, device: str, only: Sequence[str]) -> Path:
    """Where the result belongs; the table at the top of this module."""
    build = chapter.root / "_build"
    if only or seed != 0 or (device != "auto" and scale == "book"):
        return build / "run"
    if scale != "book":
        return build / {"smoke": "check", "full": "full"}[scale]
    if missing := missing_data(chapter):
        print(f"{chapter.name}: {', '.join(missing)} not found here; the stored notebook stays, a copy is computed.")
        return build / "fallback"
    (build / "fallback" / chapter.notebook.name).unlink(missing_ok=True)
    return chapter.source.parent


def _run_wave(works: Sequence[_Work], jobs: int) -> list[Run]:
    context = multiprocessing.get_context("spawn")  # a fork of a process that has loaded torch may hang
    reports = context.Queue()
    bars: dict[Path, tqdm] = {}
    ended = []

    def show() -> None:
        while not reports.empty():
            target, done, total = reports.get()
            if target not in bars:
                bars[target] = tqdm(desc=f"{target.stem:<24}", unit="cell", leave=False, disable=None)
            bars[target].total, bars[target].n = total, done
            bars[target].refresh()

    with ProcessPoolExecutor(min(jobs, len(works)), context, _start_worker, (reports,)) as pool:
        waiting = {pool.submit(_work, work): work for work in works}
        while waiting:
            for future in wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED).done:
                work = waiting.pop(future)
                error = future.exception()  # the worker itself died
                result = Run(work.chapter, work.target, 0.0, repr(error)) if error else future.result()
                show()
                if work.target in bars:
                    bars.pop(work.target).close()
                tqdm.write(_line(result))
                ended.append(result)
            show()
    return ended


_reports: Any = None  # set in the worker processes


def _start_worker(reports: Any) -> None:
    global _reports
    _reports = reports
    os.environ.update(ENVIRONMENT)


def _work(work: _Work) -> Run:
    from papermill import PapermillExecutionError

    def report(done: int, total: int) -> None:
        _reports.put((work.target, done, total))

    start, error = time.perf_counter(), ""
    report(0, len(source(work.chapter.source, work.only).cells))
    try:
        execute(work.chapter, work.target, parameters=work.parameters, only=work.only, report=report)
    except PapermillExecutionError as failure:
        trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(failure.traceback)).strip()
        error = f"cell [{failure.exec_count}]:\n\n{failure.source}\n\n{trace or failure.evalue}"
    except Exception as failure:  # a kernel that died, a file that cannot be written: the other chapters go on
        error = f"{type(failure).__name__}: {failure}"
    return Run(work.chapter, work.target, time.perf_counter() - start, error, work.only)


def _line(result: Run) -> str:
    """What became of a chapter, in a line; of one that failed, with the cell and the error."""
    root, partial = result.chapter.root, _partial(result.chapter)
    head = f"{result.chapter.name:<26}{result.seconds:5.0f} s   "
    if not result.error:
        return head + f"{claims.count(result.rows)}   {_relative(result.target, root)}"
    kept = f"\n\nThe notebook so far: {_relative(partial, root)}" if partial.exists() else ""
    stored = "; the stored one is unchanged." if result.chapter.notebook.exists() else "."
    return head + f"FAILED in {result.error}{kept}{stored if kept else ''}\n"


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def record_full(result: Run, *, seed: int, device: str) -> Path:
    """Commit to ``book/cpu/<name>.json`` or ``book/gpu/`` what a run at full scale measured; returns the path."""
    where = machine(device)
    seeds = getattr(_in_module(result.chapter.name, "FULL", None), "seeds", seed)  # those of the module's experiment
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


def compare(book: Path) -> int:
    """Recompute the stored notebooks and compare their marked cells (the verdicts); returns an exit code.

    A chapter that used data which this machine does not have is not compared.
    """
    notebooks = []
    for chapter in discover(book):
        if not chapter.notebook.exists():
            continue
        if missing := missing_data(chapter):
            print(f"{chapter.name}: not compared, since {', '.join(missing)} is not found here.")
        else:
            notebooks.append(f"{book.name}/{chapter.notebook.name}")
    if not notebooks:
        print("No stored notebook to compare.")
        return 0
    command = [sys.executable, "-m", "pytest", *notebooks, "--nbval-lax", "--nbval-current-env", "-q"]
    command += ["-n", "2", "--dist", "loadscope", "--nbval-sanitize-with", "tests/nbval.cfg"]
    return subprocess.run(command, cwd=book.parent, env=os.environ | ENVIRONMENT).returncode


def site_source(book: Path, *, stored: bool = False) -> Path:
    """The folder from which the site is built.

    That of the book, unless the last run left notebooks in ``_build/fallback``: then a copy in which they replace the
    stored ones. With `stored` it is always that of the book.
    """
    root = book.parent
    recomputed = [] if stored else sorted((root / "_build" / "fallback").glob("*.ipynb"))
    if not recomputed:
        return root
    copy = root / "_build" / "source"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(book, copy / book.name)
    for path in root.glob("_*.yml"):
        shutil.copy(path, copy)
    for path in recomputed:
        shutil.copy(path, copy / book.name)
        print(f"{path.stem}: the page shows what was recomputed here, without some of the data.")
    return copy


def build(source: Path, root: Path) -> int:
    """Render the book in `source` into ``_build/html`` of `root`, warnings being errors; returns an exit code."""
    code = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"  # it has no `python -m` form
    command = [sys.executable, "-c", code, "build", str(source), "--path-output", str(root), "-W", "--keep-going"]
    return subprocess.run(command, cwd=root).returncode


def front_page(book: Path) -> Path:
    """Where `build` puts the first page."""
    return book.parent / "_build" / "html" / "index.html"
