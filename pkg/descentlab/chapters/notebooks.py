"""From the hand-written half of a chapter to a notebook with outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from descentlab.chapters.discovery import Chapter, covers
from descentlab.chapters.files import rank, replace_text

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_KEPT = ("tags", "mystnb")


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
    growing = partial(chapter)
    growing.parent.mkdir(parents=True, exist_ok=True)
    _register_engine(report)
    done = papermill.execute_notebook(
        notebook,
        str(growing).replace("{", "{{").replace("}", "}}"),  # papermill takes the path for a format string
        dict(parameters or {}),
        engine_name="descentlab",
        cwd=str(chapter.source.parent),
        progress_bar=False,
        coalesce_streams=True,  # how prints are cut into messages differs from run to run
        extra_arguments=["--log-level=ERROR"],  # no warning that the kernel talks to us in clear text
    )
    replace_text(target, nbformat.writes(_tidy(done)) + "\n")
    growing.unlink()


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


def partial(chapter: Chapter) -> Path:
    """Where the notebook of a chapter grows while it is executed; of one that failed it stays."""
    build = chapter.root / "_build"
    return (build / f"rank-{rank()}" if rank() else build) / "failed" / chapter.notebook.name
