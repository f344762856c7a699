"""Chapters executed side by side, stored notebooks compared, and the book rendered from them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from descentlab import claims
from descentlab.chapters.book import (
    Chapter,
    damage,
    discover,
    experiments_of,
    machine,
    rank,
    replace_text,
    runtimes,
    stored_rows,
    write_json,
)
from descentlab.chapters.notebooks import Report, parts, source
from descentlab.chapters.processes import Child, Task, start, stop, supervise

SCALES = ("smoke", "book", "full")
DEVICES = ("auto", "cpu", "cuda")
BACKENDS = ("loky", "threading", "dask", "ray")  # of `training.sweep`


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
        rows = [] if self.error else stored_rows(self.target)
        return [row for row in rows if not self.only or any(claims.covers(row["check"], key) for key in self.only)]


def run(
    chapters: Iterable[Chapter],
    *,
    scale: str = "book",
    seed: int = 0,
    device: str = "auto",
    only: Sequence[str] = (),
    jobs: int = 2,
    store: bool = False,
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
    store : bool
        Replace the stored notebooks; for the default scale, seed and device, and whole chapters.

    Returns
    -------
    list of Run
        In the order in which they ended. A failure stops no other chapter.
    """
    chosen = {chapter.name: chapter for chapter in chapters}
    default = (scale, seed, device) == ("book", 0, "auto")
    parameters = {} if default else {"scale": scale, "seed": seed, "device": device}
    results: list[Run] = []

    def ended(child: Child) -> str:
        chapter, arguments = chosen[child.task.name], child.task.arguments
        target = folder_of(chapter, scale, seed, device, only, store) / chapter.notebook.name
        done = child.result or {"error": child.death()}
        error = done.get("error", "")
        if not error:
            try:
                replace_text(target, done["notebook"])
            except OSError as failure:
                error = f"{type(failure).__name__}: {failure}"
        results.append(Run(chapter, target, child.elapsed, error, tuple(only)))
        return "" if rank() and not error else _line(results[-1], Path(arguments["growing"]))

    tasks = []
    for chapter in chosen.values():
        arguments = {
            "path": str(chapter.source),
            "growing": str(_build(chapter) / "failed" / chapter.notebook.name),
            "parameters": parameters,
            "only": list(only),
            "stored": str(chapter.notebook) if store else "",
        }
        tasks.append(_task(chapter, "descentlab.chapters.notebooks:work", arguments, default and not only))
    _supervise(tasks, jobs, chosen, ended)
    return results


def folder_of(
    chapter: Chapter, scale: str, seed: int, device: str, only: Sequence[str] = (), store: bool = False
) -> Path:
    """Where the result belongs; the table at the top of `descentlab.chapters`."""
    if rank():  # trains along; what it writes is not looked at
        return _build(chapter)
    if only or seed != 0 or (device != "auto" and scale == "book"):
        return _build(chapter) / "run"
    if scale == "book" and store:
        return chapter.source.parent
    return _build(chapter) / {"smoke": "check", "book": "book", "full": "full"}[scale]


def _build(chapter: Chapter) -> Path:
    build = chapter.root / "_build"
    return build / f"rank-{rank()}" if rank() else build


def _line(result: Run, growing: Path) -> str:
    """What became of a chapter, in a line; of one that failed, with the cell and the error."""
    root = result.chapter.root
    head = f"{result.chapter.name:<26}{result.seconds:5.0f} s   "
    if not result.error:
        return head + f"{claims.count(result.rows)}   {_relative(result.target, root)}"
    kept = f"\n\nThe notebook so far: {_relative(growing, root)}" if growing.exists() else ""
    how = result.error if result.error.startswith("died") else f"FAILED in {result.error}"
    return f"{head}{how}{kept}\n"


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _task(chapter: Chapter, function: str, arguments: Mapping[str, Any], timed: bool = True) -> Task:
    try:
        seconds = runtimes(chapter.source.parent)[chapter.name]["seconds"] if timed else None
    except (ValueError, KeyError):
        seconds = None
    return Task(chapter.name, function, arguments, chapter.processes, seconds)


