"""The engine: what is executed, where it is stored, and what happens when a chapter fails."""

import base64
import io
import json
import os
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from PIL import Image

from descentlab import chapters, claims

# Three claims in a small chapter; the value of C1 is the seed, so that a run shows its parameters.
SETUP = """\
import os
from descentlab.claims import Ledger, Statements
statements = Statements("toy")
for key, letters in {"C1": [""], "C2": [""], "C3": ["a", "b"]}.items():
    statement = statements.statement(key, key, "Theorem 1", source="paper")
    for letter in letters:
        statement.in_cells(letter, key, "Theorem 1", "at least", 0.0, 0.0, "exact", basis="statement", control="less")
ledger = Ledger(statements, scale=scale, data=DATA)
print(scale, seed, device, os.environ["OMP_NUM_THREADS"], os.environ["DESCENTLAB_QUIET"], os.path.basename(os.getcwd()))
"""
TOY = (
    ("claim-C1", 'ledger.record("C1", seed)'),
    ("claim-C2", 'ledger.record("C2", -1.0)'),
    ("claim-C3a, claim-C3b", 'ledger.record("C3a", 1.0); ledger.record("C3b", 2.0)'),
    ("hide-input", "ledger"),
    ("nbval-check-output", "print(ledger.verdicts())"),
)


def toy(data_used=()):
    return (("hide-input", SETUP.replace("DATA", repr(data_used))), *TOY)


def cells_of(path):
    return json.loads(path.read_text())["cells"]


def verdicts(path):
    return {row["check"]: row["verdict"] for row in claims.collect(path)}


@pytest.fixture(scope="module")
def book(tmp_path_factory, write_chapter):
    """A book with a chapter that works and one that fails, executed once."""
    book = tmp_path_factory.mktemp("a path with {braces}") / "book"
    write_chapter(book, "toy", *toy())
    write_chapter(book, "broken", ("x", "before = 1"), ("x", "raise ValueError('no such luck')"), ("x", "after = 2"))
    (book / "broken.ipynb").write_text('{"cells": []}\n')  # what an earlier run stored
    (book / "page.md").write_text("# A page without code\n")
    return book


@pytest.fixture(scope="module")
def first(book):
    """How a run that stores its results ended."""
    return {result.chapter.name: result for result in chapters.run(chapters.discover(book), store=True)}


@pytest.fixture
def toy_chapter(book):
    return next(chapter for chapter in chapters.discover(book) if chapter.name == "toy")


def test_pages_without_a_kernel_are_no_chapters(book):
    assert [chapter.name for chapter in chapters.discover(book)] == ["broken", "toy"]


def test_a_run_of_the_maintainers_is_stored_in_the_book(book, first):
    assert not first["toy"].error
    assert first["toy"].target == book / "toy.ipynb"
    assert verdicts(book / "toy.ipynb") == {
        "C1": "holds",
        "C2": "fails",
        "C3a": "holds",
        "C3b": "holds",
    }
    printed = next(cell for cell in cells_of(book / "toy.ipynb") if cell.get("outputs"))["outputs"][0]["text"]
    assert "".join(printed) == "book 0 auto 1 1 book\n"


def test_stored_notebooks_hold_nothing_that_differs_between_runs(book, first):
    notebook = json.loads((book / "toy.ipynb").read_text())
    assert set(notebook["metadata"]) == {"kernelspec"}
    assert [cell["id"] for cell in notebook["cells"]] == [f"cell-{i:02d}" for i in range(len(notebook["cells"]))]
    assert {key for cell in notebook["cells"] for key in cell["metadata"]} <= {"tags", "mystnb"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


def test_executing_again_gives_the_same_bytes_and_leaves_the_book_alone(book, first, toy_chapter):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in book.iterdir()}
    (again,) = chapters.run([toy_chapter])
    assert not again.error
    assert again.target == book.parent / "_build" / "book" / "toy.ipynb"
    assert again.target.read_bytes() == (book / "toy.ipynb").read_bytes()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in book.iterdir()} == before
    assert chapters.differences([again]) == []


def test_a_verdict_that_differs_from_the_stored_one_is_named(book, first, tmp_path, write_chapter):
    chapter = chapters.Chapter(write_chapter(tmp_path / "book", "toy", *toy()))
    stored = (book / "toy.ipynb").read_text()
    chapter.notebook.write_text(stored.replace('"verdict": "fails"', '"verdict": "holds"'))
    computed = chapters.Run(chapter, book / "toy.ipynb", 1.0)
    assert chapters.differences([computed]) == ["toy C2: stored holds, computed fails"]
    chapter.notebook.write_text("{")
    (line,) = chapters.differences([computed])
    assert "book/toy.ipynb" in line


