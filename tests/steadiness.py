"""Do verdicts depend on the machine? Every chapter, computed under other threads, kernels and roundings.

    python tests/steadiness.py [NAME …] [--condition NAME …] [--jobs 2]

Writes ``book/cpu/steadiness.json``, which the ledger's page shows: for each condition the number of checks computed anew
(recorded ones are not), and those whose verdict is not the stored one. Takes about six minutes a condition on two cores.
Notebooks are kept under ``_build/steadiness``; one that is newer than its chapter is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from descentlab import chapters, claims

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
NO_AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
CONDITIONS = {
    "two threads": {"how": "two threads in BLAS, OpenMP and numba", "set": dict.fromkeys(THREADS, "2")},
    "AVX2": {
        "how": "kernels of a CPU without AVX-512: OpenBLAS Haswell, MKL, oneDNN, torch and numba at AVX2",
        "set": {
            "OPENBLAS_CORETYPE": "Haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
            "ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "haswell", "NPY_DISABLE_CPU_FEATURES": NO_AVX512,
        },
    },
    "SSE4": {
        "how": "kernels of a CPU without AVX: OpenBLAS Nehalem, MKL and oneDNN at SSE4, torch and numba at their least",
        "set": {
            "OPENBLAS_CORETYPE": "Nehalem", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41",
            "ATEN_CPU_CAPABILITY": "default", "NUMBA_CPU_NAME": "nehalem",
            "NPY_DISABLE_CPU_FEATURES": f"{NO_AVX512} AVX2 FMA3",
        },
    },
    "one rounding": {
        "how": "every gradient, image and normal number multiplied by 1, 1 + u or 1 - u, u a unit in the last place",
        "set": {"PYTHONPATH": str(ROOT / "tests" / "noise")},
    },
}  # fmt: skip
ONE = """
import sys
from pathlib import Path
import nbformat
from descentlab.chapters.notebooks import execute
from descentlab.chapters.processes import ENVIRONMENT
source, target = map(Path, sys.argv[1:])
nbformat.write(execute(source, target.with_suffix(".part")), target)
"""


def compute(name: str, condition: str) -> Path:
    """Execute a chapter under a condition, in a copy of the book; returns the notebook."""
    folder = ROOT / "_build" / "steadiness" / condition.replace(" ", "-")
    book = folder / "book"
    target = folder / f"{name}.ipynb"
    if target.exists() and target.stat().st_mtime > (BOOK / f"{name}.md").stat().st_mtime:
        return target
    shutil.copytree(BOOK, book, ignore=shutil.ignore_patterns("*.ipynb", "_static", "_ext"), dirs_exist_ok=True)
    from descentlab.chapters.processes import ENVIRONMENT

    environment = os.environ | ENVIRONMENT | CONDITIONS[condition]["set"]
    environment["NUMBA_CACHE_DIR"] = str(folder / "numba")
    done = subprocess.run(
        [sys.executable, "-c", ONE, str(book / f"{name}.md"), str(target)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name}, {condition}:\n{done.stderr[-2000:]}")
    return target


def compare(name: str, condition: str) -> tuple[int, list[str]]:
    """How many checks were computed anew, and those whose verdict moved."""
    stored = {row["claim"]: row["verdict"] for row in claims.collect(BOOK / f"{name}.ipynb")}
    rows = [row for row in claims.collect(compute(name, condition)) if not row["recorded"]]
    moved = [
        f"{name} {row['claim']}: {stored.get(row['claim'])} → {row['verdict']} ({claims.measured_text(row)})"
        for row in rows
        if row["verdict"] != stored.get(row["claim"])
    ]
    print(f"{condition:<14}{name:<26}{len(rows):>4} checks  {'; '.join(moved) or 'as stored'}", flush=True)
    return len(rows), moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--condition", action="append", choices=CONDITIONS)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = options.names or [chapter.name for chapter in chapters.discover(BOOK)]
    found = []
    for condition in options.condition or CONDITIONS:
        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda name, condition=condition: compare(name, condition), names))
        found.append(
            {
                "name": condition,
                "how": CONDITIONS[condition]["how"],
                "checks": sum(count for count, _ in results),
                "moved": [line for _, moved in results for line in moved],
            }
        )
    if not options.names and not options.condition:
        path = BOOK / "cpu" / "steadiness.json"
        record = {"environment": chapters.machine(), "conditions": found}
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
