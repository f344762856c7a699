"""What may happen to a command: signals, dead processes, damaged files, poor surroundings."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from descentlab import chapters, claims
from descentlab.__main__ import main

COMMAND = [sys.executable, "-m", "descentlab"]
# Says that it runs, with a process of its own beside it, and never ends.
ENDLESS = """\
import os, pathlib, subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
mark = pathlib.Path("marks") / str(os.getpid())
mark.with_suffix(".tmp").write_text(f"{os.getppid()} {os.getpid()} {helper.pid}")
mark.with_suffix(".tmp").rename(mark)
time.sleep(600)
"""
LEDGER = """\
from descentlab.claims import Ledger, Statements
statements = Statements("sgmcmc")
C1 = statements.statement("C1", r"$\\beta_1^2 \\ge 1$", "Thm 1", source="paper")
C1.in_cells("", r"$\\beta_1^2$", "Thm 1", "at least", 0.0, 0.0, "exact", basis="exact", control="less")
ledger = Ledger(statements)
ledger.record("C1", 1.0)
ledger
"""


def until(true, seconds=20):
    """Wait for an event that another process brings about."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def book(tmp_path, write_chapter):
    """A book with a chapter that never ends and one that works; and what the first one writes."""
    book = tmp_path / "a checkout" / "book"
    write_chapter(book, "weak_to_strong", ("x", ENDLESS))
    write_chapter(book, "sgmcmc", ("x", LEDGER))
    (book / "marks").mkdir()
    return book


@pytest.fixture
def started(book):
    """Function that starts ``descentlab run`` in the background, and ends what is left of it."""
    commands = []

    def start(*arguments):
        command = [*COMMAND, "run", "--book", str(book), *arguments]
        commands.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return commands[-1]

    yield start
    for command in commands:
        for process in (
            [*psutil.Process(command.pid).children(recursive=True), command] if command.poll() is None else []
        ):
            process.kill()
        command.communicate()