def test_a_failure_leaves_the_stored_notebook_and_keeps_the_partial_one(book, first):
    error = first["broken"].error
    assert "raise ValueError('no such luck')" in error
    assert "ValueError: no such luck" in error
    assert "\x1b[" not in error
    assert (book / "broken.ipynb").read_text() == '{"cells": []}\n'
    partial = cells_of(book.parent / "_build" / "failed" / "broken.ipynb")
    assert any("no such luck" in json.dumps(cell.get("outputs", [])) for cell in partial)
    assert first["broken"].rows == []


def test_other_runs_are_stored_elsewhere(book, first, toy_chapter):
    before = (book / "toy.ipynb").read_bytes()
    (run,) = chapters.run([toy_chapter], seed=7, device="cpu", only=["C1", "C3"])
    assert run.target == book.parent / "_build" / "run" / "toy.ipynb"
    assert [(row["check"], row["measured"]) for row in run.rows] == [("C1", 7.0), ("C3a", 1.0), ("C3b", 2.0)]
    assert verdicts(run.target)["C2"] == "not measured"
    assert (book / "toy.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({}, "_build/book"),
        ({"store": True}, "book"),
        ({"scale": "smoke"}, "_build/check"),
        ({"scale": "full"}, "_build/full"),
        ({"scale": "full", "device": "cuda"}, "_build/full"),
        ({"seed": 1}, "_build/run"),
        ({"device": "cpu"}, "_build/run"),
        ({"only": ["C1"]}, "_build/run"),
    ],
)
def test_where_a_run_is_stored(tmp_path, settings, folder):
    chapter = chapters.Chapter(tmp_path / "book" / "toy.md")
    given = {"scale": "book", "seed": 0, "device": "auto", "only": [], "store": False, **settings}
    assert chapters.folder_of(chapter, *given.values()) == tmp_path / folder


def test_under_torchrun_the_first_process_alone_stores_and_reports(tmp_path, write_chapter):
    write_chapter(tmp_path / "book", "toy", *toy())
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "descentlab"]
    command += ["run", "toy", "--scale", "smoke", "--book", str(tmp_path / "book")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.count("statements of the papers reproduced") == 2 and done.stdout.count("1 of 1 chapters ran") == 1
    )
    for folder in ("check", "rank-1"):
        assert verdicts(tmp_path / "_build" / folder / "toy.ipynb").keys() == {"C1", "C2", "C3a", "C3b"}


@pytest.mark.parametrize("rank", ["0", "1"])
def test_where_a_rank_stores_its_run(tmp_path, monkeypatch, rank):
    monkeypatch.setenv("RANK", rank)
    chapter = chapters.Chapter(tmp_path / "book" / "toy.md")
    folder = chapters.folder_of(chapter, "full", 0, "auto", [])
    assert folder == tmp_path / "_build" / ("rank-1" if rank == "1" else "full")


@pytest.fixture
def site(tmp_path, write_chapter, book, first):
    """A copy of the small book, with its stored and its computed notebook."""
    copy = tmp_path / "book"
    write_chapter(copy, "toy", *toy())
    stored = (book / "toy.ipynb").read_text()
    (copy / "toy.ipynb").write_text(stored)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/page\nchapters:\n- file: book/toy.ipynb\n")
    (tmp_path / "_config.yml").write_text(
        "title: toy\nonly_build_toc_files: true\nexecute: {execute_notebooks: 'off'}\n"
    )
    (copy / "page.md").write_text("# A page\n")
    chapters.replace_text(tmp_path / "_build" / "book" / "toy.ipynb", stored.replace("book 0 auto", "computed"))
    return copy


def test_the_site_shows_what_was_computed_from_the_present_source(site, capsys):
    shown = chapters.site_source(site) / "book" / "toy.ipynb"
    assert "computed" in shown.read_text()
    chapters.site_source(site, stored=True)
    assert shown.read_bytes() == (site / "toy.ipynb").read_bytes()
    site.joinpath("toy.md").write_text(site.joinpath("toy.md").read_text().replace("# toy", "# Another title"))
    chapters.site_source(site)
    assert shown.read_bytes() == (site / "toy.ipynb").read_bytes()


