"""The command line: what it prints, and how it exits."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from descentlab import __version__, chapters, claims, data
from descentlab.__main__ import main, plain

LEDGER = """\
from descentlab.claims import Ledger, Statements
statements = Statements("weak_to_strong")
for key in ("C1", "C2"):
    statement = statements.statement(key, "It *holds*", "Thm 1", source="paper")
    statement.in_cells("", "How well", "Thm 1", "at least", 0.0, 0.0, "exact", basis="exact", control="less")
ledger = Ledger(statements)
ledger.record("C1", 1.0)
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory, write_chapter):
    book = tmp_path_factory.mktemp("checkout") / "book"
    cells = ("x", LEDGER), ("claim-C2", 'ledger.record("C2", -1.0)'), ("x", "ledger")
    write_chapter(book, "weak_to_strong", *cells)
    write_chapter(book, "broken", ("x", "1 / 0"))
    return book


@pytest.fixture
def command(book, capsys):
    """Function that runs a command on the small book and returns exit code, output and complaints."""

    def run(name, *arguments):
        code = main([name, "--book", str(book), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def stored(book):
    """The exit code of a run over all chapters, which stores the one that works."""
    return main(["run", "--book", str(book), "--all", "--store", "--record-time"])


def test_a_failing_chapter_does_not_stop_the_others(stored, book):
    assert stored == 1
    assert (book / "weak_to_strong.ipynb").exists()
    assert not (book / "broken.ipynb").exists()
    assert set(chapters.runtimes(book)) == {"weak_to_strong"}


def test_only_prints_the_rows_asked_for(stored, command):
    code, out, _ = command("run", "weak_to_strong", "--only", "C2")
    assert code == 0
    assert "not reproduced" in out
    assert "0 of 1 statements of the papers reproduced (1 not reproduced)" in out
    assert "  C1 " not in out


def test_ledger_is_pure_json(stored, command):
    code, out, err = command("ledger", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    wanted = {"chapter", "claim", "check", "says", "where", "source", "basis", "kind", "expected", "tolerance"}
    wanted |= {"measured", "paper_value", "verdict", "claim_verdict"}
    assert all(wanted <= set(row) for row in rows)
    assert [(row["claim"], row["verdict"]) for row in rows] == [("C1", "holds"), ("C2", "fails")]


def test_ledger_as_a_table(stored, command):
    code, out, _ = command("ledger", "weak_to_strong")
    assert code == 0
    assert "C1   reproduced: It *holds* (Thm 1)" in out
    assert out.endswith("1 of 2 statements of the papers reproduced (1 not reproduced)\n")


def test_a_run_says_whether_verdicts_are_as_stored(stored, command, book):
    notebook = book / "weak_to_strong.ipynb"
    before = notebook.read_text()
    code, out, _ = command("run", "weak_to_strong")
    assert code == 0
    assert "Verdicts as stored." in out
    notebook.write_text(before.replace('"verdict": "fails"', '"verdict": "holds"'))
    try:
        code, out, _ = command("run", "weak_to_strong")
        assert code == 0
        assert "weak_to_strong C2: stored holds, computed fails\n" in out
        assert "as stored" not in out
    finally:
        notebook.write_text(before)


def test_fetch_says_where_a_data_set_is(monkeypatch, command, tmp_path):
    monkeypatch.setattr(data, "fetch", lambda name: tmp_path / name, raising=False)
    assert command("fetch", "cifar10") == (0, f"{tmp_path / 'cifar10'}\n", "")


def test_list_names_all_papers(stored, command):
    code, out, _ = command("list")
    assert code == 0
    assert all(paper.name in out and paper.arxiv in out for paper in chapters.PAPERS)
    assert "1 of 2" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], ["name a chapter, or --all", "weak_to_strong"]),
        (["run", "weak_to_stron"], ["did you mean weak_to_strong?", "broken"]),
        (["run", "sgmcmc"], ["not written yet"]),
        (["run", "--all", "--scale", "smok"], ["did you mean smoke?", "smoke, book, full"]),
        (["run", "--all", "--device", "gpu"], ["auto, cpu, cuda"]),
        (["run", "--all", "--device", "mps"], ["float64"]),
        (["run", "--all", "--seed", "x"], ["whole number"]),
        (["run", "--all", "--jobs", "0"], ["from 1 on"]),
        (["run", "weak_to_strong", "--only", "C9"], ["no statement or check 'C9'", "C1, C2"]),
        (["run", "--all", "--scale", "smoke", "--record-time"], ["--record-time"]),
        (["run", "--all", "--seed", "1", "--store"], ["--store"]),
        (["compare", "nothing"], ["no chapter 'nothing'"]),
        (["ledger", "nothing"], ["no chapter 'nothing'"]),
    ],
)
def test_a_wrong_command_gets_one_line(stored, command, arguments, words):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(word in err for word in words)


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"$\beta_1^2 \ge 10^{-3}$", "β₁² ≥ 10⁻³"),
        (r"the $\tfrac12\sqrt{m/d}$", "the ½√(m/d)"),
        (r"$\frac{G^2}{L}(1 + \frac{L}{2\mu nK})^n$", "G²/L(1 + L/(2μ nK))ⁿ"),
        (r"$\lVert w_\infty - w_*\rVert$ and $C_\text{inc}$", "‖ w_∞ - w_*‖ and C_inc"),
        (r"$\hat w_2 \in \{A_{i+1}, \mathrm{diag}(\Lambda)\}$", "ŵ₂ ∈ {Aᵢ₊₁, diag(Λ)}"),
        (r"$\left\lfloor \log_2 \varepsilon \right\rfloor^{a_b}$, x_1", "⌊ log₂ ε ⌋^(a_b), x_1"),
        ("$a_{b", "$a_{b"),
        ("$a_{b}^$", "a_b"),
    ],
)
def test_formulas_are_readable(tex, text):
    assert unicodedata.normalize("NFC", plain(tex)) == text


def test_no_formula_of_a_stored_row_is_left_as_it_is():
    rows = claims.collect(Path(__file__).parents[1] / "book")
    texts = [plain(row[key]) for row in rows for key in ("says", "where", "note")]
    assert len(texts) > 1000
    assert [text for text in texts if set(text) & set("\\$")] == []


def test_outside_a_checkout(monkeypatch, capsys):
    monkeypatch.setattr(chapters, "find_book", lambda: None)
    assert main(["run", "per_sample_adam"]) == 2
    captured = capsys.readouterr()
    assert "source checkout" in captured.err
    assert "git clone" in captured.err
    assert captured.err.count("\n") == 1
    assert main(["list"]) == 0


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["ledger", "--help"], ["list", "--help"]])
def test_help_teaches(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: descentlab" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"descentlab {__version__}\n"


def test_reading_commands_import_nothing_heavy(book):
    code = f"""
import sys
from descentlab.__main__ import main
main(["list", "--book", {str(book)!r}]); main(["ledger", "--json", "--book", {str(book)!r}])
print({{"torch", "numba", "papermill", "scipy"}} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
