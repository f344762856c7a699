"""What the papers say, what we measured, and the verdict.

A paper's module declares its `Claim` objects; its chapter records a value for each in a `Ledger`, whose rows
travel in the metadata of the notebook's outputs; `collect` reads them back for the ledger page, the front page
and the command line. This module imports the standard library and NumPy only, so that reading the ledger is instant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
        least-squares slope in log-log coordinates is within `tolerance` of `expected`, or that slope.
    expected : float, sequence of float, or sequence of str
        From the paper, a closed form or an independent computation; never from the code under test.
    tolerance : float
        See `kind`.
    why : str
        Why this tolerance: spread over seeds, a rate, rounding.
    control : str
        The negative control: a wrong variant under which the check fails. The tests run it.
    across : {"every", "mean", "paired"}, optional
        For a measurement over seeds, that is, with axes in front of those of `expected`. ``"every"``: each seed must
        meet the expectation. ``"mean"``: the mean must do so with three standard errors to spare (a closer call is
        *not at this scale*). ``"paired"``, for differences between runs on the same seeds and batches: every seed must,
        and where seeds disagree it is *not at this scale*.
    data : str or None
        Name of the data set without which the claim cannot be judged.

    Notes
    -----
    A measurement has the shape of `expected`, and the axes that `across` declares; where a single number bounds it, it
    may have any shape, and each entry must meet the bound. What is empty, not finite, or of another shape is *not
    reproduced*, whatever the kind.

    Raises
    ------
    ValueError
        If `kind` or `across` is unknown, `tolerance` is negative or not finite, or `expected` does not fit the kind.
    """

    key: str
    says: str
    where: str
    kind: Kind
    expected: float | Sequence[float] | Sequence[str]
    tolerance: float
    why: str
    control: str = ""
    across: Literal["every", "mean", "paired"] | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.key}: kind={self.kind!r}; allowed are {', '.join(KINDS)}")
        if self.across not in (None, "every", "mean", "paired"):
            raise ValueError(f"{self.key}: across={self.across!r}; allowed are 'every', 'mean', 'paired' and None")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"{self.key}: tolerance={self.tolerance!r} must be finite and not negative")
        if not self._expects():
            raise ValueError(f"{self.key}: expected={self.expected!r} does not fit kind={self.kind!r}")
        single = np.ndim(self.expected) == 0 and self.kind != "slope"
        if self.across is not None and not single and (self.kind in ("order", "slope") or self.across != "every"):
            raise ValueError(f"{self.key}: across={self.across!r} needs a single number and a bound or 'approx'")

    def _expects(self) -> bool:
        """Whether `expected` is what the kind compares with: names, one finite number, or several."""
        if self.kind == "order":
            names: Any = self.expected
            named = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
            return named and len(set(names)) == len(names) > 1
        try:
            numbers = np.asarray(self.expected)
        except ValueError:  # rows of different lengths
            return False
        fits = numbers.dtype.kind in "fiu" and numbers.size > 0 and np.isfinite(numbers).all()
        return bool(fits) and (self.kind != "slope" or numbers.ndim == 0)

    def value(self, measured: Any) -> Any:
        """The measurement as JSON data: a float, a list of floats, or a mapping from names to floats.

        A slope that points do not determine is NaN. ValueError where the measurement does not consist of numbers.
        """
        try:
            if self.kind == "order":
                return {str(k): float(v) for k, v in dict(measured).items()}
            if self.kind == "slope" and not isinstance(measured, (int, float, str)) and np.iterable(measured):
                return _log_log_slope([np.asarray(v, dtype=float) for v in measured])
            if np.iscomplexobj(measured):
                raise TypeError("complex")
            return np.asarray(measured, dtype=float).tolist()
        except (TypeError, ValueError, OverflowError) as error:
            what = "a mapping from names to numbers" if self.kind == "order" else "a number, or numbers in equal rows"
            raise ValueError(f"{self.key}: measured {str(measured)[:80]!r}, which is not {what} ({error})") from error

    def fault(self, measured: Any) -> str:
        """Why no verdict can rest on a measurement (``"is empty"``, ``"is not finite"``); empty where one can."""
        value = self.value(measured)
        if self.kind == "order":
            names: Any = self.expected
            if set(value) != set(names):
                return f"has the names {', '.join(value) or 'of nothing'}, expected {', '.join(names)}"
            numbers = np.array(list(value.values()))
        else:
            numbers, shape = np.asarray(value, dtype=float), np.shape(self.expected)
            if numbers.size == 0:
                return "is empty"
            inner = numbers.shape[numbers.ndim - len(shape) :]
            may_have_more = self.across is not None or (not shape and self.kind in ("at least", "at most"))
            if inner != shape or (numbers.ndim > len(shape) and not may_have_more):
                return f"has shape {numbers.shape}, expected {shape}"
            if self.across in ("mean", "paired") and numbers.ndim == 0:
                return "is one number, expected one for each seed"
        if np.isfinite(numbers).all():
            return ""
        points = ": a slope needs two points or more, apart, with positive and finite coordinates"
        return "is not finite" + points * (self.kind == "slope")

    def holds(self, measured: Any) -> bool:
        """Whether a measurement meets the claim."""
        return not self.fault(measured) and self._verdict(self.value(measured)) == "reproduced"

    def _judge(self, measured: Any, note: str = "") -> _Entry:
        """A measurement with its verdict; beside `note` stands what is wrong with it, or what it lacks."""
        value = self.value(measured)
        if fault := self.fault(value):
            return _Entry(value, "not reproduced", f"the measurement {fault}" + f"; {note}" * bool(note), sound=False)
        verdict = self._verdict(value)
        lacks = "needs more seeds" if verdict == "not at this scale" else ""
        return _Entry(self._rounded(value), verdict, note or lacks)

    def _verdict(self, value: Any) -> str:
        """The verdict on a measurement without fault."""
        spare = self._spare(value)
        met = spare >= 0
        if self.across == "mean":
            with np.errstate(over="ignore", invalid="ignore"):
                mean = spare.mean()
                standard_error = spare.std(ddof=1) / math.sqrt(spare.size) if spare.size > 1 else math.inf
            return "not reproduced" if mean < 0 else "reproduced" if mean >= 3 * standard_error else "not at this scale"
        if self.across == "paired" and met.any() and not met.all():
            return "not at this scale"
        return "reproduced" if met.all() else "not reproduced"

    def _spare(self, value: Any) -> np.ndarray:
        """By how much each entry, or each pair of neighbours in an order, meets the claim; negative where it does not."""
        with np.errstate(over="ignore"):
            if self.kind == "order":
                return np.diff([value[name] for name in self.expected]) - max(self.tolerance, np.finfo(float).tiny)  # type: ignore[union-attr,index]
            distance = np.asarray(value, dtype=float) - np.asarray(self.expected, dtype=float)
            if self.kind == "at least":
                return distance + self.tolerance
            return self.tolerance - (distance if self.kind == "at most" else np.abs(distance))

    def _rounded(self, value: Any) -> Any:
        """The measurement in as many digits as the claim can tell apart, so that rounding errors are not stored.

        To a hundredth of a tolerance around an expectation, beside a bound and in an order to three digits, or to more
        where with these an entry would change sides. Where exactly one value is right, all digits stay.
        """
        near = self.kind in ("approx", "slope")
        if near and self.tolerance == 0:
            return value
        sides, verdict = self._spare(value) >= 0, self._verdict(value)
        decimals = 2 - math.floor(math.log10(self.tolerance)) if near else 3
        for digits in range(decimals, decimals + 15):
            keep = partial(round, ndigits=digits) if near else partial(_significant, digits=digits)
            rounded = _each(keep, value)
            if np.array_equal(self._spare(rounded) >= 0, sides) and self._verdict(rounded) == verdict:
                return rounded
        return value

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
        entry = claim._judge(measured, note)
        if claim.data is not None and claim.data not in self.data:
            entry = replace(entry, verdict="not at this scale", note=f"needs {claim.data}. {entry.note}".strip())
        elif self.scale == "smoke" and entry.verdict == "not reproduced":
            why = "smoke scale" if entry.sound else f"smoke scale: {entry.note}"
            entry = replace(entry, verdict="not at this scale", note=why)
        self._entries[key] = entry

    def not_at_this_scale(self, key: str, *, needs: str) -> None:
        """Say that claim `key` cannot be judged here, and what it needs."""
        self._claim(key)
        self._entries[key] = _Entry(None, "not at this scale", f"needs {needs}")

    def read_recorded(self, key: str, *, folder: str | Path = ".") -> bool:
        """Take claim `key` from a committed long run, ``<folder>/gpu/<chapter>.json`` or ``cpu/``, where there is one.

        Returns whether one was found. ValueError, which names the file, where it is damaged. See `write_recorded`.
        """
        claim = self._claim(key)
        for device in ("gpu", "cpu"):
            path = Path(folder) / device / f"{self.chapter}.json"
            if not path.exists():
                continue
            run = _read_json(path)
            if not all(isinstance(run.get(name), dict) for name in ("environment", "measured")):
                raise ValueError(f"{path}: a recorded run holds 'environment' and 'measured'; restore the file")
            if key in run["measured"]:
                try:
                    entry = claim._judge(run["measured"][key])
                except ValueError as error:
                    raise ValueError(f"{path}: {error}; restore the file") from error
                self._entries[key] = replace(entry, recorded=run["environment"])
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
    recorded: Mapping[str, Any] | None = None
    sound: bool = True  # whether a verdict can rest on the value


