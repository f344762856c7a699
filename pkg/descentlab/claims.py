"""Statements, the checks that decide them, the controls that must fail, and the ledger of what was measured.

A statement is one sentence, of a paper or ours. Its checks measure something; a control is the same measurement made
with a wrong method, and has to miss. Both are functions of a *study*, an object whose experiments are computed once:

.. code-block:: python

    C4 = statements.statement("C4", "The limit is the l2 direction", "Theorem 3.3", source="paper", saw="1 - cos <= {a}")

    @C4.check("a", at_most=1e-9, shape=(3,), basis="statement", why="a limit, seen after 1e6 steps")
    def gap(study):
        "One minus the cosine to the l2 direction"
        return study.gaps

    @gap.control("all samples in one batch")
    def _(study):
        return study.full_batch_gaps

What a lesson measures travels in the metadata of its notebook's outputs; `collect` reads it back for the ledger page, the
front page and the command line. Imports the standard library and NumPy only, so that reading the ledger is instant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

SOURCES = {"paper": "the paper", "prior": "earlier work", "ours": "derived here"}
BASES = {
    "printed": "a number that the paper prints",
    "statement": "what the sentence itself says",
    "exact": "a closed form, an enumeration or multiprecision",
    "second": "a second implementation of ours: guards the code, decides nothing",
}
KINDS = {"approx": "approx", "at_least": "at least", "at_most": "at most", "order": "order", "slope": "slope"}
VERDICTS = ("reproduced", "not reproduced", "not at this scale", "not measured")
MARKS = {
    "reproduced": "✓",
    "not reproduced": "✗",
    "not at this scale": "◐",
    "not measured": "–",
    "holds": "✓",
    "fails": "✗",
}


class NotAtThisScale(Exception):
    """Raised by a measurement that a run is too small to make; its text says what it would need."""


@dataclass(eq=False)
class Check:
    """A measurement with the value that it should have; made by `Statement.check` or `Statement.in_cells`.

    Attributes
    ----------
    key, says, where : str
        ``"C4a"``; what is measured; theorem, figure or table.
    kind : {"approx", "at least", "at most", "order", "slope"}
        ``"approx"``: within `tolerance` of `expected`, entry by entry. Bounds: `tolerance` is the slack granted beyond.
        ``"order"``: `expected` lists names from the smallest value to the largest, the measurement maps names to values,
        neighbours differ by `tolerance` or more. ``"slope"``: of ``(x, y)`` in log-log coordinates.
    basis : {"printed", "statement", "exact", "second"}
        Where the expected value comes from; `BASES`.
    why : str
        Why this tolerance.
    across : {"every", "mean", "paired"}, optional
        For a measurement over seeds, that is, with axes in front of those of `expected`: each must meet the expectation;
        the mean must, with three standard errors to spare (a closer call is *not at this scale*); each difference of
        runs on the same seeds must, and where seeds disagree it is *not at this scale*.
    shape : tuple of int or None
        Of the measurement; None: any that is not empty.
    paper_value : float or str or None
        What the paper prints, to stand beside ours.
    measure : callable or None
        Function of the study; None where the lesson's own cells measure.
    """

    key: str
    says: str
    where: str
    kind: str
    expected: Any
    tolerance: float
    basis: str
    why: str
    across: str | None = None
    shape: tuple[int, ...] | None = None
    paper_value: float | str | None = None
    measure: Callable[[Any], Any] | None = None
    controls: list[tuple[str, Callable[[Any], Any] | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, allowed in {
            "kind": KINDS.values(),
            "basis": BASES,
            "across": (None, "every", "mean", "paired"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{self.key}: {name}={getattr(self, name)!r}; allowed are {', '.join(map(str, allowed))}"
                )
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"{self.key}: tolerance={self.tolerance!r} must be finite and not negative")
        if not self._expects():
            raise ValueError(f"{self.key}: expected={self.expected!r} does not fit kind={self.kind!r}")
        single = np.ndim(self.expected) == 0 and self.kind != "slope"
        if self.across is not None and not single and (self.kind in ("order", "slope") or self.across != "every"):
            raise ValueError(f"{self.key}: across={self.across!r} needs a single number and a bound or 'approx'")

    def control(self, wrong: str) -> Callable[[Callable[[Any], Any]], None]:
        """Declare what goes wrong in the decorated measurement, which must then miss."""
        return lambda measure: self.controls.append((wrong, measure))

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
            if self.shape is not None and self.kind != "slope" and numbers.shape != self.shape:
                return f"has shape {numbers.shape}, expected {self.shape}"
            inner = numbers.shape[numbers.ndim - len(shape) :]
            may_have_more = (
                self.shape is not None
                or self.across is not None
                or (not shape and self.kind in ("at least", "at most"))
            )
            if inner != shape or (numbers.ndim > len(shape) and not may_have_more):
                return f"has shape {numbers.shape}, expected {shape}"
            if self.across in ("mean", "paired") and numbers.ndim == 0:
                return "is one number, expected one for each seed"
        if np.isfinite(numbers).all():
            return ""
        points = ": a slope needs two points or more, apart, with positive and finite coordinates"
        return "is not finite" + points * (self.kind == "slope")

    def holds(self, measured: Any) -> bool:
        """Whether a measurement meets the check; one that is empty, not finite or of another shape never does."""
        return self.judge(measured)["verdict"] == "holds"

    def judge(self, measured: Any) -> dict[str, Any]:
        """The value with the digits that the check can tell, ``"holds"``, ``"fails"`` or ``"not at this scale"``, and why."""
        value = self.value(measured)
        if fault := self.fault(value):
            return {"measured": value, "verdict": "fails", "note": f"the measurement {fault}"}
        verdict = self._verdict(value)
        note = "needs more seeds" if verdict == "not at this scale" else ""
        return {"measured": self._rounded(value), "verdict": verdict, "note": note}

    def _verdict(self, value: Any) -> str:
        """The verdict on a measurement without fault."""
        spare = self._spare(value)
        met = spare >= 0
        if self.across == "mean":
            with np.errstate(over="ignore", invalid="ignore"):
                mean = spare.mean()
                standard_error = spare.std(ddof=1) / math.sqrt(spare.size) if spare.size > 1 else math.inf
            return "fails" if mean < 0 else "holds" if mean >= 3 * standard_error else "not at this scale"
        if self.across == "paired" and met.any() and not met.all():
            return "not at this scale"
        return "holds" if met.all() else "fails"

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
            return " < ".join(map(str, self.expected))
        if self.kind in ("at least", "at most"):
            slack = f" (slack {number(self.tolerance)})" if self.tolerance else ""
            return f"{'≥' if self.kind == 'at least' else '≤'} {number(self.expected)}{slack}"
        return f"{'slope ' if self.kind == 'slope' else ''}{number(self.expected)} ± {number(self.tolerance)}"


@dataclass(eq=False)
class Statement:
    """One sentence of a paper or of ours.

    Attributes
    ----------
    key : str
        ``"C4"``: the paper's, in the order of the project's list; ``"D2"``: ours.
    says, where : str
        The sentence, in Markdown with ``$math$``; its theorem, figure or table.
    source : {"paper", "prior", "ours"}
        Whose sentence it is.
    saw : str
        What was measured, in words, with ``{a}`` for the number of check a.
    """

    key: str
    says: str
    where: str
    source: str
    saw: str = ""
    checks: list[Check] = field(default_factory=list)

    def check(
        self, letter: str, *, basis: str, why: str, within: float = 0.0, shape: tuple[int, ...] = (), **more: Any
    ) -> Callable[[Callable[[Any], Any]], Check]:
        """Decorate a measurement, whose docstring says what it measures.

        Give exactly one of ``at_least``, ``at_most``, ``approx``, ``slope`` and ``order``; `within` is the tolerance.
        """
        (kind,) = more.keys() & KINDS.keys()
        expected = more.pop(kind)

        def declare(measure: Callable[[Any], Any]) -> Check:
            says = " ".join((measure.__doc__ or "").split())
            where = more.pop("where", self.where)
            return self._add(
                Check(self.key + letter, says, where, KINDS[kind], expected, within, basis, why, shape=shape, measure=measure, **more)
            )  # fmt: skip

        return declare

    def in_cells(
        self, letter: str, says: str, where: str, kind: str, expected: Any, tolerance: float, why: str, *, basis: str,
        control: str, **more: Any,
    ) -> Check:  # fmt: skip
        """Declare a check that the lesson's own cells measure, with `Ledger.record`; its control runs in the tests."""
        check = Check(self.key + letter, says, where, kind, expected, tolerance, basis, why, **more)
        check.controls.append((control, None))
        return self._add(check)

    def _add(self, check: Check) -> Check:
        if any(check.key == other.key for other in self.checks):
            raise ValueError(f"check {check.key} is declared twice")
        self.checks.append(check)
        return check

    def verdict(self, verdicts: Mapping[str, str]) -> str:
        """From the verdicts of the checks that may decide: all hold, one fails, or the run cannot tell.

        A check against a second implementation never decides, nor does one of ours (``where="ours"``) beside a sentence
        that is not: it sharpens it.
        """
        may = [c for c in self.checks if c.basis != "second" and (c.where != "ours" or self.source == "ours")]
        deciding = {verdicts.get(c.key, "not measured") for c in may}
        if "fails" in deciding:
            return "not reproduced"
        if deciding == {"holds"}:
            return "reproduced"
        return "not measured" if deciding == {"not measured"} else "not at this scale"


