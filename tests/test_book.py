"""The chapters keep the book's conventions, and the book and its README say what is there."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

import descentlab
from descentlab.chapters import PAPERS, Chapter, discover, experiments_of, source
from descentlab.claims import VERDICTS, Ledger, Statements, collect, covers

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
PATHS = re.compile(r"(?<![\w.:/])/(?:work|root|home|tmp|Users)/")  # of somebody's machine
SOLUTION = re.compile(
    r"\{solution(?:-start)?\}[^\n]*\n(?:\s*(?::[\w-]+:[^\n]*|---|[\w-]+:[^\n]*)\n)*?\s*:?class:[^\n]*\bdropdown"
)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def notebook(request):
    """A stored notebook."""
    return Notebook(request.param)


class Notebook:
    def __init__(self, path: Path):
        self.path = path
        self.chapter = Chapter(path.with_suffix(".md"))
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
    keys = {re.sub(r"[a-z]+$", "", key) for key in (row["check"] for row in notebook.rows)}
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


def test_ledger_has_the_declared_checks(notebook):
    statements = experiments_of(notebook.chapter).statements
    assert [row["check"] for row in notebook.rows] == list(statements.checks)
    assert all(statement.checks for statement in statements)


def test_every_check_is_measured(notebook):
    """By a function of the study, or by a cell that is tagged with it."""
    tags = {tag.removeprefix("claim-") for tag in notebook.tags() if tag.startswith("claim-")}
    in_cells = [check.key for check in experiments_of(notebook.chapter).statements.checks.values() if not check.measure]
    assert [key for key in in_cells if not any(covers(key, tag) for tag in tags)] == []
    assert "not measured" not in {row["verdict"] for row in notebook.rows}
    assert {row["claim_verdict"] for row in notebook.rows} <= set(VERDICTS) - {"not measured"}


def test_no_statement_of_a_paper_is_decided_by_numbers_of_ours(notebook):
    for row in notebook.rows:
        bases = {other["basis"] for other in notebook.rows if other["claim"] == row["claim"]}
        if row["source"] == "paper" and bases == {"second"}:
            assert row["claim_verdict"] == "not at this scale", row["claim"]
        assert row["basis"] != "second" or row["where"] == "ours", row["check"]


def test_no_measurement_is_recorded_twice(notebook):
    vectors = {}
    for row in notebook.rows:
        if isinstance(row["measured"], list) and len({json.dumps(value) for value in row["measured"]}) > 2:
            vectors.setdefault(json.dumps(row["measured"]), []).append(row["check"])
    assert [keys for keys in vectors.values() if len(keys) > 1] == []


def test_no_path_of_a_machine_is_stored(notebook):
    text = notebook.text + "".join(
        json.dumps(output.get("data", output.get("text", "")))
        for output in notebook.outputs
        if "image/png" not in output.get("data", {})
    )
    assert not PATHS.search(text)


# -- the book ---------------------------------------------------------------------------------------------------------


def test_every_chapter_is_stored():
    assert [chapter.name for chapter in discover(BOOK)] == [paper.name for paper in PAPERS]
    assert {path.stem for path in CHAPTERS} == {paper.name for paper in PAPERS}


def test_table_of_contents_names_every_chapter():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert [path.name for path in CHAPTERS if f"book/{path.name}" not in contents] == []


def test_each_paper_module_has_chapter_and_tests():
    modules = [paper.name for paper in PAPERS if paper.name in descentlab.__all__]
    assert [name for name in modules if not (BOOK / f"{name}.md").exists()] == []
    assert [name for name in modules if not (ROOT / "tests" / f"test_{name}.py").exists()] == []


def test_bibliography_has_each_paper():
    entries = re.findall(r"@\w+\{(\w+),", (BOOK / "references.bib").read_text(encoding="utf-8"))
    assert {paper.name for paper in PAPERS} <= set(entries)
    assert len(entries) == len(set(entries))


def test_package_reference_has_each_module():
    page = (BOOK / "api.md").read_text(encoding="utf-8")
    missing = [name for name in [*descentlab.__all__, "chapters"] if f".. automodule:: descentlab.{name}" not in page]
    assert missing == []


# -- what pages are made of -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extension():
    spec = importlib.util.spec_from_file_location("descentlab_book", BOOK / "_ext" / "descentlab_book.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """HTML of a small book with one sound notebook, one damaged one, and what Sphinx complained of."""
    folder = tmp_path_factory.mktemp("small")
    book = folder / "book"
    (book / "cpu").mkdir(parents=True)
    (folder / "conf.py").write_text(
        "extensions = ['myst_parser', 'descentlab_book']\nmyst_enable_extensions = ['dollarmath']\n"
        "root_doc = 'claims'\n"
    )
    (folder / "claims.md").write_text("# Small\n\n```{steadiness}\n```\n\n```{ledger-count}\n```\n\n```{ledger}\n```\n")
    statements = Statements("toy")
    says = "It <script>alert(1)</script> is $a < b$"
    statement = statements.statement("C1", says, "Theorem 1 <i>", source="paper")
    statement.in_cells("", says, "Thm <i>", "at least", 0.0, 0.0, "<b>exact</b>", basis="exact", control="<i>")
    ledger = Ledger(statements)
    ledger.record("C1", 1.0)
    output = {"output_type": "display_data", "data": {}, "metadata": ledger._repr_mimebundle_()[1]}
    cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": "", "outputs": [output]}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (book / "toy.ipynb").write_text(json.dumps(notebook))
    (book / "damaged.ipynb").write_text(json.dumps(notebook)[:-30])
    conditions = [{"name": "two | threads", "how": "threads of <i>", "checks": 7, "moved": ["toy C1"]}]
    (book / "cpu" / "steadiness.json").write_text(json.dumps({"environment": {}, "conditions": conditions}))
    command = [sys.executable, "-m", "sphinx", "-q", str(folder), str(folder / "html")]
    environment = os.environ | {"PYTHONPATH": str(BOOK / "_ext")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "html" / "claims.html").read_text(encoding="utf-8"), done.stderr


def test_a_damaged_notebook_costs_its_rows_and_a_line(pages):
    page, complaints = pages
    assert "1 of 1 statements of the papers reproduced" in page
    assert complaints.count("\n") == 1 and "damaged.ipynb" in complaints, complaints


def test_claims_hold_no_html(pages):
    page, _ = pages
    assert "It &lt;script&gt;alert(1)&lt;/script&gt; is" in page
    assert not re.search(r"<script>alert|Theorem 1 <i>|<b>exact", page)


def test_steadiness_is_a_table(pages):
    cells = re.findall(r"<td><p>(.*?)</p></td>", pages[0])
    assert cells == ["two | threads", "threads of &lt;i&gt;", "7", "toy C1"]


def test_source_links_name_file_and_lines(extension):
    importlib.import_module("descentlab.geometry")
    theme = {"repository_url": "https://host/repository", "repository_branch": "main"}
    link = extension.source_link(theme, {"module": "descentlab.geometry", "fullname": "l2_max_margin"})
    path, first, last = re.fullmatch(r"https://host/repository/blob/main/(\S+)#L(\d+)-L(\d+)", link).groups()
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(first) - 1 : int(last)]
    assert any(line.startswith("def l2_max_margin(") for line in lines) and lines[-1].startswith("    return")
    assert extension.source_link(theme, {"module": "descentlab.claims", "fullname": "VERDICTS"}) is None


# -- README -----------------------------------------------------------------------------------------------------------


def test_readme_count_is_current(extension):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- ledger -->{extension.sentence(collect(BOOK))}<!-- /ledger -->" in text


def test_readme_count_is_updated_once(extension, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("Now <!-- ledger -->old<!-- /ledger -->.", encoding="utf-8")
    verdicts = ("reproduced", "not reproduced")
    rows = [{"chapter": "toy", "claim": v, "source": "paper", "claim_verdict": v} for v in verdicts]
    assert extension.update_count(readme, rows)
    assert "-->1 of 2 statements of the papers reproduced (1 not reproduced)<!--" in readme.read_text(encoding="utf-8")
    assert not extension.update_count(readme, rows)


def test_readme_commands_exist():
    """Whatever follows ``make`` is a target, and whatever follows ``descentlab`` a command."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in (ROOT / "README.md", BOOK / "intro.md"):
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^ {4})make ([a-z]+)", text, re.MULTILINE))
        assert {"render", "book", "test"} <= named <= targets, page
        for command in set(re.findall(r"(?:`|^ {4})descentlab ([a-z]+)", text, re.MULTILINE)):
            assert f"descentlab {command}" in help_of(command), page


def help_of(command):
    done = subprocess.run([sys.executable, "-m", "descentlab", command, "--help"], capture_output=True, text=True)
    return done.stdout


def test_readme_example_runs(capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {})
    l2, limit = map(float, capsys.readouterr().out.split())
    assert l2 < limit <= 1
