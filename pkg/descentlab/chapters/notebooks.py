"""From the hand-written half of a chapter to a notebook with outputs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from descentlab.chapters.book import damage
from descentlab.claims import covers

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_KEPT = ("tags", "mystnb")
_GREY_LEVELS, _SHARE = 8, 2e-4  # two pictures look the same if no larger share of pixels differs by more

Report = Callable[[int, int], None]


def source(path: Path, only: Sequence[str] = ()) -> Any:
    """The hand-written half as a notebook without outputs, its cells named after their positions.

    With `only`, code cells tagged with other claims are left out. `ValueError` names a damaged file.
    """
    import jupytext

    try:
        notebook = jupytext.read(path)
    except Exception as error:  # whatever the parsers of Markdown and YAML raise
        raise ValueError(damage(path, error)) from None
    notebook.metadata = {"kernelspec": _KERNEL}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = [cell for cell in notebook.cells if not only or _wanted(cell, only)]
    return _tidy(notebook)


def parts(notebook: Any) -> list[tuple[str, str, list[str]]]:
    """What the two halves of a pair share: kind, source and tags of each cell."""
    return [(cell.cell_type, cell.source, list(cell.metadata.get("tags", []))) for cell in notebook.cells]


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
    path: Path,
    growing: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    report: Report = lambda done, total: None,
) -> Any:
    """Execute the chapter written in `path`, in its folder, and return the notebook.

    Parameters
    ----------
    path : Path
        The hand-written half.
    growing : Path
        Where the notebook is kept while it grows; it stays there if a cell fails.
    parameters : mapping, optional
        Values for the cell tagged ``parameters``.
    only : sequence of str
        Leave out the code cells of other claims than these.
    report : callable
        Called with the number of finished cells and of all cells, before the first cell and after each.

    Raises
    ------
    papermill.PapermillExecutionError
        If a cell fails.
    """
    notebook = source(path, only)
    import papermill

    growing.parent.mkdir(parents=True, exist_ok=True)
    _register_engine(report)
    done = papermill.execute_notebook(
        notebook,
        str(growing).replace("{", "{{").replace("}", "}}"),  # papermill takes the path for a format string
        dict(parameters or {}),
        engine_name="descentlab",
        cwd=str(path.parent),
        progress_bar=False,
        coalesce_streams=True,  # how prints are cut into messages differs from run to run
        extra_arguments=["--log-level=ERROR"],  # no warning that the kernel talks to us in clear text
    )
    growing.unlink(missing_ok=True)
    return _tidy(done)


def _register_engine(report: Report) -> None:
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):
        """Papermill's own engine, which also reports each finished cell."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            start, finish, total = nb_man.cell_start, nb_man.cell_complete, len(nb_man.nb.cells)

            def cell_start(cell: Any, cell_index: int, **kwargs: Any) -> None:
                if cell_index == 0:
                    report(0, total)
                start(cell, cell_index, **kwargs)

            def cell_complete(cell: Any, cell_index: int, **kwargs: Any) -> None:
                finish(cell, cell_index=cell_index, **kwargs)
                report(cell_index + 1, total)

            nb_man.cell_start, nb_man.cell_complete = cell_start, cell_complete
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("descentlab", Engine)


def work(
    report: Report, path: str, growing: str, parameters: Mapping[str, Any], only: Sequence[str], stored: str
) -> dict[str, str]:
    """`execute` in a process of its own: ``{"notebook": text}``, or ``{"error": what failed}``.

    Pictures are taken from the notebook `stored`, if it is named, where the new ones look the same.
    """
    import nbformat

    try:
        from papermill import PapermillExecutionError
    except ImportError as missing:
        return {"error": f"the start: {missing}; chapters need the packages of pyproject.toml's group `book`"}
    try:
        notebook = execute(Path(path), Path(growing), parameters=parameters, only=only, report=report)
    except PapermillExecutionError as failure:
        trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(failure.traceback)).strip()
        return {"error": f"cell [{failure.exec_count}]:\n\n{failure.source}\n\n{trace or failure.evalue}"}
    except Exception as failure:  # a kernel that died, a file that cannot be read or written
        return {"error": f"{type(failure).__name__}: {failure}"}
    if stored and Path(stored).exists():
        keep_pictures(notebook, Path(stored))
    return {"notebook": nbformat.writes(notebook) + "\n"}


def keep_pictures(notebook: Any, stored: Path) -> None:
    """Put the pictures of the notebook `stored` where those of `notebook` look the same, so that files differ less."""
    import nbformat

    try:
        old = nbformat.read(stored, as_version=4).cells
    except Exception:  # a damaged notebook has no picture to keep
        return
    for new_cell, old_cell in zip(notebook.cells, old, strict=False):
        for new, kept in zip(new_cell.get("outputs", []), old_cell.get("outputs", []), strict=False):
            a, b = (output.get("data", {}).get("image/png") for output in (new, kept))
            if a and b and a != b and look_the_same(a, b):
                new["data"]["image/png"] = b


def look_the_same(first: str, second: str) -> bool:
    """Whether two PNG pictures, in base 64, have the same size and, but for a few pixels, the same colours."""
    import numpy as np
    from PIL import Image

    try:
        a, b = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"), dtype=np.int16)
            for text in (first, second)
        )
    except (OSError, ValueError):
        return False
    return a.shape == b.shape and float((np.abs(a - b).max(axis=2) > _GREY_LEVELS).mean()) <= _SHARE