def mark(book):
    """Numbers of the worker, the kernel and its helper, as soon as the endless chapter runs."""
    path = until(lambda: [path for path in (book / "marks").iterdir() if not path.suffix])[0]
    pids = [int(word) for word in path.read_text().split()]
    path.unlink()
    return pids


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_signal_ends_everything(book, started, number, code):
    command = started("weak_to_strong")
    pids = mark(book)
    command.send_signal(number)
    assert command.wait(5) == code
    until(lambda: not any(map(lives, pids)), seconds=5)
    err = command.stderr.read().splitlines()
    assert err[0] == "0 of 1 chapters"
    assert len(err) == (1 if number == signal.SIGKILL else 2)
    before = files(book.parent)
    assert not (book.parent / "_build" / "book" / "weak_to_strong.ipynb").exists()
    assert main(["run", "--book", str(book), "sgmcmc"]) == 0  # the next run
    after = files(book.parent)
    assert {path.name for path in after if after[path] != before.get(path)} == {"sgmcmc.ipynb"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_while_processes_start(book, started, number):
    command = started("--all")
    children = until(lambda: psutil.Process(command.pid).children())
    command.send_signal(number)
    assert command.wait(5) != 0
    until(lambda: not any(lives(child.pid) for child in children), seconds=5)
    until(
        lambda: not any(lives(int(pid)) for path in (book / "marks").iterdir() for pid in path.read_text().split()), 5
    )


def test_a_killed_worker_costs_its_own_chapter(book, started):
    command = started("--all", "--jobs", "1")  # the other chapter comes after it
    worker, *others = mark(book)
    os.kill(worker, signal.SIGKILL)
    out, err = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "died (signal 9)" in out and "Failed: weak_to_strong." in out and "1 of 2 chapters ran" in out
    assert "Traceback" not in err
    until(lambda: not any(map(lives, others)), seconds=5)
    assert (book.parent / "_build" / "book" / "sgmcmc.ipynb").exists()


def test_a_killed_kernel_costs_its_own_chapter(book, started):
    command = started("--all")
    os.kill(mark(book)[1], signal.SIGKILL)
    out, _ = command.communicate(timeout=30)
    assert "DeadKernelError" in out and "Failed: weak_to_strong." in out and "1 of 2 chapters ran" in out


# -- damaged files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory, write_chapter):
    """A book with a stored chapter and one whose notebook a test may damage."""
    book = tmp_path_factory.mktemp("damaged") / "book"
    write_chapter(book, "sgmcmc", ("x", LEDGER))
    assert main(["run", "--book", str(book), "--all", "--store", "--record-time"]) == 0
    write_chapter(book, "weak_to_strong", ("x", LEDGER.replace("sgmcmc", "weak_to_strong")))
    (book / "page.md").write_text("# A page\n")
    toc = "format: jb-book\nroot: book/page\nchapters:\n- file: book/sgmcmc.ipynb\n- file: book/weak_to_strong.ipynb\n"
    (book.parent / "_toc.yml").write_text(toc)
    config = 'title: toy\nonly_build_toc_files: true\nexecute: {execute_notebooks: "off"}\n'
    (book.parent / "_config.yml").write_text(config)
    return book


def damaged(stored, how):
    text = (stored / "sgmcmc.ipynb").read_text(encoding="utf-8")
    return {
        "empty": b"",
        "cut": text[: len(text) // 2].encode(),
        "binary": b"\xff\xfe\x00" + text.encode(),
        "a list": b"[]",
        "a cell that is none": b'{"cells": [3]}',
        "a row without a verdict": text.replace('"verdict"', '"verdikt"').encode(),
        "a verdict that is none": text.replace('"verdict": "holds"', '"verdict": ["yes"]').encode(),
        "rows that are none": text.replace('"rows": [', '"rows": 3, "raws": [').encode(),
    }[how]


HOW = ["empty", "cut", "binary", "a list", "a cell that is none", "a row without a verdict"]
HOW += ["a verdict that is none", "rows that are none"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_notebook_costs_a_line_and_its_chapter(stored, how, capsys):
    (stored / "weak_to_strong.ipynb").write_bytes(damaged(stored, how))
    assert main(["list", "--book", str(stored)]) == 1
    captured = capsys.readouterr()
    assert "1 of 1" in captured.out
    assert captured.err.count("\n") == 1 and "weak_to_strong.ipynb" in captured.err

    assert main(["ledger", "--json", "--book", str(stored)]) == 1
    captured = capsys.readouterr()
    assert [row["chapter"] for row in json.loads(captured.out)] == ["sgmcmc"]
    assert captured.err.count("\n") == 1 and "weak_to_strong.ipynb" in captured.err

    copy = chapters.site_source(stored)
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "weak_to_strong.ipynb" in captured.err
    assert claims.collect(copy / "book" / "weak_to_strong.ipynb") == []
    assert len(claims.collect(copy / "book" / "sgmcmc.ipynb")) == 1


def test_a_run_mends_a_damaged_notebook(stored, capsys):
    (stored / "weak_to_strong.ipynb").write_bytes(b"{")
    assert main(["run", "--book", str(stored), "weak_to_strong", "--only", "C1"]) == 0
    capsys.readouterr()
    assert main(["run", "--book", str(stored), "--all"]) == 0
    assert "book/weak_to_strong.ipynb" in capsys.readouterr().out
    assert main(["run", "--book", str(stored), "weak_to_strong", "--store"]) == 0
    assert main(["ledger", "--book", str(stored), "weak_to_strong"]) == 0


def test_compare_names_a_damaged_notebook(stored, capsys):
    tests = stored.parent / "tests"
    tests.mkdir(exist_ok=True)
    (tests / "nbval.cfg").write_text("[none]\nregex: @@\nreplace: @\n")
    (stored / "weak_to_strong.ipynb").write_bytes(b"{")
    assert main(["compare", "--book", str(stored)]) == 1
    out = capsys.readouterr().out
    assert "weak_to_strong.ipynb" in out and "1 of 2 stored notebooks compared" in out


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"sgmcmc": 3}', b'{"sgmcmc": {"seconds": "x"}}'])
def test_damaged_run_times_cost_a_line(stored, content, capsys):
    path = stored / "runtimes.json"
    good = path.read_bytes()
    (stored / "weak_to_strong.ipynb").unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        for command, code in (["list"], 1), (["run", "sgmcmc", "--record-time"], 2):
            assert main([*command, "--book", str(stored)]) == code
            err = capsys.readouterr().err
            assert err.count("\n") == 1 and "book/runtimes.json" in err
        copy = chapters.site_source(stored)
        assert chapters.runtimes(copy / "book") == {}
        assert "book/runtimes.json" in capsys.readouterr().err
    finally:
        path.write_bytes(good)


def test_a_damaged_source_costs_its_chapter(stored, write_chapter, capsys):
    path = write_chapter(stored, "incremental_gd", ("x", "1"))
    path.write_bytes(path.read_bytes() + b"\xff\xfe")
    try:
        assert main(["run", "--book", str(stored), "--all", "--scale", "smoke"]) == 1
        captured = capsys.readouterr()
        assert "book/incremental_gd.md" in captured.out and "Failed: incremental_gd." in captured.out
        assert "Traceback" not in captured.out + captured.err
        assert main(["list", "--book", str(stored)]) == 0
    finally:
        path.unlink()


def test_an_interrupted_build_does_not_break_the_next(stored, capfd):
    (stored / "weak_to_strong.ipynb").unlink(missing_ok=True)  # a page without results: no reason to fail
    assert main(["build", "--stored", "--book", str(stored)]) == 0
    html = stored.parent / "_build" / "html"
    assert "reproduced" in (html / "book" / "sgmcmc.html").read_text(encoding="utf-8")
    (html / "searchindex.js").write_text("cut off")
    environment = stored.parent / "_build" / ".doctrees" / "environment.pickle"
    environment.write_bytes(environment.read_bytes()[:100])
    capfd.readouterr()
    assert main(["build", "--stored", "--book", str(stored)]) == 0
    assert "couldn't be loaded" not in "".join(capfd.readouterr())
    assert "sgmcmc" in (html / "searchindex.js").read_text(encoding="utf-8")


# -- poor surroundings ------------------------------------------------------------------------------------------------


def run(book, *arguments, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in ("LANG", "LC_ALL")}
    for key, value in variables.items():
        environment.pop(key, None)
        if value is not None:
            environment[key] = value
    command = [*COMMAND, *arguments, "--book", str(book)]
    return subprocess.run(command, capture_output=True, env=environment, timeout=60)


def test_an_ascii_terminal(stored):
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = run(stored, "ledger", "sgmcmc", **ascii_only)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"reproduced: beta_1^2 >= 1 (Thm 1)" in done.stdout
    assert run(stored, "run", "sgmcmc", **ascii_only).returncode == 0


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_no_home_and_no_git(stored, home, tmp_path):
    path = Path(sys.executable).parent
    done = run(stored, "run", "sgmcmc", "--scale", "full", HOME=home, PATH=str(path))
    assert done.returncode == 0, done.stderr.decode()
    recorded = json.loads((stored / "cpu" / "sgmcmc.json").read_text())
    assert recorded["measured"] == {"C1": 1.0}
    assert recorded["environment"]["commit"] == "unknown"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("x.json: line 1"), "x.json: line 1"),
        (KeyError("cells"), "KeyError: 'cells'"),
        (FileNotFoundError(2, "No such file", "x.json"), "x.json"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"), "bad byte"),
    ],
)
def test_whatever_a_file_leads_to_is_one_line(stored, error, words, monkeypatch, capsys):
    def fail(book):
        raise error

    monkeypatch.setattr(chapters, "discover", fail)
    assert main(["ledger", "--book", str(stored)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("descentlab: ") and words in err and err.count("\n") == 1
