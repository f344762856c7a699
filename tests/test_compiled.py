"""Compiled functions, with a folder for numba's cache and without one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

import descentlab
from descentlab.compiled import njit

CODE = """
import numpy, descentlab.geometry as geometry
assert geometry.__file__.startswith({folder!r}), geometry.__file__
print(geometry.log_slope_logistic(numpy.float64(0.5)))
print(type(geometry.log_slope_logistic._cache).__name__)
"""


@pytest.fixture
def run(tmp_path):
    """Function that imports a copy of the package in another process, its `__pycache__` made by the caller."""
    package = tmp_path / "pkg" / "descentlab"
    package.mkdir(parents=True)
    for module in ("__init__.py", "compiled.py", "geometry.py"):
        shutil.copy(Path(descentlab.__file__).parent / module, package)

    def call(home):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
        environment = kept | {"PYTHONPATH": str(tmp_path / "pkg"), "HOME": str(home), "OMP_NUM_THREADS": "1"}
        code = CODE.format(folder=str(package))
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split()

    return call


@pytest.mark.parametrize("writable", [True, False])
def test_without_a_place_for_the_cache(writable, run, tmp_path):
    """A file in the place of a folder stops everyone, root too, from writing there."""
    if not writable:
        (tmp_path / "home").write_text("")
        (tmp_path / "pkg" / "descentlab" / "__pycache__").write_text("")
    value, cache = run(tmp_path / "home")
    assert float(value) == pytest.approx(-np.log1p(np.exp(0.5)), rel=1e-12)
    assert cache == ("FunctionCache" if writable else "NullCache")


def test_options_reach_numba_and_mistakes_are_not_hidden(monkeypatch):
    @njit(error_model="numpy")
    def inverse(x):
        return 1 / x

    assert inverse(0.0) == np.inf
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "Nowhere")
    with pytest.raises(RuntimeError, match="Nowhere"):
        njit(lambda x: x)
