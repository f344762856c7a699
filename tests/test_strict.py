"""DESCENTLAB_STRICT=1: a skip that nobody expects makes a run of the tests fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
EXPECTED = "could not import 'torchvision': No module named 'torchvision'"


@pytest.fixture
def run(tmp_path):
    """Function that runs pytest on a small test file; `strict` is the value of the variable."""

    def run(text, *options, strict="1"):
        shutil.copy(CONFTEST, tmp_path)
        (tmp_path / "test_small.py").write_text(f"import pytest\n\n{text}\n")
        (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
        environment = os.environ | {"DESCENTLAB_STRICT": strict, "PYTEST_ADDOPTS": ""}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


SKIPS = {
    "call": "def test_small(): pytest.skip('no browser')",
    "mark": "@pytest.mark.skipif(True, reason='no browser')\ndef test_small(): pass",
    "fixture": "@pytest.fixture\ndef f(): pytest.skip('no browser')\ndef test_small(f): pass",
    "file": "pytest.skip('no browser', allow_module_level=True)",
}


@pytest.mark.parametrize(("how", "workers"), [*((how, "-n0") for how in SKIPS), ("call", "-n2"), ("file", "-n2")])
def test_an_unexpected_skip_is_a_failure(run, how, workers):
    done = run(SKIPS[how], workers)
    assert done.returncode == 1, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("test_small.py") and "no browser" in line]
    assert len(lines) == 1 and lines[0].endswith(": no browser")


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        (SKIPS["call"], "0"),
        (SKIPS["call"], ""),
        (f"def test_small(): pytest.skip({EXPECTED!r})", "1"),
        ("def test_small(): pass", "1"),
        ("@pytest.mark.xfail(reason='known')\ndef test_small(): assert False", "1"),
    ],
)
def test_other_runs_pass(run, text, strict):
    done = run(text, strict=strict)
    assert done.returncode == 0, done.stdout
    assert "DESCENTLAB_STRICT" not in done.stdout


def test_a_failure_keeps_its_code(run):
    assert run(SKIPS["call"] + "\ndef test_third(): assert False").returncode == 1