def _log_log_slope(points: Sequence[np.ndarray]) -> float:
    """Least-squares slope of log y against log x; NaN where (x, y) do not determine it."""
    if len(points) != 2 or points[0].ndim != 1 or points[0].shape != points[1].shape:
        return math.nan
    if not all(np.all(np.isfinite(v) & (v > 0)) for v in points) or points[0].size == 0:
        return math.nan
    x, y = (np.log(v) - np.log(v).mean() for v in points)
    return float(x @ y / (x @ x)) if np.ptp(x) > 0 else math.nan


def _significant(x: float, digits: int) -> float:
    return float(f"{x:.{digits}g}")


def _each(function: Callable[[float], float], value: Any) -> Any:
    """`function` of each number in nested lists, or in a mapping."""
    if isinstance(value, dict):
        return {name: _each(function, number) for name, number in value.items()}
    return [_each(function, entry) for entry in value] if isinstance(value, list) else function(value) + 0.0  # no -0


def collect(folder: str | Path) -> list[dict[str, Any]]:
    """Ledger rows stored in the executed notebooks of `folder`, or in one notebook.

    ValueError, which names the notebook, where one is damaged.
    """
    return [row for stored in _stored(folder) for row in stored["rows"]]


def data_used(folder: str | Path) -> list[str]:
    """Names of the data sets that the executed notebooks of `folder`, or one notebook, used; errors as `collect`'s."""
    return sorted({name for stored in _stored(folder) for name in stored["data"]})