def _supervise(tasks: Sequence[Task], jobs: int, chosen: Mapping[str, Chapter], ended: Any) -> None:
    """`supervise` with a progress bar for each task and one for all; on other outputs than terminals, plain lines."""
    if not tasks:
        return
    bars: dict[str, tqdm] = {}
    root = next(iter(chosen.values())).root
    with tqdm(total=len(tasks), bar_format="{desc}", leave=False, disable=None) as whole:
        count, said = 0, -1

        def tick(running: Sequence[Child], waiting: Sequence[Task]) -> None:
            nonlocal said
            lefts = [child.left() for child in running]
            now = f"{count} of {len(tasks)} chapters{_about(_total_left(lefts, waiting, jobs))}"
            if whole.disable:
                if count > said and not rank():
                    print(now, file=sys.stderr)
                said = count
                return
            whole.set_description_str(now)
            for child, left in zip(running, lefts, strict=True):
                if child.task.name not in bars:
                    bars[child.task.name] = tqdm(desc=f"{child.task.name:<26}", bar_format="{desc}", leave=False)
                bar, cells = bars[child.task.name], f"{child.done} of {child.total} cells{_about(left)}"
                bar.total, bar.n = child.total or 1, child.done
                bar.bar_format = f"{{desc}}|{{bar:24}}| {cells if child.total else 'starting'}"
                bar.refresh()

        def finished(child: Child) -> None:
            nonlocal count
            count += 1
            if child.task.name in bars:
                bars.pop(child.task.name).close()
            if line := ended(child):
                tqdm.write(line)

        supervise(tasks, jobs, root, finished, tick)


def _total_left(lefts: Sequence[float | None], waiting: Sequence[Task], jobs: int) -> float | None:
    known = [left for left in lefts if left is not None] + [task.seconds for task in waiting if task.seconds]
    if len(known) < len(lefts) + len(waiting) or not known:
        return None
    return max(*known, sum(known) / jobs)


