"""Chapters executed side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from descentlab import claims
from descentlab.chapters.discovery import Chapter, covers, missing_data
from descentlab.chapters.files import rank
from descentlab.chapters.notebooks import execute, partial, source

SCALES = ("smoke", "book", "full")
DEVICES = ("auto", "cpu", "cuda")
BACKENDS = ("loky", "threading", "dask", "ray")  # of `training.sweep`

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
        folder = folder_of(chapter, scale, seed, device, only)
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


def folder_of(chapter: Chapter, scale: str, seed: int, device: str, only: Sequence[str]) -> Path:
    """Where the result belongs; the table at the top of `descentlab.chapters`."""
    build = chapter.root / "_build"
    if rank():  # trains along; what it writes is not looked at
        return build / f"rank-{rank()}"
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
                if result.error or not rank():
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
    root, unfinished = result.chapter.root, partial(result.chapter)
    head = f"{result.chapter.name:<26}{result.seconds:5.0f} s   "
    if not result.error:
        return head + f"{claims.count(result.rows)}   {_relative(result.target, root)}"
    kept = f"\n\nThe notebook so far: {_relative(unfinished, root)}" if unfinished.exists() else ""
    stored = "; the stored one is unchanged." if result.chapter.notebook.exists() else "."
    return head + f"FAILED in {result.error}{kept}{stored if kept else ''}\n"


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