class Statements:
    """The statements of a paper, in the order of their declaration."""

    def __init__(self, chapter: str):
        self.chapter = chapter
        self.statements: dict[str, Statement] = {}

    def statement(self, key: str, says: str, where: str, *, source: str, saw: str = "") -> Statement:
        """Declare a statement.

        Raises
        ------
        ValueError
            For an unknown source, or a key that is declared already.
        """
        if source not in SOURCES:
            raise ValueError(f"{key}: source={source!r}; allowed are {', '.join(SOURCES)}")
        if key in self.statements:
            raise ValueError(f"{self.chapter}: statement {key} is declared twice")
        self.statements[key] = Statement(key, says, where, source, saw)
        return self.statements[key]

    @property
    def checks(self) -> dict[str, Check]:
        """All checks by their keys."""
        return {check.key: check for statement in self for check in statement.checks}

    def __iter__(self) -> Iterator[Statement]:
        return iter(self.statements.values())


class Ledger:
    """What a run measured for the statements of a paper.

    Parameters
    ----------
    statements : Statements
    scale : {"smoke", "book", "full"}
        Scale of the run. At ``"smoke"`` nothing can be refuted: a value that misses reads *not at this scale*.
    data : iterable of str
        Names of the data sets that the run used.
    """

    def __init__(self, statements: Statements, *, scale: str = "book", data: Iterable[str] = ()):
        self.statements, self.scale, self.data = statements, scale, tuple(data)
        self._entries: dict[str, dict[str, Any]] = {}

    def measure(self, study: Any, *, only: Sequence[str] = ()) -> Ledger:
        """Evaluate the checks that are functions of a study, all or those of `only` (``"C4"`` or ``"C4a"``)."""
        for key, check in self.statements.checks.items():
            if check.measure is not None and (not only or any(covers(key, asked) for asked in only)):
                try:
                    self.record(key, check.measure(study))
                except NotAtThisScale as needs:
                    self.not_at_this_scale(key, needs=str(needs))
                except NotImplementedError:  # of a lesson that is being written: not measured
                    continue
        return self

    def record(self, key: str, measured: Any, *, note: str = "") -> None:
        """Store the measurement for check `key`; `note` says in a sentence why it misses, where it does."""
        entry = self._check(key).judge(measured)
        if self.scale == "smoke" and entry["verdict"] == "fails":
            entry |= {"verdict": "not at this scale", "note": f"smoke scale. {entry['note']}".strip(". ")}
        self._entries[key] = entry | {"note": ". ".join(part for part in (entry["note"], note) if part)}

    def not_at_this_scale(self, key: str, *, needs: str) -> None:
        """Say that check `key` cannot be judged here, and what it needs."""
        self._check(key)
        self._entries[key] = {"verdict": "not at this scale", "note": f"needs {needs}"}

    def read_recorded(self, key: str, *, folder: str | Path = ".") -> bool:
        """Take check `key` from a committed long run, ``<folder>/gpu/<chapter>.json`` or ``cpu/``, where there is one.

        Returns whether one was found; the row then holds date, device, seeds and seconds. See `write_recorded`.
        """
        check = self._check(key)
        for path in (Path(folder, device, f"{self.statements.chapter}.json") for device in ("gpu", "cpu")):
            run = read_json(path) if path.exists() else {"measured": {}, "environment": {}}
            if not all(isinstance(run.get(name), dict) for name in ("environment", "measured")):
                raise ValueError(f"{path}: a recorded run holds 'environment' and 'measured'; restore the file")
            if key in run["measured"]:
                try:
                    self._entries[key] = check.judge(run["measured"][key]) | {"recorded": run["environment"]}
                except ValueError as error:
                    raise ValueError(f"{path}: {error}; restore the file") from error
                return True
        return False

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-ready dict a check, in the order of declaration, with the verdict on its statement."""
        verdicts = {key: entry["verdict"] for key, entry in self._entries.items()}
        return [self._row(s, check, s.verdict(verdicts)) for s in self.statements for check in s.checks]

    def verdicts(self) -> str:
        """Statements with their verdicts, and those of their checks: the same text on every machine."""
        lines = [f"data: {', '.join(self.data)}"] if self.data else []
        for statement, rows in by_statement(self.rows()):
            checks = ", ".join(f"{row['check'].removeprefix(statement['claim'])} {row['verdict']}" for row in rows)
            lines.append(f"{statement['claim']:<5}{statement['claim_verdict']:<18} {checks}")
        return "\n".join(lines)

    def _check(self, key: str) -> Check:
        checks = self.statements.checks
        if key not in checks:
            raise ValueError(f"{self.statements.chapter} declares no check {key!r}; it has {', '.join(checks)}")
        return checks[key]

    def _row(self, statement: Statement, check: Check, verdict: str) -> dict[str, Any]:
        entry = {"measured": None, "verdict": "not measured", "note": "", "recorded": None}
        entry |= self._entries.get(check.key, {})
        return {
            "chapter": self.statements.chapter, "claim": statement.key, "statement": statement.says, "saw": statement.saw,
            "claim_where": statement.where, "source": statement.source, "claim_verdict": verdict,
            "check": check.key, "says": check.says, "where": check.where, "basis": check.basis, "kind": check.kind,
            "expected": check.expected if isinstance(check.expected, (int, float)) else list(check.expected),
            "expectation": check.expectation(), "tolerance": check.tolerance, "why": check.why,
            "control": "; ".join(wrong for wrong, _ in check.controls), "paper_value": check.paper_value,
            **entry, "scale": self.scale,
            "command": f"descentlab run {self.statements.chapter} --only {check.key}",
        }  # fmt: skip

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        rows = self.rows()
        shown = {"text/markdown": page(rows), "text/plain": self.verdicts()}
        return shown, {"descentlab": {"rows": rows, "data": list(self.data)}}


def controls(statements: Statements, study: Any) -> Iterator[tuple[str, str, Any, bool]]:
    """Check, what is wrong, what it measures, and whether it misses as it must: a proper measurement that fails."""
    for check in statements.checks.values():
        for wrong, measure in check.controls:
            if measure is not None:
                measured = measure(study)
                yield check.key, wrong, measured, not check.fault(measured) and not check.holds(measured)


def covers(key: str, asked: str) -> bool:
    """Whether `key` is `asked` or a part of it: ``C3a`` belongs to ``C3``, ``C30`` does not."""
    return key == asked or (key.startswith(asked) and not key[len(asked)].isdigit())


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


# Reading back ---------------------------------------------------------------------------------------------------------


def collect(folder: str | Path) -> list[dict[str, Any]]:
    """Ledger rows stored in the executed notebooks of `folder`, or in one notebook.

    Raises
    ------
    ValueError
        A notebook is damaged; the message names it.
    """
    return [row for stored in _stored(folder) for row in stored["rows"]]


def data_used(folder: str | Path) -> list[str]:
    """Names of the data sets that the executed notebooks of `folder`, or one notebook, used."""
    return sorted({name for stored in _stored(folder) for name in stored["data"]})


def _stored(folder: str | Path) -> list[dict[str, Any]]:
    path, found = Path(folder), []
    for notebook in [path] if path.is_file() else sorted(path.glob("*.ipynb")):
        content = read_json(notebook)
        try:
            outputs = [output for cell in content["cells"] for output in cell.get("outputs", [])]
            here = [o["metadata"]["descentlab"] for o in outputs if "descentlab" in o.get("metadata", {})]
            for entry in here:
                _check_stored(entry)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{notebook}: not a notebook as lessons leave it ({what}); compute it again") from error
        found += here
    return found


def _check_stored(entry: Any) -> None:
    """Raise, as Python does, unless `entry` is what a `Ledger` leaves in an output."""
    if not isinstance(entry["data"], list) or not all(isinstance(name, str) for name in entry["data"]):
        raise TypeError(f"data={entry['data']!r}")
    texts = ["chapter", "claim", "statement", "saw", "claim_where", "check", "says", "where", "expectation", "why"]
    texts += ["control", "note", "scale", "command"]
    words = {"source": SOURCES, "basis": BASES, "kind": KINDS.values(), "verdict": MARKS, "claim_verdict": VERDICTS}
    for row in entry["rows"]:
        wrong = [name for name in texts if not isinstance(row[name], str)]
        wrong += [name for name, allowed in words.items() if row[name] not in allowed]
        wrong += ["recorded"] * (not isinstance(row["recorded"], (dict, type(None))))
        if wrong:
            raise TypeError(f"{', '.join(wrong)} of a row")
        value = row["measured"]
        if value is not None:
            _each(float, value)
            np.asarray(list(value.values()) if isinstance(value, dict) else value, dtype=float)
        float(row["tolerance"])


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; ValueError, which names it, where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of text that is not UTF-8 too
        raise ValueError(f"{path}: not JSON ({error}); restore the file, or compute it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, no JSON object; restore it, or compute it again")
    return content


def write_recorded(path: str | Path, rows: Iterable[Mapping[str, Any]], environment: Mapping[str, Any]) -> None:
    """Store the measurements of a long run as ``{"environment": …, "measured": {key: value}}``.

    `environment` holds at least date, device, seconds, seeds, torch and commit. Read back by `Ledger.read_recorded`.
    """
    measured = {row["check"]: row["measured"] for row in rows if row["measured"] is not None and not row["recorded"]}
    text = json.dumps({"environment": dict(environment), "measured": measured}, indent=1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text + "\n", encoding="utf-8")


# Words ----------------------------------------------------------------------------------------------------------------


def by_statement(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """Rows grouped: for each statement its first row, which stands for it, and all of them."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["chapter"], row["claim"]), []).append(row)
    return [(group[0], group) for group in groups.values()]