def _stored(folder: str | Path) -> list[dict[str, Any]]:
    path = Path(folder)
    found: list[dict[str, Any]] = []
    for notebook in [path] if path.is_file() else sorted(path.glob("*.ipynb")):
        content = _read_json(notebook)
        try:
            outputs = [output for cell in content["cells"] for output in cell.get("outputs", [])]
            metadata = [output.get("metadata", {}) for output in outputs]
            entries = [entry["descentlab"] for entry in metadata if "descentlab" in entry]
            for entry in entries:
                _check_stored(entry)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{notebook}: not a notebook as chapters leave it ({what}); compute it again") from error
        found += entries
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of text that is not UTF-8 too
        raise ValueError(f"{path}: not JSON ({error}); restore the file, or compute it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, no JSON object; restore it, or compute it again")
    return content


_COLUMNS: dict[str, Any] = dict.fromkeys(
    ("chapter", "claim", "says", "where", "expectation", "why", "control", "note", "scale", "command"), str
) | {
    "kind": str,
    "verdict": str,
    "expected": (int, float, list),
    "tolerance": (int, float),
    "measured": (int, float, str, list, dict, type(None)),
    "recorded": (dict, type(None)),
}
"""Types of a row's columns."""


def _check_stored(entry: Any) -> None:
    """Raise, as Python does, unless `entry` is what a `Ledger` leaves in an output."""
    if not all(isinstance(name, str) for name in [*entry["data"]]) or not isinstance(entry["data"], list):
        raise TypeError(f"data={entry['data']!r}")
    for row in entry["rows"]:
        wrong = [name for name, kind in _COLUMNS.items() if not isinstance(row[name], kind)]
        if wrong or row["verdict"] not in VERDICTS or row["kind"] not in KINDS:
            raise TypeError(f"{', '.join(wrong) or 'kind or verdict'} of a row")
        value = row["measured"]
        _each(float, value) if value is not None else None
        np.asarray(list(value.values()) if isinstance(value, dict) else value, dtype=float)


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
        lines.append("| " + " | ".join(escaped(str(cell)).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


_SPANS = re.compile(r"\\.|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)|(?P<math>\$(?:\\.|[^$\\])+\$)|[<>]")


def escaped(text: str) -> str:
    """Markdown on one line in which no HTML is left; ``$math$`` and `code` stay as they are."""

    def inert(found: re.Match) -> str:
        if found["math"]:
            return re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", found["math"])  # a tag to readers that see no math there
        return {"<": "&lt;", ">": "&gt;"}.get(found[0], found[0])

    return _SPANS.sub(inert, " ".join(text.split()))


def measured_text(row: Mapping[str, Any]) -> str:
    """The measurement of a row in a few digits, and whether it was recorded."""
    value = row["measured"]
    if value is None:
        return "–"
    text = ", ".join(f"{k} {_number(v)}" for k, v in value.items()) if isinstance(value, dict) else _number(value)
    return (text or "–") + " (recorded)" * bool(row["recorded"])


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
