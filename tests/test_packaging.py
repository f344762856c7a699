"""The wheel and the source archive: complete, and usable where neither Jupyter nor scikit-learn is installed."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import descentlab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Hides what the book needs and the package must not, as if it were not installed.
BLOCK = """\
import sys
class Block:
    names = {"IPython", "ipykernel", "jupytext", "jupyter_book", "nbformat", "papermill", "sklearn", "sphinx"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import descentlab
assert descentlab.__file__.startswith(sys.argv[1]), descentlab.__file__
"""
USE = """
import importlib, pkgutil
import numpy as np
for module in pkgutil.walk_packages(descentlab.__path__, "descentlab."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
X = np.array([[2.0, 1.0], [1.0, 3.0]])
found = descentlab.geometry.l2_max_margin(X)
assert np.isclose((X @ found.direction).min(), found.margin)
path = descentlab.per_sample_adam.adam(X, num_steps=20)
assert np.isfinite(path.weights).all()
images = descentlab.data.load("fashion-mnist-12k")
assert (len(images.inputs), len(images.test_inputs)) == (10_000, 2_000)
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Names of files in the wheel and in the source archive, and their folder; built without network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return zipfile.ZipFile(wheel).namelist(), archive.getnames(), wheel


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """A folder with nothing but the unpacked wheel."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([*command, str(archives[2])], check=True)
    return target


def run(installed, *arguments):
    """Run Python in an empty folder with the installed package, and none of the checkout, on its path."""
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=installed, env=environment)


def test_archives_hold_what_they_should(archives):
    wheel, sdist, _ = archives
    paths = [path for path in (ROOT / "pkg" / "descentlab").rglob("*") if path.is_file()]
    ours = {path.relative_to(ROOT / "pkg").as_posix() for path in paths if "__pycache__" not in path.parts}
    assert ours == {name for name in wheel if name.startswith("descentlab/")}
    assert {
        "descentlab/py.typed",
        "descentlab/data/fashion-mnist-12k.gz",
        "descentlab/data/shakespeare-small.gz",
    } <= ours
    inside = {name.partition("/")[2] for name in sdist}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "book/intro.md", "tests/test_packaging.py"} <= inside
    assert not [name for name in (*wheel, *sdist) if "__pycache__" in name or name.endswith((".nbc", ".nbi"))]


def test_import_is_light(installed):
    code = BLOCK + "print({'torch', 'numba', 'scipy', 'matplotlib'} & set(sys.modules))"
    done = run(installed, "-c", code, str(installed))
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_every_module_and_method_works_without_jupyter(installed):
    done = run(installed, "-c", BLOCK + USE, str(installed))
    assert done.returncode == 0, done.stderr


def test_the_command_line_outside_a_checkout(installed):
    done = run(installed, "-m", "descentlab", "run", "per_sample_adam")
    assert done.returncode == 2
    assert "source checkout" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run(installed, "-m", "descentlab", "list").returncode == 0


def test_versions_agree():
    assert PROJECT["version"] == descentlab.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf'^version: "?{re.escape(descentlab.__version__)}"?$', citation, re.MULTILINE)


def test_constraints_are_names_and_versions_for_any_platform():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line)] == []
    names = {line.partition("==")[0].lower() for line in lines}
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]
    assert {re.match(r"[\w-]+", needed)[0] for needed in PROJECT["dependencies"]} <= names


@pytest.mark.parametrize("name", descentlab.__all__)
def test_public_modules(name):
    assert name in dir(descentlab)
    assert getattr(descentlab, name).__name__ == f"descentlab.{name}"


def test_unknown_modules():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'; its modules are claims"):
        _ = descentlab.nothing


def test_an_editable_install_finds_the_experiments(tmp_path):
    """From anywhere, as the lessons' cells do on Colab; the wheel has none."""
    code = "from experiments import per_sample_adam as lab; print(lab.statements.chapter, lab.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("per_sample_adam "), done.stderr


def test_the_wheel_has_no_experiments(archives):
    assert not [name for name in archives[0] if name.startswith(("experiments", "book"))]
