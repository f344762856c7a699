"""Shared by the tests: small books in a temporary folder, real images where this machine has some, strictness.

With DESCENTLAB_STRICT=1 a skipped test is a failure of the run, unless EXPECTED_SKIPS says why it may be.
"""

import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same examples in every run
settings.load_profile("repeatable")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would children

EXPECTED_SKIPS = {  # how the reason of a skip begins: why a machine that has everything may skip
    "needs ../shared/data/cifar10-jpeg.npz": "colour images lie beside a checkout, not in it; made ones are tested too",
    "could not import 'torchvision'": "a public package to compare with, of the group bench",
}

FRONT = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst, format_version: 0.13}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
PARAMETERS = """
```{code-cell}
:tags: [parameters]

scale = "book"
seed = 0
device = "auto"
```
"""


@pytest.fixture(scope="session")
def write_chapter():
    """Function that writes a chapter: ``write_chapter(book, name, *cells, front="")``; a cell is (tags, code)."""

    def write(book: Path, name: str, *cells: tuple[str, str], front: str = "") -> Path:
        text = FRONT.replace("kernelspec", f"{front}kernelspec") + f"\n# {name}\n" + PARAMETERS
        for tags, code in cells:
            text += f"\n```{{code-cell}}\n:tags: [{tags}]\n\n{code}\n```\n"
        path = book / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def real_images():
    """Function ``real_images(split, chosen)``: colour images, uint8 of shape (n, 32, 32, 3), and their labels."""
    from PIL import Image

    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10-jpeg.npz"
    if not path.exists():
        pytest.skip("needs ../shared/data/cifar10-jpeg.npz")
    packed = np.load(path)

    def read(split: str, chosen) -> tuple[np.ndarray, np.ndarray]:
        """`chosen` is a slice, or a function from all labels to a mask."""
        labels, ends = packed[f"{split}_labels"], packed[f"{split}_ends"]
        stream, starts = packed[f"{split}_jpeg"].tobytes(), np.concatenate([[0], ends[:-1]])
        rows = np.arange(len(labels))[chosen] if isinstance(chosen, slice) else np.flatnonzero(chosen(labels))
        decoded = [Image.open(io.BytesIO(stream[starts[i] : ends[i]])).convert("RGB") for i in rows]
        return np.stack([np.asarray(image) for image in decoded]), labels[rows]

    return read


@pytest.fixture
def cifar10(real_images, tmp_path, monkeypatch):
    """Function ``cifar10(train, test)`` that puts so many real images where `data.load` finds them."""

    def write(train: int, test: int) -> None:
        made = {}
        for split, count in (("train", train), ("test", test)):
            made[f"{split}_images"], made[f"{split}_labels"] = real_images(split, slice(count))
        np.savez(tmp_path / "cifar10.npz", **made)
        monkeypatch.setenv("DESCENTLAB_DATA", str(tmp_path))

    return write


# -- strictness -------------------------------------------------------------------------------------------------------


def pytest_configure(config):
    if os.environ.get("DESCENTLAB_STRICT") == "1" and not hasattr(config, "workerinput"):  # not in the workers of xdist
        config.pluginmanager.register(NoUnexpectedSkip())


class NoUnexpectedSkip:
    """Lists the skips that nobody expects, and makes the run fail if there are any."""

    def __init__(self):
        self.found: dict[str, None] = {}  # where and why, once each, in order

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if not reason.startswith(tuple(EXPECTED_SKIPS)):
                self.found[f"{report.nodeid}: {reason}"] = None

    pytest_collectreport = pytest_runtest_logreport

    def pytest_terminal_summary(self, terminalreporter):
        if self.found:
            terminalreporter.section("skipped, which is a failure where DESCENTLAB_STRICT=1", red=True)
            for line in self.found:
                terminalreporter.line(line)

    def pytest_sessionfinish(self, session, exitstatus):
        if self.found and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
