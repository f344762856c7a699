"""Does a verdict depend on the machine? Every chapter computed under other threads, kernels and roundings.

    python tests/steadiness.py [--only NAME …] [--condition NAME …] [--jobs 2]

The first condition is compared with the stored notebooks, each other one with the first where that has been computed.
Notebooks are kept in ``_build/steadiness/<condition>``; one that is newer than its chapter and the chapter's module is
not computed again, so an interrupted run goes on where it was. ``book/cpu/steadiness.json`` tells of all that is there:
for each condition what the libraries say of themselves (``seen``), the number of checks computed anew (``checks``) and
read from recorded runs, which no condition can move (``recorded``), verdicts that moved, and the measurements that moved
most, as a share of their distance from another verdict (``largest``). The exit code is 1 if a verdict moved.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descentlab import chapters, claims
from descentlab.chapters import notebooks, processes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def kernels(openblas: str, mkl: str, onednn: str, torch: str, without: str, glibc: str = "") -> dict[str, str]:
    """Settings that make libraries choose the kernels of an older x86 CPU; `without` is a pattern of NumPy's names."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return {
        "OPENBLAS_CORETYPE": openblas,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "ATEN_CPU_CAPABILITY": torch,
        "NUMBA_CPU_NAME": openblas.lower(),
        "NUMBA_CPU_FEATURES": "",  # those of the named CPU; without it those of this one stay
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in found if re.search(without, name)),
        "GLIBC_TUNABLES": glibc,
    }


CONDITIONS: dict[str, tuple[str, dict[str, str]]] = {
    "one thread": ("as the book is computed", {}),
    "two threads": ("two threads in BLAS, OpenMP and numba", dict.fromkeys(THREADS, "2")),
    "AVX2": (
        "kernels for a CPU without AVX-512, in all libraries",
        kernels("Haswell", "AVX2", "AVX2", "avx2", "512|V4"),
    ),
    "SSE4": (
        "kernels for a CPU without AVX and FMA, in all libraries and in C",
        kernels("Nehalem", "SSE4_2", "SSE41", "default", ".", "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"),
    ),
    "one rounding": ("each gradient, image and random float replaced by a neighbour", {"PYTHONPATH": f"{HERE}/noise"}),
}


def environment(condition: str) -> dict[str, str]:
    """Environment variables of a condition, which hold beside those of any chapter."""
    settings = CONDITIONS[condition][1]
    path = f"{settings.get('PYTHONPATH', '')}{os.pathsep}{ROOT / 'pkg'}".strip(os.pathsep)
    return {**settings, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder(condition) / "numba")}


def folder(condition: str) -> Path:
    return ROOT / "_build" / "steadiness" / condition.replace(" ", "-")


