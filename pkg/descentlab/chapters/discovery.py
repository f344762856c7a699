"""Chapters of a book: where they are, what they claim, what they read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from descentlab import claims, data
from descentlab.chapters.papers import PAPERS, Paper


@dataclass(frozen=True)
class Chapter:
    """A chapter of the book.

    Attributes
    ----------
    source : Path
        The hand-written half, ``book/<name>.md``.
    processes : int
        How many processes the chapter itself starts, from ``descentlab: {processes: 2}`` in its front matter; one
        that starts several runs alone.
    claims : tuple of str
        Claim numbers that its cells are tagged with (``claim-C3``).
    """

    source: Path
    processes: int = 1
    claims: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def notebook(self) -> Path:
        """The stored half of the pair."""
        return self.source.with_suffix(".ipynb")

    @property
    def root(self) -> Path:
        """The folder that holds ``book`` and ``_build``."""
        return self.source.parent.parent

    @property
    def paper(self) -> Paper | None:
        """The paper that the chapter is about, if it is one of the ten."""
        return next((paper for paper in PAPERS if paper.name == self.name), None)


def find_book(start: Path | None = None) -> Path | None:
    """The folder ``book`` of the checkout around `start` (default: here), or of the one this package runs from."""
    start = Path.cwd() if start is None else start
    for root in (start, *start.parents, Path(__file__).resolve().parents[3]):
        if (root / "book").is_dir() and (root / "pkg" / "descentlab").is_dir():
            return root / "book"
    return None


def discover(book: str | Path) -> list[Chapter]:
    """The chapters in `book`, in the order of their papers; a page without a kernel is none."""
    found = []
    for path in sorted(Path(book).resolve().glob("*.md")):
        text = path.read_text(encoding="utf-8")
        front = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
        if front is None or "kernelspec:" not in front[1]:
            continue
        declared = re.search(r"^descentlab:\s*\{?\s*processes:\s*(\d+)", front[1], re.MULTILINE)
        tags = dict.fromkeys(re.findall(r"\bclaim-(\w[\w.]*)", text))
        found.append(Chapter(path, int(declared[1]) if declared else 1, tuple(sorted(tags, key=_natural))))
    order = {paper.name: i for i, paper in enumerate(PAPERS)}
    return sorted(found, key=lambda chapter: order.get(chapter.name, len(order)))


def covers(key: str, asked: str) -> bool:
    """Whether claim `key` is `asked` or a part of it: ``C3a`` belongs to ``C3``, ``C30`` does not."""
    return key == asked or (key.startswith(asked) and not key[len(asked)].isdigit())


def claim_keys(chapter: Chapter) -> list[str]:
    """Claims of a chapter, known without running it: cells' tags, and the stored ledger or else the declarations."""
    if chapter.notebook.exists():
        declared = [row["claim"] for row in claims.collect(chapter.notebook)]
    else:
        declared = [claim.key for claim in in_module(chapter.name, "CLAIMS", ())]
    return sorted({*chapter.claims, *declared}, key=_natural)


def in_module(name: str, attribute: str, default: Any) -> Any:
    """An attribute of the paper's module, if there are both."""
    try:
        return getattr(import_module(f"descentlab.{name}"), attribute, default)
    except ModuleNotFoundError:
        return default


def _natural(key: str) -> list[Any]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|\D+", key)]


def missing_data(chapter: Chapter) -> list[str]:
    """Data sets that the stored notebook used and this machine does not have; texts are small, and fetched at once."""
    used = claims.data_used(chapter.notebook) if chapter.notebook.exists() else []
    return [name for name in used if not (data.fetched(name) if name in data.TEXTS else data.available(name))]


def runtimes(book: Path) -> dict[str, Any]:
    """Recorded times, ``{name: {"seconds": …, "environment": …}}``."""
    path = book / "runtimes.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
