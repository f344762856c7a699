"""The chapters keep the book's conventions, and the book and its README say what is there."""

import importlib.util
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jupytext
import nbformat
import pytest

import descentlab
from descentlab.chapters import PAPERS, covers, source
from descentlab.claims import VERDICTS, collect

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
PATHS = re.compile(r"(?<![\w.:/])/(?:work|root|home|tmp|Users)/")  # of somebody's machine
SOLUTION = re.compile(
    r"\{solution(?:-start)?\}[^\n]*\n(?:\s*(?::[\w-]+:[^\n]*|---|[\w-]+:[^\n]*)\n)*?\s*:?class:[^\n]*\bdropdown"
)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def notebook(request):
    """A stored notebook; tests that ask for one are skipped where there is none."""
    return Notebook(request.param)


class Notebook:
    def __init__(self, path: Path):
        self.path = path
        self.text = path.with_suffix(".md").read_text(encoding="utf-8")
        self.cells = nbformat.read(path, as_version=4).cells
        self.code = [cell for cell in self.cells if cell.cell_type == "code"]
        self.outputs = [output for cell in self.code for output in cell.outputs]
        self.rows = collect(path)

    def tags(self) -> set[str]:
        return {tag for cell in self.cells for tag in cell.metadata.get("tags", [])}


def parts(cells):
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in cells]


def test_pair_is_in_sync(notebook):
    assert parts(jupytext.read(notebook.path.with_suffix(".md")).cells) == parts(notebook.cells)


def test_the_cells_of_each_claim_run_alone(notebook):
    """As ``descentlab run NAME --only C3`` runs them: what they use, they or the cells without a claim define."""
    keys = {re.sub(r"[a-z]+$", "", key) for key in (row["claim"] for row in notebook.rows)}
    undefined = {}
    for key in sorted(keys):
        cells = source(notebook.path.with_suffix(".md"), [key]).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821", "-"]
        checked = subprocess.run([*command, "--output-format", "json"], input=code, capture_output=True, text=True)
        undefined[key] = [found["message"] for found in json.loads(checked.stdout)]
    assert {key: names for key, names in undefined.items() if names} == {}


def test_every_cell_ran_in_order(notebook):
    assert [cell.execution_count for cell in notebook.code] == list(range(1, len(notebook.code) + 1))


def test_no_error_or_warning_is_stored(notebook):
    assert [o for o in notebook.outputs if o.output_type == "error" or o.get("name") == "stderr"] == []


def test_no_semicolon_ends_a_cell(notebook):
    assert [cell.source for cell in notebook.code if cell.source.rstrip().endswith(";")] == []


def test_is_small(notebook):
    assert max(cell.source.count("\n") + 1 for cell in notebook.code) <= 40
    assert notebook.path.stat().st_size <= 3_000_000


def test_figures_are_described(notebook):
    figures = [cell for cell in notebook.code if any("image/png" in o.get("data", {}) for o in cell.outputs)]
    assert figures
    alts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") for cell in figures]
    assert all(alt.strip() for alt in alts), alts


@pytest.mark.parametrize("tag", ["parameters", "nbval-check-output"])
def test_has_cell_tagged(notebook, tag):
    assert tag in notebook.tags()


@pytest.mark.parametrize(
    "pattern", [r"\{prf:(theorem|proposition|lemma|corollary)", r"\{cite", r"\{exercise", SOLUTION]
)
def test_has_theorem_citation_and_exercise_with_hidden_solution(notebook, pattern):
    assert re.search(pattern, notebook.text)


def test_ledger_has_the_declared_claims(notebook):
    declared = [claim.key for claim in import_module(f"descentlab.{notebook.path.stem}").CLAIMS]
    assert [row["claim"] for row in notebook.rows] == declared


def test_every_claim_has_a_cell_and_a_verdict(notebook):
    tagged = {
        tag.removeprefix("claim-")
        for cell in notebook.code
        for tag in cell.metadata.get("tags", [])
        if tag.startswith("claim-")
    }
    keys = [row["claim"] for row in notebook.rows]
    assert [key for key in keys if not any(covers(key, tag) for tag in tagged)] == []
    assert {row["verdict"] for row in notebook.rows} <= set(VERDICTS) - {"not measured"}


def test_no_path_of_a_machine_is_stored(notebook):
    text = notebook.text + "".join(
        json.dumps(output.get("data", output.get("text", "")))
        for output in notebook.outputs
        if "image/png" not in output.get("data", {})
    )
    assert not PATHS.search(text)


# -- the book ---------------------------------------------------------------------------------------------------------


def test_table_of_contents_names_every_chapter():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert [path.name for path in CHAPTERS if f"book/{path.name}" not in contents] == []


def test_each_paper_module_has_chapter_and_tests():
    modules = [paper.name for paper in PAPERS if paper.name in descentlab.__all__]
    missing = [name for name in modules if not (BOOK / f"{name}.md").exists()]
    if missing and not CHAPTERS:
        pytest.skip("no chapter has been stored")
    assert missing == []
    assert [name for name in modules if not (ROOT / "tests" / f"test_{name}.py").exists()] == []


def test_bibliography_has_each_paper():
    entries = re.findall(r"@\w+\{(\w+),", (BOOK / "references.bib").read_text(encoding="utf-8"))
    assert {paper.name for paper in PAPERS} <= set(entries)
    assert len(entries) == len(set(entries))


def test_package_reference_has_each_module():
    page = (BOOK / "api.md").read_text(encoding="utf-8")
    missing = [name for name in [*descentlab.__all__, "chapters"] if f".. automodule:: descentlab.{name}" not in page]
    assert missing == []


# -- README -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extension():
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("descentlab_book", BOOK / "_ext" / "descentlab_book.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_count_is_current(extension):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- ledger -->{extension.sentence(collect(BOOK))}<!-- /ledger -->" in text


def test_readme_count_is_updated_once(extension, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("Now <!-- ledger -->old<!-- /ledger -->.", encoding="utf-8")
    rows = [{"verdict": "reproduced"}, {"verdict": "not reproduced"}]
    assert extension.update_count(readme, rows)
    assert "-->1 of 2 claims reproduced, 1 not reproduced<!--" in readme.read_text(encoding="utf-8")
    assert not extension.update_count(readme, rows)


def test_readme_example_runs(capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {})
    l2, limit = map(float, capsys.readouterr().out.split())
    assert l2 < limit <= 1