def count(rows: Iterable[Mapping[str, Any]]) -> str:
    """The ledger in a sentence: statements of the papers first, the others apart."""
    verdicts: dict[str, list[str]] = {source: [] for source in SOURCES}
    for statement, _ in by_statement(rows):
        verdicts[statement["source"]].append(statement["claim_verdict"])
    parts: list[str] = []
    for words, found in zip(("statements of the papers", "of earlier work", "of ours"), verdicts.values(), strict=True):
        others = [f"{found.count(v)} {v}" for v in VERDICTS[1:] if v in found]
        if found:
            reproduced = f"{found.count('reproduced')} of {len(found)} {words}"
            parts.append(
                reproduced + (" reproduced" if not parts else "") + (f" ({', '.join(others)})" if others else "")
            )
    return "; ".join(parts) or "no statement is stored"


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """Section *What holds* of a lesson, in Markdown: the paper's statements in words, then ours, then, folded, all checks."""
    parts: list[str] = []
    for title, sources in {"The paper says": ("paper", "prior"), "We add": ("ours",)}.items():
        lines = [f"| {title} | We saw | Verdict |", "|---|---|---|"]
        for s, checks in by_statement(rows):
            if s["source"] in sources:
                mark = f"{MARKS[s['claim_verdict']]} {s['claim_verdict']}"
                lines.append(
                    f"| {_cell(s['statement'])} *({_cell(s['claim_where'])})* | {_cell(saw(s, checks))} | {mark} |"
                )
        parts += ["\n".join(lines)] * (len(lines) > 2)
    return "\n\n".join([*parts, f"````{{dropdown}} All {len(rows)} checks\n{details(rows)}\n````"])


