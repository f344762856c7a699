"""The files of a paper that is not written yet, laid out so that the tests pass."""

from __future__ import annotations

import keyword
from pathlib import Path

_MODULE = '''\
r"""NAME: one line on what the paper shows.

Authors: *Title*, venue year, arXiv 0000.00000.

One paragraph, then the update equations, then how the paper's symbols are called here.

.. math:: w \\leftarrow w - \\eta\\, \\nabla L(w)

========================  ================
paper                     here
========================  ================
step size :math:`\\eta`    `learning_rate`
========================  ================
"""

__all__: list[str] = []
'''
_EXPERIMENTS = '''\
"""NAME: the experiments behind the lesson, and the paper's statements with their checks."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from descentlab.claims import Statements


class Study:
    """The experiments at one size; each is computed when it is first asked for, and then kept."""

    def __init__(self, num_steps: int = 1000, *, seed: int = 0):
        self.num_steps, self.seed = num_steps, seed

    @classmethod
    def at(cls, scale: str, seed: int = 0) -> Study:
        """The study of a scale: "smoke" (the smallest honest size), "book" or "full"."""
        return cls({"smoke": 100, "book": 1000, "full": 10_000}[scale], seed=seed)

    @cached_property
    def losses(self) -> np.ndarray:
        """What the experiment gives, shape (num_steps,)."""
        raise NotImplementedError("the experiment is not written yet: its checks are not measured")

    @cached_property
    def wrong_losses(self) -> np.ndarray:
        """The same with a wrong method."""
        return np.ones(self.num_steps)


statements = Statements("NAME")

C1 = statements.statement(
    "C1", "The paper's first sentence, in plain words.", "Theorem 1", source="paper", saw="the last loss is {a}"
)


@C1.check("a", at_most=1e-6, basis="statement", why="a limit; say how far a run of this length should be from it")
def last_loss(study):
    """Loss at the end of the run"""
    return study.losses[-1]


@last_loss.control("a wrong method: say which")
def _(study):
    return study.wrong_losses[-1]
'''
_LESSON = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

(NAME)=
# NAME

:::{admonition} In short
:class: tip
**Question.** … **Answer.** … **Holds exactly:** … **Roughly:** … **Barely:** …

**Needs** …; … minutes to read, … to run. What of the paper was at hand: …
:::

```{code-cell}
:tags: [parameters, hide-input]

scale = "book"  # "smoke" (seconds), "book" (what you see here) or "full"
seed = 0
device = "auto"
```

```{code-cell}
:tags: [hide-input]

from descentlab.claims import Ledger
from experiments import NAME as lab

study = lab.Study.at(scale, seed)
```

A drawing of the idea comes here, in the first screen.

## Build it

## See it

## Why

## On real data

## On your problem

## What holds

```{code-cell}
:tags: [remove-input]

ledger = Ledger(lab.statements, scale=scale).measure(study)
ledger
```

```{code-cell}
:tags: [nbval-check-output, remove-cell]

print(ledger.verdicts())
```

## Exercises

## Further reading
"""
_TEST = '''\
"""NAME: the methods against something independent; checks and controls are tested in test_statements.py."""

from experiments import NAME as lab


def test_statements_are_declared():
    assert [statement.key for statement in lab.statements] == ["C1"]
'''


def new_paper(book: Path, name: str) -> list[Path]:
    """Write module, experiments, lesson and tests of a paper, and add the lesson to the table of contents.

    Parameters
    ----------
    book : Path
        The folder ``book`` of the checkout.
    name : str
        A Python name in lower case, such as ``"sharpness_aware"``.

    Returns
    -------
    list of Path
        The files written or changed, five.

    Raises
    ------
    ValueError
        If the name is no module name, or one of the files is there already.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ValueError(f"NAME={name!r}: a module's name in lower case is needed, such as sharpness_aware")
    root = book.parent
    texts = {
        root / "pkg" / "descentlab" / f"{name}.py": _MODULE,
        book / "experiments" / f"{name}.py": _EXPERIMENTS,
        book / f"{name}.md": _LESSON,
        root / "tests" / f"test_{name}.py": _TEST,
    }
    contents = root / "_toc.yml"
    if taken := [path for path in (*texts, root / "pkg" / "descentlab" / name) if path.exists()]:
        raise ValueError(f"{taken[0].relative_to(root)} is there already; choose another name, or remove it")
    for path, text in texts.items():
        path.write_text(text.replace("NAME", name), encoding="utf-8")
    lines = contents.read_text(encoding="utf-8").splitlines()
    last = max(i for i, line in enumerate(lines) if line.rstrip().endswith(".ipynb"))
    lines.insert(last + 1, lines[last].split("book/")[0] + f"book/{name}.ipynb")
    contents.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*texts, contents]