def _about(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 100 else f", about {seconds / 60:.0f} min left"


def differences(results: Iterable[Run]) -> list[str]:
    """Lines for the checks whose verdict differs from the stored one, by chapters that succeeded."""
    lines = []
    for result in results:
        if result.error or not result.chapter.notebook.exists():
            continue
        try:
            stored = {row["check"]: row["verdict"] for row in stored_rows(result.chapter.notebook)}
        except ValueError as error:
            lines.append(f"{result.chapter.name}: {error}")
            continue
        computed = {row["check"]: row["verdict"] for row in result.rows}
        for key in dict.fromkeys([*stored, *computed]):
            old, new = stored.get(key, "no such check"), computed.get(key, "no such check")
            if old != new:
                lines.append(f"{result.chapter.name} {key}: stored {old}, computed {new}")
    return lines


def record_full(result: Run, *, seed: int, device: str) -> Path:
    """Commit to ``book/cpu/<name>.json`` or ``book/gpu/`` what a run at full scale measured; returns the path."""
    where = machine(device)
    seeds = getattr(
        getattr(experiments_of(result.chapter), "FULL", None), "seeds", seed
    )  # those of the module's experiment
    environment = {**where, "seconds": round(result.seconds, 1), "seeds": seeds}
    path = result.chapter.source.parent / ("gpu" if where["cuda"] else "cpu") / f"{result.chapter.name}.json"
    claims.write_recorded(path, result.rows, environment)
    return path


def record_times(results: Iterable[Run]) -> None:
    """Write how long chapters took to ``book/runtimes.json``, beside what is there for others."""
    for result in results:
        path = result.chapter.source.parent / "runtimes.json"
        entry = {"seconds": round(result.seconds, 1), "environment": machine("cpu")}
        write_json(path, runtimes(path.parent) | {result.chapter.name: entry})


def compare(book: Path, names: Sequence[str] = (), jobs: int = 2) -> int:
    """Recompute the stored notebooks and compare their marked cells (the verdicts); returns an exit code.

    It is 0 only if at least one notebook was compared and none differs.
    """
    found = {chapter.name: chapter for chapter in discover(book) if chapter.notebook.exists()}
    chosen = {name: chapter for name, chapter in found.items() if not names or name in names}
    same: list[str] = []

    def ended(child: Child) -> str:
        head = f"{child.task.name:<26}{child.elapsed:5.0f} s   "
        if child.result == 0 and child.done:
            same.append(child.task.name)
            return head + f"as stored ({child.done} cells)"
        return head + (f"differs\n\n{child.written()}" if child.result == 1 else f"not compared: {child.death()}\n")

    tasks = []
    for chapter in chosen.values():
        arguments = [f"{book.name}/{chapter.notebook.name}", "--nbval-lax", "--nbval-current-env", "-q"]
        arguments += ["--nbval-sanitize-with", "tests/nbval.cfg", "-p", "no:cacheprovider"]
        tasks.append(_task(chapter, "descentlab.chapters.runs:nbval", {"arguments": arguments}))
    _supervise(tasks, jobs, chosen, ended)
    print(f"{len(same)} of {len(chosen)} stored notebooks compared without a difference.")
    return 0 if same and len(same) == len(chosen) else 1


def nbval(report: Report, arguments: Sequence[str]) -> int:
    """Pytest in a child process, each cell reported; returns its exit code."""
    import pytest

    class Progress:
        done = total = 0

        def pytest_collection_finish(self, session: Any) -> None:
            self.total = len(session.items)

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call":
                self.done += 1
                tell(self.done, self.total)

    tell = report
    return int(pytest.main(list(arguments), plugins=[Progress()]))


def build(book: Path, *, stored: bool = False, strict: bool = False) -> int:
    """Render the book into ``_build/html`` and return an exit code.

    Shown are the notebooks in ``_build/book`` that were computed from the chapters as they are now, else the stored
    ones; `stored` shows these always, and with `strict` a warning is an error.
    """
    root = book.parent
    for name in ("html", ".doctrees"):  # what an interrupted build leaves would break this one; a new one costs no more
        shutil.rmtree(root / "_build" / name, ignore_errors=True)
    arguments = ["build", str(site_source(book, stored=stored)), "--path-output", str(root)]
    arguments += ["-W", "--keep-going"] if strict else []
    child = start(Task("build", "descentlab.chapters.runs:jupyter_book", {"arguments": arguments}), root)
    try:
        return int(child.process.wait() != 0)
    finally:
        stop([child])


def jupyter_book(report: Report, arguments: Sequence[str]) -> int:
    """Jupyter Book's own command line, in a child process."""
    from jupyter_book.cli.main import main  # type: ignore[import-untyped]

    main(list(arguments), standalone_mode=False)
    return 0


def site_source(book: Path, *, stored: bool = False) -> Path:
    """The folder ``_build/source`` from which the site is built: a copy of the book with the notebooks to show.

    Of a damaged file one line is printed, and the page is shown without it.
    """
    root, copy = book.parent, book.parent / "_build" / "source"
    pages = copy / book.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(book, pages, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for path in root.glob("_*.yml"):
        shutil.copy(path, copy)
    for path in sorted(book.rglob("*.json")):
        if problem := _problem(path):
            print(f"{problem}; the book is built without it.", file=sys.stderr)
            (pages / path.relative_to(book)).write_text("{}")
    computed = 0
    for chapter in discover(book):
        page, candidate = pages / chapter.notebook.name, root / "_build" / "book" / chapter.notebook.name
        try:
            if not stored and candidate.exists() and _is_current(chapter, candidate):
                shutil.copy(candidate, page)
                computed += 1
                continue
        except ValueError as error:
            print(f"{error}; {chapter.name} shows the stored notebook.", file=sys.stderr)
        if problem := _problem(chapter.notebook):
            print(f"{problem}; {chapter.name} is shown without results.", file=sys.stderr)
            page.write_text(_without_outputs(chapter), encoding="utf-8")
    if computed:
        print(f"{computed} chapters as computed here, the others as stored.")
    return copy


def _problem(path: Path) -> str:
    """What is wrong with a notebook or JSON file of the book; empty if nothing is."""
    if not path.exists():
        return f"{path.parent.name}/{path.name} is not there"
    try:
        if path.name == "runtimes.json":
            runtimes(path.parent)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        else:
            stored_rows(path)
            _read(path)
    except (ValueError, OSError, RecursionError) as error:
        return damage(path, error)
    return ""


def _read(path: Path) -> Any:
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises what the damage leads to
        raise ValueError(damage(path, error)) from None
    return notebook


def _is_current(chapter: Chapter, notebook: Path) -> bool:
    """Whether a notebook was computed from the chapter as it is now."""
    stored_rows(notebook)
    return parts(_read(notebook)) == parts(source(chapter.source))


def _without_outputs(chapter: Chapter) -> str:
    import nbformat

    try:
        notebook = source(chapter.source)
    except ValueError as error:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {chapter.name}\n\n{error}")])
    return nbformat.writes(notebook)


def front_page(book: Path) -> Path:
    """Where `build` puts the first page."""
    return book.parent / "_build" / "html" / "index.html"
