"""What the papers say, what we measured, and the verdict.

A paper's module declares its `Claim` objects; its chapter records a value for each in a `Ledger`, whose rows
travel in the metadata of the notebook's outputs; `collect` reads them back for the ledger page, the front page
and the command line. This module imports the standard library and NumPy only, so that reading the ledger is instant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

VERDICTS = ("reproduced", "not reproduced", "not at this scale", "not measured")
KINDS = ("approx", "at least", "at most", "order", "slope")
MARKS = {"reproduced": "✓", "not reproduced": "✗", "not at this scale": "◐", "not measured": "–"}

Kind = Literal["approx", "at least", "at most", "order", "slope"]


@dataclass(frozen=True)
class Claim:
    """One checkable statement.

    Attributes
    ----------
    key : str
        Number within the paper's list, ``"C3"``; a statement in several parts is ``"C3a"``, ``"C3b"``, …
    says : str
        The statement, in Markdown with ``$math$``.
    where : str
        Theorem, figure or table of the paper; ``"prior: <citation>"`` for earlier work; ``"derived"`` for results
        that are ours.
    kind : {"approx", "at least", "at most", "order", "slope"}
        How a measurement is compared. ``"approx"``: within `tolerance` of `expected`, entry by entry.
        ``"at least"`` and ``"at most"``: a bound, `tolerance` being the slack granted beyond it. ``"order"``:
        `expected` lists names from the smallest value to the largest, the measurement maps names to values, and
        neighbours differ by at least `tolerance`. ``"slope"``: the measurement is a pair ``(x, y)``, whose
        least-squares slope in log-log coordinates is within `tolerance` of `expected`.
    expected : float, sequence of float, or sequence of str
        From the paper, a closed form or an independent computation; never from the code under test.
    tolerance : float
        See `kind`.
    why : str
        Why this tolerance: spread over seeds, a rate, rounding.
    control : str
        The negative control: a wrong variant under which the check fails. The tests run it.
    across : {"every", "mean", "paired"}
        ``"every"``: each entry must meet the bound. For a measurement over seeds, ``"mean"``: the mean must do so with
        three standard errors to spare (a closer call is *not at this scale*); ``"paired"``, for differences between
        runs on the same seeds and batches: every seed must, and where seeds disagree it is *not at this scale*.
    data : str or None
        Name of the data set without which the claim cannot be judged.

    Raises
    ------
    ValueError
        If `kind` or `across` is unknown, `tolerance` is negative, or `expected` does not fit the kind.
    """

    key: str
    says: str
    where: str
    kind: Kind
    expected: float | Sequence[float] | Sequence[str]
    tolerance: float
    why: str
    control: str = ""
    across: Literal["every", "mean", "paired"] = "every"
    data: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.key}: kind={self.kind!r}; allowed are {', '.join(KINDS)}")
        if self.across not in ("every", "mean", "paired"):
            raise ValueError(f"{self.key}: across={self.across!r}; allowed are 'every', 'mean' and 'paired'")
        if not self.tolerance >= 0:
            raise ValueError(f"{self.key}: tolerance={self.tolerance!r} must be a number that is not negative")
        names = isinstance(self.expected, Sequence) and all(isinstance(e, str) for e in self.expected)
        if names != (self.kind == "order"):
            raise ValueError(f"{self.key}: expected={self.expected!r} does not fit kind={self.kind!r}")

    def value(self, measured: Any) -> Any:
        """The measurement as JSON data: a float, a list of floats, or a mapping from names to floats."""
        if self.kind == "order":
            return {str(k): float(v) for k, v in dict(measured).items()}
        if self.kind == "slope" and np.ndim(measured):
            x, y = (np.log(np.asarray(v, dtype=float)) for v in measured)
            return float(np.polyfit(x, y, 1)[0])
        array = np.asarray(measured, dtype=float)
        return array.tolist() if array.ndim else float(array)

    def holds(self, measured: Any) -> bool:
        """Whether a measurement meets the claim; a value that is not finite never does."""
        return self._verdict(self.value(measured)) == "reproduced"

    def _verdict(self, value: Any) -> str:
        if self.kind == "order":
            if set(value) != set(self.expected):  # type: ignore[arg-type]
                raise ValueError(f"{self.key}: measured {sorted(value)}, expected the names {list(self.expected)}")  # type: ignore[arg-type]
            gaps = np.diff([value[name] for name in self.expected])  # type: ignore[union-attr]
            return "reproduced" if np.all(gaps >= max(self.tolerance, np.finfo(float).tiny)) else "not reproduced"
        spare = self._spare(np.asarray(value, dtype=float))
        if not np.all(np.isfinite(spare)) or np.ndim(spare) == 0 or self.across == "every":
            return "reproduced" if np.all(spare >= 0) else "not reproduced"
        if self.across == "paired":
            met = spare >= 0
            return "reproduced" if met.all() else "not at this scale" if met.any() else "not reproduced"
        if spare.mean() < 0:
            return "not reproduced"
        standard_error = spare.std(ddof=1) / math.sqrt(spare.size) if spare.size > 1 else math.inf
        return "reproduced" if spare.mean() >= 3 * standard_error else "not at this scale"

    def _spare(self, value: np.ndarray) -> np.ndarray:
        """By how much each entry meets the claim; negative where it does not, NaN where it is not finite."""
        expected = np.asarray(self.expected, dtype=float)
        value = np.where(np.isfinite(value), value, np.nan)
        if self.kind == "at least":
            return value - expected + self.tolerance
        if self.kind == "at most":
            return expected - value + self.tolerance
        return self.tolerance - np.abs(value - expected)

    def expectation(self) -> str:
        """What is expected, as text: ``"≥ 0.9995"``, ``"0.9735 ± 0.002"``, ``"a < b < c"``."""
        if self.kind == "order":
            return " < ".join(str(name) for name in self.expected)  # type: ignore[union-attr]
        expected = _number(self.expected)
        if self.kind in ("at least", "at most"):
            slack = f" (slack {_number(self.tolerance)})" if self.tolerance else ""
            return f"{'≥' if self.kind == 'at least' else '≤'} {expected}{slack}"
        return f"{'slope ' if self.kind == 'slope' else ''}{expected} ± {_number(self.tolerance)}"


class Ledger:
    """What a chapter measured for the claims of its paper.

    Parameters
    ----------
    chapter : str
        Name of the chapter and of its module.
    claims : iterable of Claim
        The declared claims; keys must differ.
    scale : {"smoke", "book", "full"}
        Scale of the run. At ``"smoke"`` nothing can be refuted: a value that misses reads *not at this scale*.
    data : iterable of str
        Names of the data sets that the run used; printed with the verdicts, since they depend on them.
    """

    def __init__(self, chapter: str, claims: Iterable[Claim], *, scale: str = "book", data: Iterable[str] = ()):
        self.chapter = chapter
        self.claims: dict[str, Claim] = {}
        for claim in claims:
            if claim.key in self.claims:
                raise ValueError(f"{chapter}: claim {claim.key} is declared twice")
            self.claims[claim.key] = claim
        self.scale = scale
        self.data = tuple(data)
        self._entries: dict[str, _Entry] = {}

    def record(self, key: str, measured: Any, *, note: str = "") -> None:
        """Store the measurement for claim `key`; `note` says in a sentence why it misses, where it does."""
        claim = self._claim(key)
        value = claim.value(measured)
        verdict = claim._verdict(value)
        note = note or _needs(verdict)
        if claim.data is not None and claim.data not in self.data:
            verdict, note = "not at this scale", f"needs {claim.data}. {note}".strip()
        elif self.scale == "smoke" and verdict == "not reproduced":
            verdict, note = "not at this scale", "smoke scale"
        self._entries[key] = _Entry(value, verdict, note)

    def not_at_this_scale(self, key: str, *, needs: str) -> None:
        """Say that claim `key` cannot be judged here, and what it needs."""
        self._claim(key)
        self._entries[key] = _Entry(None, "not at this scale", f"needs {needs}")

    def read_recorded(self, key: str, *, folder: str | Path = ".") -> bool:
        """Take claim `key` from a committed long run, ``<folder>/gpu/<chapter>.json`` or ``cpu/``, where there is one.

        Returns whether one was found; the row then shows date, device, seeds and seconds. See `write_recorded`.
        """
        claim = self._claim(key)
        for device in ("gpu", "cpu"):
            path = Path(folder) / device / f"{self.chapter}.json"
            if not path.exists():
                continue
            run = json.loads(path.read_text(encoding="utf-8"))
            if key in run["measured"]:
                value = run["measured"][key]
                verdict = claim._verdict(value)
                self._entries[key] = _Entry(value, verdict, _needs(verdict), recorded=run["environment"])
                return True
        return False

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-ready dict a claim, in the order of declaration."""
        return [self._row(claim, self._entries.get(key, _Entry())) for key, claim in self.claims.items()]

    def verdicts(self) -> str:
        """Claim numbers and verdicts only: the same text on every machine."""
        lines = [f"data: {', '.join(self.data)}"] if self.data else []
        return "\n".join(lines + [f"{row['claim']:<5}{row['verdict']}" for row in self.rows()])

    def _claim(self, key: str) -> Claim:
        if key not in self.claims:
            raise ValueError(f"{self.chapter} declares no claim {key!r}; it has {', '.join(self.claims)}")
        return self.claims[key]

    def _row(self, claim: Claim, entry: _Entry) -> dict[str, Any]:
        return {
            "chapter": self.chapter,
            "claim": claim.key,
            "says": claim.says,
            "where": claim.where,
            "kind": claim.kind,
            "expected": claim.expected if isinstance(claim.expected, (int, float)) else list(claim.expected),
            "expectation": claim.expectation(),
            "tolerance": claim.tolerance,
            "why": claim.why,
            "control": claim.control,
            "measured": entry.value,
            "verdict": entry.verdict,
            "note": entry.note,
            "recorded": entry.recorded,
            "scale": self.scale,
            "command": f"descentlab run {self.chapter} --only {claim.key}",
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        bundle = {"text/markdown": markdown(self.rows()), "text/plain": self.verdicts()}
        return bundle, {"descentlab": {"rows": self.rows(), "data": list(self.data)}}


@dataclass(frozen=True)
class _Entry:
    """What is known of one claim."""

    value: Any = None
    verdict: str = "not measured"
    note: str = ""
    recorded: Mapping[str, Any] | None = field(default=None)


def _needs(verdict: str) -> str:
    """What a measurement that does not decide lacks: it did not decide because its seeds differ too much."""
    return "needs more seeds" if verdict == "not at this scale" else ""


def collect(folder: str | Path) -> list[dict[str, Any]]:
    """Ledger rows stored in the executed notebooks of `folder`, or in one notebook."""
    return [row for stored in _stored(folder) for row in stored["rows"]]


def data_used(folder: str | Path) -> list[str]:
    """Names of the data sets that the executed notebooks of `folder`, or one notebook, used."""
    return sorted({name for stored in _stored(folder) for name in stored["data"]})


def _stored(folder: str | Path) -> list[dict[str, Any]]:
    path = Path(folder)
    found = []
    for notebook in [path] if path.is_file() else sorted(path.glob("*.ipynb")):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            metadata = [output.get("metadata", {}) for output in cell.get("outputs", [])]
            found += [entry["descentlab"] for entry in metadata if "descentlab" in entry]
    return found


def count(rows: Iterable[Mapping[str, Any]]) -> str:
    """The ledger in a sentence: ``"31 of 33 claims reproduced"``, with what became of the others."""
    verdicts = [row["verdict"] for row in rows]
    others = [f"{verdicts.count(v)} {v}" for v in VERDICTS[1:] if v in verdicts]
    return f"{verdicts.count('reproduced')} of {len(verdicts)} claims reproduced" + "".join(f", {o}" for o in others)


def markdown(rows: Iterable[Mapping[str, Any]], *, chapter: bool = False) -> str:
    """A Markdown table of ledger rows; with a column for the chapter, linked, where asked."""
    head = ["Chapter"] * chapter + ["Claim", "Verdict", "Statement", "Where", "Expected", "Measured"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        says = row["says"] + (f" *{row['note'].rstrip('.')}.*" if row["note"] else "")
        cells = [f"[{row['chapter']}]({row['chapter']}.ipynb)"] * chapter + [row["claim"]]
        cells += [
            f"{MARKS[row['verdict']]} {row['verdict']}",
            says,
            row["where"],
            row["expectation"],
            measured_text(row),
        ]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def measured_text(row: Mapping[str, Any]) -> str:
    """The measurement of a row in a few digits, with where and when it was recorded."""
    value, run = row["measured"], row["recorded"]
    if value is None:
        return "–"
    text = ", ".join(f"{k} {_number(v)}" for k, v in value.items()) if isinstance(value, dict) else _number(value)
    return f"{text} (recorded {run['date']}, {run['device']}, {run['seconds']:.0f} s)" if run else text


def _number(value: Any) -> str:
    """Four significant digits; of long lists the range."""
    if isinstance(value, (list, tuple)):
        flat = np.ravel(np.asarray(value, dtype=float))
        if flat.size > 6:
            return f"{_number(flat.min())} … {_number(flat.max())} ({flat.size} values)"
        return ", ".join(_number(v) for v in flat)
    value = float(value)  # a notebook stores NaN as text
    if value != 0 and math.isfinite(value) and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.5g}"


def write_recorded(path: str | Path, rows: Iterable[Mapping[str, Any]], environment: Mapping[str, Any]) -> None:
    """Store the measurements of a long run as ``{"environment": …, "measured": {key: value}}``.

    `environment` holds at least date, device, seconds, seeds, torch and commit. Read back by `Ledger.read_recorded`.
    """
    measured = {row["claim"]: row["measured"] for row in rows if row["measured"] is not None and not row["recorded"]}
    text = json.dumps({"environment": dict(environment), "measured": measured}, indent=1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text + "\n", encoding="utf-8")