def test_a_picture_that_looks_the_same_is_kept(tmp_path):
    def notebook(corner, size=100):
        pixels = np.full((size, size, 3), 90, dtype=np.uint8)
        pixels[:10, :10] += corner
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, format="png")
        picture = {"image/png": base64.b64encode(packed.getvalue()).decode()}
        cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", picture)])
        return nbformat.v4.new_notebook(cells=[cell])

    def picture(notebook):
        return notebook.cells[0].outputs[0].data["image/png"]

    nbformat.write(notebook(0), tmp_path / "stored.ipynb")
    for new, kept in ((notebook(5), True), (notebook(50), False), (notebook(0, size=99), False)):
        chapters.keep_pictures(new, tmp_path / "stored.ipynb")
        assert (picture(new) == picture(notebook(0))) is kept


def test_stored_verdicts_are_compared(tmp_path, write_chapter, book, first, capsys):
    copy = tmp_path / "book" / "toy.ipynb"
    write_chapter(copy.parent, "toy", *toy())
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "nbval.cfg").write_text("[none]\nregex: @@\nreplace: @\n")
    assert chapters.compare(copy.parent) == 1  # nothing is stored
    assert "0 of 0 stored notebooks compared" in capsys.readouterr().out

    copy.write_text((book / "toy.ipynb").read_text())
    assert chapters.compare(copy.parent) == 0
    assert "1 of 1 stored notebooks compared without a difference" in capsys.readouterr().out
    copy.write_text(copy.read_text().replace("C2   not reproduced ", "C2   reproduced "))
    assert chapters.compare(copy.parent) == 1
    assert "0 of 1 stored notebooks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "asked", "expected"),
    [("C3", "C3", True), ("C3a", "C3", True), ("C3.1", "C3", True), ("C30", "C3", False), ("C3", "C3a", False)],
)
def test_a_claim_covers_its_parts(key, asked, expected):
    assert claims.covers(key, asked) is expected


def test_only_keeps_cells_without_a_claim(tmp_path, write_chapter):
    path = write_chapter(tmp_path, "toy", *toy())
    code = [cell.source for cell in chapters.source(path, ["C3b"]).cells if cell.cell_type == "code"]
    assert any("C3a" in source for source in code)
    assert not any('record("C1"' in source or 'record("C2"' in source for source in code)
    assert any("verdicts()" in source for source in code)


def test_claims_are_known_from_tags_and_declarations(tmp_path, write_chapter, monkeypatch):
    write_chapter(tmp_path, "toy", ("claim-C10", "1"), ("claim-C2", "2"))
    assert chapters.claim_keys(chapters.discover(tmp_path)[0]) == ["C2", "C10"]
    experiments = tmp_path / "experiments" / "toy.py"
    experiments.parent.mkdir()
    experiments.write_text(SETUP.split("ledger =")[0].replace("import os\n", ""))
    assert chapters.claim_keys(chapters.Chapter(tmp_path / "toy.md")) == ["C1", "C2", "C3a", "C3b"]
    assert chapters.experiments_of(chapters.Chapter(tmp_path / "other.md")) is None


def test_a_chapter_may_declare_its_processes(tmp_path, write_chapter):
    write_chapter(tmp_path, "alone", front="descentlab: {processes: 2}\n")
    assert [chapter.processes for chapter in chapters.discover(tmp_path)] == [2]


def test_replacing_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def crash(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        chapters.replace_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_runs_are_recorded_with_their_environment(tmp_path, book, first):
    chapter = chapters.Chapter(tmp_path / "book" / "toy.md")
    path = chapters.record_full(chapters.Run(chapter, book / "toy.ipynb", 12.34), seed=0, device="cpu")
    assert path == tmp_path / "book" / "cpu" / "toy.json"
    stored = json.loads(path.read_text())
    assert {"date", "device", "seconds", "seeds", "torch", "commit", "python"} <= set(stored["environment"])
    assert stored["environment"]["seconds"] == 12.3
    assert stored["measured"] == {"C1": 0.0, "C2": -1.0, "C3a": 1.0, "C3b": 2.0}


def test_times_are_recorded_beside_those_of_other_chapters(tmp_path):
    for name in ("a", "b"):
        chapter = chapters.Chapter(tmp_path / f"{name}.md")
        chapters.record_times([chapters.Run(chapter, chapter.notebook, 1.0)])
    assert set(chapters.runtimes(tmp_path)) == {"a", "b"}


def test_the_engine_imports_nothing_heavy():
    code = "import sys, descentlab.chapters; print({'torch', 'numba', 'papermill', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
