"""Shared by the tests: small books in a temporary folder."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same examples in every run
settings.load_profile("repeatable")

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