def seen(condition: str) -> dict[str, Any]:
    """What libraries say of their kernels and threads under a condition, and digests of small computations."""
    verbose = {"MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    variables = os.environ | processes.ENVIRONMENT | environment(condition) | verbose
    command = [sys.executable, str(HERE / "noise" / "seen.py")]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    mkl = re.search(r"MKL_VERBOSE .*architecture (.*?)(?: enabled| with support|, Lnx)", said)
    onednn = re.search(r"onednn_verbose,.*isa:(.*)", said)
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found | {"MKL": mkl[1] if mkl else "unknown", "oneDNN": onednn[1] if onednn else "unknown"}


def compute(report: Callable, path: str, growing: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Execute a chapter in a child process, whose kernel inherits the variables."""
    os.environ.update(variables)
    return notebooks.work(report, path, growing, {}, [], "")


def finished(chapter: chapters.Chapter, condition: str) -> Path | None:
    """The chapter's notebook under a condition, where it is newer than the chapter and its code."""
    notebook = folder(condition) / chapter.notebook.name
    code = [*chapter.root.glob(f"pkg/descentlab/{chapter.name}*/**/*.py"), *chapter.root.glob(f"*/*/{chapter.name}.py")]
    newest = max(path.stat().st_mtime for path in (chapter.source, *code))
    return notebook if notebook.exists() and notebook.stat().st_mtime > newest else None


def run(chosen: Sequence[chapters.Chapter], conditions: Sequence[str], jobs: int) -> dict[tuple[str, str], str]:
    """Compute what is not there; returns the errors of chapters that failed, by condition and name."""
    errors, tasks, targets = {}, [], {}
    for condition in conditions:
        variables = environment(condition)
        for chapter in (chapter for chapter in chosen if not finished(chapter, condition)):
            target = folder(condition) / chapter.notebook.name
            arguments = {
                "path": str(chapter.source),
                "growing": str(target.with_suffix(".part.ipynb")),
                "variables": variables,
            }
            slots, name = max(chapter.processes, int(variables.get(THREADS[0], 1))), f"{condition:<14}{chapter.name}"
            targets[name] = target, (condition, chapter.name)
            tasks.append(processes.Task(name, "steadiness:compute", arguments, slots))

    def ended(child: processes.Child) -> None:
        target, key = targets[child.task.name]
        done = child.result or {"error": child.death()}
        if error := done.get("error", ""):
            errors[key] = error
        else:
            chapters.replace_text(target, done["notebook"])
        print(f"{child.task.name:<42}{child.elapsed:5.0f} s  {error}", flush=True)

    os.environ["PYTHONPATH"] = str(HERE)  # where a child finds this script; its kernel does not inherit it
    processes.supervise(tasks, jobs, ROOT, ended, lambda running, waiting: None)
    return errors


def spare(row: Mapping[str, Any], across: str | None) -> Any:
    """How far the measurement of a row is from another verdict, entry by entry."""
    if row["kind"] == "order":
        return np.diff([row["measured"][name] for name in row["expected"]]) - row["tolerance"]
    distance = np.asarray(row["measured"], dtype=float) - np.asarray(row["expected"], dtype=float)
    sides = {"at least": distance, "at most": -distance}
    found = row["tolerance"] + sides.get(row["kind"], -np.abs(distance))
    return found.mean() - 3 * found.std(ddof=1) / found.size**0.5 if across == "mean" and found.size > 1 else found


def share(before: Mapping[str, Any], now: Mapping[str, Any], across: str | None) -> float:
    """How far a measurement moved, as a share of its distance from another verdict."""
    old, new = spare(before, across), spare(now, across)
    if np.shape(old) != np.shape(new):
        return math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmax(np.append(np.abs(new - old) / np.abs(old), 0.0)))  # 0/0: exact, and did not move


def compare(chosen: Iterable[chapters.Chapter], condition: str, errors: Mapping) -> dict[str, Any]:
    """The entry of a condition in ``steadiness.json``."""
    checks, recorded, compared, moved, shares = 0, 0, 0, [], {}
    for chapter in chosen:
        if error := errors.get((condition, chapter.name)):
            moved.append(f"{chapter.name}: failed in {error.splitlines()[0]}")
        if not (notebook := finished(chapter, condition)):
            continue
        first = finished(chapter, "one thread") if condition != "one thread" else None
        before = {row["check"]: row for row in claims.collect(first or chapter.notebook)}
        now = {row["check"]: row for row in claims.collect(notebook)}
        across = {key: check.across for key, check in chapters.experiments_of(chapter).statements.checks.items()}
        compared += 1
        recorded += sum(bool(row["recorded"]) for row in now.values())
        checks += sum(not row["recorded"] for row in now.values())
        for key in dict.fromkeys([*before, *now]):
            old, new = before.get(key), now.get(key)
            verdicts = [row["verdict"] if row else "no such check" for row in (old, new)]
            if verdicts[0] != verdicts[1]:
                moved.append(f"{chapter.name} {key}: {verdicts[0]} → {verdicts[1]}")
            elif verdicts[0] == "holds" and not new["recorded"]:
                shares[f"{chapter.name} {key}"] = share(old, new, across.get(key))
    largest = sorted(shares.items(), key=lambda item: -item[1])[:10]
    about = {"name": condition, "how": CONDITIONS[condition][0], "seen": seen(condition), "chapters": compared}
    counts = {"checks": checks, "recorded": recorded, "moved": moved}
    return about | counts | {"largest": [f"{name}: {value:.2g}" for name, value in largest if value > 0]}


def main() -> int:
    every = {chapter.name: chapter for chapter in chapters.discover(ROOT / "book")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=every, metavar="NAME", help=f"of {', '.join(every)}; default: all")
    parser.add_argument("--condition", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--jobs", type=int, default=2, help="how many processes or threads compute at a time")
    options = parser.parse_args()
    errors = run([every[name] for name in options.only or every], options.condition, options.jobs)
    entries = [compare(every.values(), condition, errors) for condition in CONDITIONS if folder(condition).exists()]
    record = {"environment": chapters.machine(), "conditions": entries}
    chapters.write_json(ROOT / "book" / "cpu" / "steadiness.json", record)
    print(f"\n{'':<14}chapters  checks  recorded  moved  largest share of a margin")
    for e in entries:
        most = e["largest"][0] if e["largest"] else "–"
        print(f"{e['name']:<14}{e['chapters']:>8}{e['checks']:>8}{e['recorded']:>10}{len(e['moved']):>7}  {most}")
        print(*(f"    {line}\n" for line in e["moved"]), sep="", end="")
    return int(any(entry["moved"] for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
