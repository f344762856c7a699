"""The stored notebooks compared, and the book rendered from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from descentlab.chapters.discovery import discover, missing_data
from descentlab.chapters.execution import ENVIRONMENT


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