def details(rows: Iterable[Mapping[str, Any]]) -> str:
    """All checks as a Markdown table."""
    lines = ["| Check | It measures | Expected | Measured |", "|---|---|---|---|"]
    for row in rows:
        note = f" *{_cell(row['note'].rstrip('.'))}.*" if row["note"] else ""
        role = " (guards the code)" if row["basis"] == "second" else ""
        measured = f"{MARKS[row['verdict']]} {_cell(measured_text(row))}"
        lines.append(
            f"| {row['check']} | {_cell(row['says'])}{note} | {_cell(row['expectation'])}{role} | {measured} |"
        )
    return "\n".join(lines)


def saw(statement: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """What was measured for a statement, in words."""
    if statement["saw"]:
        values = {row["check"].removeprefix(row["claim"]) or "value": measured_text(row) for row in rows}
        return statement["saw"].format(**values)
    deciding = [row for row in rows if row["basis"] != "second" and (row["where"] != "ours" or row["source"] == "ours")]
    if not deciding:
        holding = sum(row["verdict"] == "holds" for row in rows)
        return f"compared with numbers of our own only: {holding} of {len(rows)} checks hold"
    if len(deciding) == 1:
        return f"{deciding[0]['says']}: {measured_text(deciding[0])}"
    return f"{sum(row['verdict'] == 'holds' for row in deciding)} of {len(deciding)} checks hold"


def measured_text(row: Mapping[str, Any]) -> str:
    """The measurement of a row in a few digits."""
    value = row["measured"]
    if isinstance(value, dict):
        return ", ".join(f"{name}: {number(v)}" for name, v in value.items())
    return ("–" if value is None else number(value)) + (" (recorded)" if row["recorded"] else "")


def number(value: Any) -> str:
    """Four significant digits; of long lists the range."""
    if isinstance(value, (list, tuple)):
        flat = np.ravel(np.asarray(value, dtype=float))
        if flat.size > 6:
            return f"{number(flat.min())} … {number(flat.max())} ({flat.size} values)"
        return ", ".join(number(v) for v in flat)
    value = float(value)
    if value != 0 and math.isfinite(value) and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.5g}"


def _cell(text: Any) -> str:
    return escaped(str(text)).replace("|", "\\|")


_SPANS = re.compile(r"\\.|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)|(?P<math>\$(?:\\.|[^$\\])+\$)|[<>]")


def escaped(text: str) -> str:
    """Markdown on one line in which no HTML is left; ``$math$`` and `code` stay as they are."""

    def inert(found: re.Match) -> str:
        if found["math"]:
            return re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", found["math"])  # a tag to readers that see no math there
        return {"<": "&lt;", ">": "&gt;"}.get(found[0], found[0])

    return _SPANS.sub(inert, " ".join(text.split()))
