"""The ledger: when a claim holds, what a verdict says, and how rows are stored and read back."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from descentlab import claims
from descentlab.claims import Check, Ledger, NotAtThisScale, Statements

finite = st.floats(-1e6, 1e6)


def claim(kind="approx", expected=1.0, tolerance=0.1, key="C1", **more):
    return Check(key, "It holds", "Thm 1", kind, expected, tolerance, "statement", "a reason", **more)


def toy(checks, **settings):
    """A ledger over one statement a check."""
    statements = Statements("toy")
    for check in checks:
        statements.statement(check.key, "It holds", "Thm 1", source="paper").checks.append(check)
    return Ledger(statements, **settings)


def row(ledger, key="C1"):
    return next(row for row in ledger.rows() if row["check"] == key)


def verdict(declared, measured, **settings):
    ledger = toy([declared], **settings)
    ledger.record(declared.key, measured)
    return row(ledger, declared.key)["verdict"]


# -- when a claim holds ---------------------------------------------------------------------------------------------


@given(finite, finite, st.floats(0, 10))
def test_bounds_and_nearness(expected, value, tolerance):
    assert claim("at least", expected, tolerance).holds(value) == (value - expected + tolerance >= 0)
    assert claim("at most", expected, tolerance).holds(value) == (expected - value + tolerance >= 0)
    assert claim("approx", expected, tolerance).holds(value) == (abs(value - expected) <= tolerance)


@given(finite, st.floats(0, 10))
def test_at_least_is_at_most_of_the_negative(value, tolerance):
    assert claim("at least", 1.0, tolerance).holds(value) == claim("at most", -1.0, tolerance).holds(-value)


@given(st.floats(-3, 3), st.floats(-5, 5))
def test_slope_of_an_exact_power_law(power, shift):
    x = np.geomspace(1, 1e4, 20)
    y = np.exp(shift) * x**power
    assert claim("slope", power, 1e-8).holds((x, y))
    assert not claim("slope", power + 0.1, 0.05).holds((x, y))


def test_a_slope_may_be_given_as_a_number():
    assert claim("slope", -1.0, 0.1).holds(-1.05)


@pytest.mark.parametrize(
    ("tolerance", "measured", "holds"),
    [
        (0.0, {"a": 1.0, "b": 2.0, "c": 3.0}, True),
        (0.0, {"a": 1.0, "b": 1.0, "c": 3.0}, False),  # a tie is no order
        (1.0, {"c": 3.0, "a": 1.0, "b": 2.0}, True),
        (1.1, {"a": 1.0, "b": 2.0, "c": 4.0}, False),
        (0.0, {"a": 3.0, "b": 2.0, "c": 1.0}, False),
        (0.0, {"a": 1.0, "b": math.nan, "c": 3.0}, False),
    ],
)
def test_order(tolerance, measured, holds):
    assert claim("order", ("a", "b", "c"), tolerance).holds(measured) is holds


BOUNDS = ("at least", "at most")
POINTS = "a slope needs two points or more, apart, with positive and finite coordinates"


@pytest.mark.parametrize(
    ("declared", "measured", "fault"),
    [
        (claim("at least"), [], "is empty"),
        (claim("at most", across="paired"), np.ones((0, 3)), "is empty"),
        (claim("approx", across="every"), [], "is empty"),
        (claim("approx", [1.0, 2.0]), [], "is empty"),
        (claim("slope"), ([], []), f"is not finite: {POINTS}"),
        (claim("order", ("a", "b")), {}, "has the names of nothing, expected a, b"),
        (claim("order", ("a", "b")), {"a": 1.0, "x": 2.0}, "has the names a, x, expected a, b"),
        (claim("order", ("a", "b"), 0.0), {"a": -math.inf, "b": math.inf}, "is not finite"),
        (claim("approx"), [1.0, 1.0], "has shape (2,), expected ()"),
        (claim("approx", [1.0, 1.0]), 1.0, "has shape (), expected (2,)"),
        (claim("approx", [1.0, 1.0]), [[1.0, 1.0]], "has shape (1, 2), expected (2,)"),
        (claim("approx", [1.0, 1.0], across="every"), [[1.0], [1.0]], "has shape (2, 1), expected (2,)"),
        (claim("at least", [0.0, 0.0]), [1.0], "has shape (1,), expected (2,)"),
        (claim("at least", [0.0, 0.0]), 1.0, "has shape (), expected (2,)"),
        (claim("at least", 0.0, across="mean"), 1.0, "is one number, expected one for each seed"),
        (claim("slope"), ([1.0], [1.0]), f"is not finite: {POINTS}"),
        (claim("slope"), ([1.0, 1.0], [1.0, 2.0]), f"is not finite: {POINTS}"),
        (claim("slope"), ([1.0, 2.0], [1.0, 0.0]), f"is not finite: {POINTS}"),
        (claim("slope"), ([1.0, 2.0], [1.0, 2.0, 3.0]), f"is not finite: {POINTS}"),
        (claim("slope"), [1.0, 1.0, 1.0], f"is not finite: {POINTS}"),
        (claim("at most", 1.0), [0.0, -math.inf], "is not finite"),
    ],
)
def test_what_can_decide_nothing_is_not_reproduced_and_says_why(declared, measured, fault):
    assert declared.fault(measured) == fault and not declared.holds(measured)
    ledger = toy([declared])
    ledger.record("C1", measured)
    assert (row(ledger)["verdict"], row(ledger)["note"]) == ("fails", f"the measurement {fault}")
    ledger.record("C1", measured, note="a note")
    assert row(ledger)["note"] == f"the measurement {fault}. a note"
    small = toy([declared], scale="smoke")
    small.record("C1", measured)
    assert (row(small)["verdict"], row(small)["note"]) == ("not at this scale", f"smoke scale. the measurement {fault}")


@pytest.mark.parametrize(
    ("declared", "measured"),
    [
        (claim("at least", 0.0), np.ones((2, 3))),
        (claim("at least", [0.0, 0.0]), [1.0, 1.0]),
        (claim("approx", across="every"), np.ones((3, 5))),
        (claim("approx", [1.0, 2.0], across="every"), [[1.0, 2.0]] * 3),
        (claim("approx", across="every"), 1.0),
    ],
)
def test_what_has_the_declared_shape_can_pass(declared, measured):
    assert declared.holds(measured)


numbers = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0])
shapes = st.one_of(
    numbers, st.lists(numbers, max_size=3), st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=3)
)


@settings(max_examples=1000)
@given(
    st.sampled_from(["approx", *BOUNDS]),
    st.sampled_from([1.0, [1.0], [1.0, 1.0]]),
    st.sampled_from([None, "every", "mean", "paired"]),
    st.floats(0, 1e308),
    shapes,
)
def test_no_false_pass(kind, expected, across, tolerance, measured):
    """Whatever is measured: a pass means that each entry, or the mean, was there, finite, and met the claim."""
    assume(across in (None, "every") or np.ndim(expected) == 0)
    declared = claim(kind, expected, tolerance, across=across)
    if verdict(declared, measured) != "holds":
        return
    found, aim = np.asarray(measured), np.asarray(expected)
    assert found.size and np.isfinite(found).all()
    assert found.shape == aim.shape or (
        (across or kind in BOUNDS) and found.shape[found.ndim - aim.ndim :] == aim.shape
    )
    with np.errstate(over="ignore"):
        away = found - aim
        spare = {"approx": tolerance - abs(away), "at least": away + tolerance, "at most": tolerance - away}[kind]
        assert spare.mean() >= 0 if across == "mean" else (spare >= 0).all()


@given(st.dictionaries(st.sampled_from("abc"), numbers), st.floats(0, 10))
def test_no_false_order(measured, tolerance):
    if verdict(claim("order", ("a", "b"), tolerance), measured) == "holds":
        assert set(measured) == {"a", "b"} and all(map(math.isfinite, measured.values()))
        assert measured["a"] < measured["b"] and measured["b"] - measured["a"] >= tolerance


@example([1.0, 2.0], [1.0, 1.0], 0.0)
@given(st.lists(numbers, max_size=4), st.lists(numbers, max_size=4), st.floats(0, 10))
def test_no_false_slope(x, y, tolerance):
    if claim("slope", 0.0, tolerance).holds((x, y)):
        assert len(x) == len(y) >= 2 and len(set(x)) > 1 and all(0 < v < math.inf for v in x + y)


@pytest.mark.parametrize("measured", ["text", [[1.0], [1.0, 2.0]], 1j, [1j], {"a": 1.0}, 10**400])
@pytest.mark.parametrize("kind", ["approx", "at least"])
def test_what_is_no_number(kind, measured):
    with pytest.raises(ValueError, match=r"C1: measured .* which is not a number"):
        claim(kind).holds(measured)
    with pytest.raises(ValueError, match=r"C1: measured .* which is not a mapping from names"):
        claim("order", ("a", "b")).holds([1.0, 2.0])


# -- what is stored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "measured", "stored"),
    [
        (claim("approx", 1.0, 0.05), 1.0123456, 1.0123),
        (claim("approx", 0.0, 1e-10), -3.1e-15, 0.0),
        (claim("approx", [1.0, 2.0], 0.1), [1.00004, 2.09006], [1.0, 2.09]),
        (claim("approx", 0.0, 0.5), 0.5000000001, 0.5000000001),  # 0.5 would hold
        (claim("approx", 109056.0, 0.0), 109056.0, 109056.0),
        (claim("approx", 109056.0, 0.0), 109057.0, 109057.0),
        (claim("slope", -1.0, 0.1), -0.987654, -0.988),
        (claim("at least", 0.5, 0.0), 12345.678, 12300.0),
        (claim("at least", 1.0, 0.0), 0.9999917, 0.99999),  # 1 would hold
        (claim("at most", 1e-9, 0.0), 2.4456e-15, 2.45e-15),
        (claim("order", ("a", "b"), 0.0), {"a": 0.50001, "b": 0.50002}, {"a": 0.50001, "b": 0.50002}),
        (claim("order", ("a", "b"), 0.0), {"a": 0.50001, "b": 0.7}, {"a": 0.5, "b": 0.7}),
    ],
)
def test_rows_hold_the_digits_that_the_claim_can_tell(declared, measured, stored):
    ledger = toy([declared])
    ledger.record("C1", measured)
    assert row(ledger)["measured"] == stored
    assert row(ledger)["verdict"] == ("holds" if declared.holds(measured) else "fails")


@given(
    st.sampled_from(["approx", *BOUNDS]),
    st.sampled_from([None, "mean", "paired"]),
    st.floats(-2, 2),
    st.sampled_from([0.0, 1e-9, 0.01, 0.3, 5.0]),
    st.lists(st.floats(-3, 3), min_size=1, max_size=5),
)
def test_the_stored_value_has_the_verdict_of_the_measured_one(kind, across, expected, tolerance, measured):
    declared = claim(kind, expected, tolerance, across=across or "every")
    ledger = toy([declared])
    ledger.record("C1", measured)
    assert verdict(declared, row(ledger)["measured"]) == row(ledger)["verdict"] == verdict(declared, measured)


def test_rounding_errors_leave_rows_as_they_are():
    rng = np.random.default_rng(0)
    changed = 0
    for kind, tolerance in (("approx", 0.01), ("at least", 0.0), ("at most", 0.2)):
        for value in rng.normal(1.0, 0.5, size=(200, 3)):
            ledgers = [toy([claim(kind, 1.0, tolerance, across="every")]) for _ in range(2)]
            for ledger, found in zip(ledgers, (value, value * (1 + 1e-12 * rng.normal(size=3))), strict=True):
                ledger.record("C1", found)
            changed += json.dumps(ledgers[0].rows()) != json.dumps(ledgers[1].rows())
    assert changed <= 1


def test_every_entry_must_meet_the_bound():
    assert claim("at least", 1.0, 0.0).holds([1.0, 2.0])
    assert not claim("at least", 1.0, 0.0).holds([0.99, 2.0])
    assert claim("approx", [1.0, 2.0], 0.1).holds([1.05, 1.95])
    assert not claim("approx", [1.0, 2.0], 0.1).holds([1.95, 1.05])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 2.0], "holds"),  # mean 2 = 4.9 standard errors
        ([-1.0, 2.0, 3.0, -2.0], "not at this scale"),  # mean 0.5, standard error 1.2
        ([-1.0, -2.0, 0.5, -1.0], "fails"),
        ([5.0], "not at this scale"),  # one seed tells nothing of the spread
    ],
)
def test_a_mean_must_clear_the_bound_by_three_standard_errors(values, expected):
    assert verdict(claim("at least", 0.0, 0.0, across="mean"), values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 2.0], "holds"), ([-0.1, 9.0], "not at this scale"), ([-0.1, -9.0], "fails")],
)
def test_where_paired_seeds_disagree_nothing_is_decided(values, expected):
    paired = claim("at least", 0.0, 0.0, across="paired")
    assert verdict(paired, values) == expected
    ledger = toy([paired])
    ledger.record(paired.key, values)
    assert ("more seeds" in row(ledger)["note"]) == (expected == "not at this scale")


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_three_standard_errors(values):
    mean, error = np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
    expected = "fails" if mean < 0 else "holds" if mean >= 3 * error else "not at this scale"
    assert verdict(claim("at least", 0.0, 0.0, across="mean"), values) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "about"}, "kind='about'; allowed are approx"),
        ({"tolerance": math.inf}, "tolerance=inf"),
        ({"expected": math.nan}, "expected=nan does not fit"),
        ({"expected": [1.0, math.inf]}, "does not fit"),
        ({"expected": []}, "does not fit"),
        ({"expected": [[1.0], [1.0, 2.0]]}, "does not fit"),
        ({"kind": "slope", "expected": [1.0]}, "does not fit"),
        ({"kind": "order", "expected": ("a",)}, "does not fit"),
        ({"kind": "order", "expected": ("a", "b", "a")}, "does not fit"),
        ({"kind": "order", "expected": ("a", "b"), "across": "every"}, "across='every' needs a single number"),
        ({"expected": [1.0, 2.0], "across": "mean"}, "across='mean' needs a single number"),
        ({"across": "most"}, "across='most'"),
        ({"tolerance": -1.0}, "tolerance=-1.0"),
        ({"tolerance": math.nan}, "tolerance=nan"),
        ({"kind": "order", "expected": 1.0}, "does not fit"),
        ({"kind": "approx", "expected": ("a", "b")}, "does not fit"),
    ],
)
def test_a_claim_that_makes_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        claim(**wrong)


# -- the ledger -----------------------------------------------------------------------------------------------------


def test_without_a_measurement():
    assert row(toy([claim()]))["verdict"] == "not measured"


def test_smoke_refutes_nothing():
    assert verdict(claim(), 5.0, scale="smoke") == "not at this scale"
    assert verdict(claim(), 1.0, scale="smoke") == "holds"
    assert verdict(claim(), 5.0, scale="book") == "fails"


def test_not_at_this_scale():
    ledger = toy([claim()])
    ledger.not_at_this_scale("C1", needs="a GPU")
    assert (row(ledger)["verdict"], row(ledger)["note"]) == ("not at this scale", "needs a GPU")


@pytest.mark.parametrize("method", ["record", "not_at_this_scale", "read_recorded"])
def test_unknown_and_repeated_keys(method):
    ledger = toy([claim()])
    arguments = {"record": ((1.0,), {}), "not_at_this_scale": ((), {"needs": "x"}), "read_recorded": ((), {})}
    args, named = arguments[method]
    with pytest.raises(ValueError, match="toy declares no check 'C2'; it has C1"):
        getattr(ledger, method)("C2", *args, **named)
    with pytest.raises(ValueError, match="C1 is declared twice"):
        toy([claim(), claim()])


def test_verdicts_hold_no_numbers():
    ledger = toy([claim(), claim(key="C10")], data=["digits"])
    ledger.record("C1", 1.0123)
    assert ledger.verdicts() == "data: digits\nC1   reproduced          holds\nC10  not measured        not measured"


@pytest.mark.parametrize(
    ("declared", "measured"),
    [
        (claim(), np.float32(1.0)),
        (claim("at least"), np.ones((2, 3))),
        (claim("order", ("a", "b")), {"a": np.float64(1), "b": 2}),
        (claim("slope", 1.0), (np.arange(1, 5), np.arange(1, 5))),
        (claim("approx", np.array([1.0, 2.0]).tolist()), [1, 2]),
    ],
)
def test_rows_are_json(declared, measured):
    ledger = toy([declared])
    ledger.record("C1", measured)
    assert json.loads(json.dumps(ledger.rows())) == ledger.rows()


# -- stored and read back -------------------------------------------------------------------------------------------


ENVIRONMENT = {"date": "2026-01-02", "device": "a GPU", "seconds": 3600.0, "seeds": 5, "torch": "2", "commit": "abc"}


def test_recorded_runs(tmp_path):
    declared = [claim(across="every"), claim(key="C2")]
    long = toy(declared, scale="full")
    long.record("C1", [1.0, 1.05])
    claims.write_recorded(tmp_path / "gpu" / "toy.json", long.rows(), ENVIRONMENT)

    ledger = toy(declared)
    assert ledger.read_recorded("C1", folder=tmp_path)
    assert not ledger.read_recorded("C2", folder=tmp_path)  # was not measured
    assert row(ledger)["verdict"] == "holds"
    assert row(ledger)["measured"] == [1.0, 1.05]
    assert row(ledger)["recorded"] == ENVIRONMENT
    assert "✓ 1, 1.05 (recorded) |" in claims.details(ledger.rows())

    # what was read is not recorded again as if it had been measured
    claims.write_recorded(tmp_path / "cpu" / "toy.json", ledger.rows(), ENVIRONMENT)
    assert json.loads((tmp_path / "cpu" / "toy.json").read_text())["measured"] == {}


def test_rows_travel_in_the_notebook(tmp_path):
    ledger = toy([claim()], data=["digits"])
    ledger.record("C1", 1.0)
    data, metadata = ledger._repr_mimebundle_()
    assert set(data) == {"text/markdown", "text/plain"}
    notebook = {"cells": [{"outputs": [{"metadata": metadata}, {"text": "no metadata"}]}, {"source": "text"}]}
    (tmp_path / "toy.ipynb").write_text(json.dumps(notebook))
    assert claims.collect(tmp_path) == claims.collect(tmp_path / "toy.ipynb") == ledger.rows()
    assert claims.data_used(tmp_path / "toy.ipynb") == ["digits"]


@pytest.mark.parametrize(
    ("measured", "verdict", "note"),
    [([1.0], "fails", "the measurement has shape (1,), expected ()"), (1.0123456, "holds", "")],
)
def test_what_was_recorded_is_judged_as_what_is_measured(measured, verdict, note, tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "toy.json").write_text(json.dumps({"environment": {}, "measured": {"C1": measured}}))
    ledger = toy([claim()])
    assert ledger.read_recorded("C1", folder=tmp_path)
    assert (row(ledger)["verdict"], row(ledger)["note"]) == (verdict, note)
    assert row(ledger)["measured"] in ([1.0], 1.012)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[1, 2]",
        b"[" * 100_000,
        b'{"measured": {"C1": 1.0}}',
        b'{"environment": {}, "measured": [1]}',
        b'{"environment": {}, "measured": {"C1": "much"}}',
        b'{"environment": {}, "measured": {"C1": {"a": 1}}}',
        b'{"environment": {}, "measured": {"C1": [[1], 2]}}',
        b'{"environment": {}, "measured": {"C1": 1' + b"0" * 400 + b"}}",
    ],
)
def test_damaged_recorded_runs_are_named(content, tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "toy.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"cpu/toy\.json: .*restore"):
        toy([claim()]).read_recorded("C1", folder=tmp_path)


def stored_notebook():
    declared = [claim(), claim("order", ("a", "b"), key="C2"), claim("at least", [1.0, 2.0], key="C3")]
    ledger = toy(declared, data=["digits"])
    for key, value in (("C1", 1.0), ("C2", {"a": 1.0, "b": 2.0}), ("C3", [1.0, math.nan])):
        ledger.record(key, value)
    return {"cells": [{"cell_type": "code", "outputs": [{"metadata": ledger._repr_mimebundle_()[1]}]}]}


def places(value, path=()):
    """Paths to all entries of nested lists and dicts."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def test_damaged_notebooks_are_named(tmp_path):
    """Every entry in turn is removed, or of another type: what is read afterwards can be shown, or the file is named."""
    path, refused = tmp_path / "toy.ipynb", 0
    damages = [(place, new) for place in places(stored_notebook()) for new in ("gone", None, 3, "x", [[]], {"x": []})]
    for place, new in damages:
        notebook = stored_notebook()
        *outer, last = place or (None,)
        inner = notebook
        for key in outer:
            inner = inner[key]
        if not place:
            notebook = new
        elif new == "gone":
            del inner[last]
        else:
            inner[last] = new
        path.write_text(json.dumps(notebook))
        try:
            rows = claims.collect(path)
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)
            with pytest.raises(ValueError, match=r"toy\.ipynb"):
                claims.data_used(tmp_path)
        else:
            assert claims.page(rows) and claims.count(rows)
            assert all(isinstance(name, str) for name in claims.data_used(path))
    assert refused > len(damages) / 2
    for content in (b"", b"\xff\xfe", b"{", b"[" * 100_000, b"[]"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"toy\.ipynb: "):
            claims.collect(tmp_path)


def test_nothing_stored(tmp_path):
    assert claims.collect(tmp_path) == []
    assert claims.data_used(tmp_path) == []


def test_count():
    ledger = toy([claim(key=f"C{i}") for i in range(4)])
    ledger.record("C0", 1.0)
    ledger.record("C1", 2.0)
    ledger.not_at_this_scale("C2", needs="a GPU")
    others = "(1 not reproduced, 1 not at this scale, 1 not measured)"
    assert claims.count(ledger.rows()) == f"1 of 4 statements of the papers reproduced {others}"
    assert claims.count([]) == "no statement is stored"


def test_statements_of_papers_and_ours_are_counted_apart():
    statements = Statements("toy")
    for key, source in {"C1": "paper", "C2": "prior", "D1": "ours", "D2": "ours"}.items():
        statement = statements.statement(key, "It holds", "Thm 1", source=source)
        statement.in_cells("a", "a", "Thm 1", "at most", 1.0, 0.0, "exact", basis="exact", control="x")
    ledger = Ledger(statements)
    for key in ("C1a", "D1a"):
        ledger.record(key, 0.0)
    ledger.record("D2a", 2.0)
    text = "1 of 1 statements of the papers reproduced; 0 of 1 of earlier work (1 not measured); 1 of 2 of ours (1 not reproduced)"
    assert claims.count(ledger.rows()) == text


@pytest.mark.parametrize(
    ("bases", "measured", "expected"),
    [
        (("statement", "exact"), (0.0, 0.0), "reproduced"),
        (("statement", "exact"), (0.0, 2.0), "not reproduced"),
        (("statement", "second"), (0.0, 2.0), "reproduced"),  # guards the code, decides nothing
        (("statement", "second"), (2.0, 0.0), "not reproduced"),
        (("second", "second"), (0.0, 0.0), "not at this scale"),
        (("statement", "exact"), (0.0, None), "not at this scale"),
        (("statement", "exact"), (None, None), "not measured"),
    ],
)
def test_what_decides_a_statement(bases, measured, expected):
    statements = Statements("toy")
    statement = statements.statement("C1", "It holds", "Thm 1", source="paper")
    for letter, basis in zip("ab", bases, strict=True):
        statement.in_cells(letter, "a", "Thm 1", "at most", 1.0, 0.0, "why", basis=basis, control="x")
    statement.in_cells("c", "sharper", "ours", "at most", 1.0, 0.0, "why", basis="exact", control="x")
    ledger = Ledger(statements)
    ledger.record("C1c", 5.0)  # a check of ours beside the paper's sentence
    for letter, value in zip("ab", measured, strict=True):
        if value is not None:
            ledger.record(f"C1{letter}", value)
    assert {r["claim_verdict"] for r in ledger.rows()} == {expected}


def test_checks_that_are_functions_of_a_study():
    statements = Statements("toy")
    statement = statements.statement("C1", "It holds", "Thm 1", source="paper", saw="the gap is {a}")

    @statement.check("a", at_most=0.1, shape=(2,), basis="statement", why="a limit")
    def gap(study):
        """The gap of both runs"""
        return study

    @gap.control("no limit is taken")
    def _(study):
        return [5.0, 5.0]

    @gap.control("one run only")
    def _(study):
        return [5.0]

    @statement.check("b", slope=-1.0, within=0.1, shape=(2, 3), basis="exact", why="the rate")
    def rate(study):
        """The rate"""
        raise NotAtThisScale("a longer run")

    ledger = Ledger(statements).measure([0.0, 0.05])
    assert [r["verdict"] for r in ledger.rows()] == ["holds", "not at this scale"]
    assert "the gap is 0, 0.05" in claims.page(ledger.rows()) and row(ledger, "C1b")["note"] == "needs a longer run"
    assert [misses for *_, misses in claims.controls(statements, [0.0, 0.05])] == [True, False]
    assert row(Ledger(statements).measure([0.0, 0.05], only=["C1b"]), "C1a")["verdict"] == "not measured"
    with pytest.raises(ValueError, match="C1a is declared twice"):
        statement.in_cells("a", "a", "Thm 1", "at most", 1.0, 0.0, "why", basis="exact", control="x")
    with pytest.raises(ValueError, match="basis='printd'"):
        statement.in_cells("c", "a", "Thm 1", "at most", 1.0, 0.0, "why", basis="printd", control="x")
    with pytest.raises(ValueError, match="source='theirs'"):
        statements.statement("C2", "It holds", "Thm 1", source="theirs")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (claim("at least", 0.9995, 0.0), "≥ 0.9995"),
        (claim("at most", 2.0, 0.5), "≤ 2 (slack 0.5)"),
        (claim("approx", 0.9735, 0.002), "0.9735 ± 0.002"),
        (claim("approx", [1.0, 2e-7], 1e-9), "1, 2e-7 ± 1e-9"),
        (claim("slope", -0.5, 0.1), "slope -0.5 ± 0.1"),
        (claim("order", ("a", "b", "c"), 0.0), "a < b < c"),
    ],
)
def test_expectations_as_text(declared, text):
    assert declared.expectation() == text


def test_tables_of_a_page():
    ledger = toy([Check("C1", r"$|x| < 1$", "Thm 1", "at most", 1.0, 0.0, "statement", "exact"), claim(key="C2")])
    ledger.record("C1", np.linspace(0, 0.5, 20), note="on 20 points")
    head, rule, first, second = claims.details(ledger.rows()).splitlines()
    assert head.count("|") == rule.count("|") == second.count("|") == 5
    assert first == "| C1 | $\\|x\\| < 1$ *on 20 points.* | ≤ 1 | ✓ 0 … 0.5 (20 values) |"
    assert second.startswith("| C2 |") and second.endswith("| – – |")
    page = claims.page(ledger.rows())
    assert page.startswith("| The paper says | We saw | Verdict |") and "✓ reproduced" in page
    assert "{dropdown} All 2 checks" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("$a < b$ <b> $c > d$", "$a < b$ &lt;b&gt; $c > d$"),
        ("`a < b` and ``<`>`` <", "`a < b` and ``<`>`` &lt;"),
        (r"\$<b>$", r"\$&lt;b&gt;$"),
        (r"\\<b>", r"\\&lt;b&gt;"),
        ("a $5 <b>", "a $5 &lt;b&gt;"),
        ("$5\n\n<b>", "$5 &lt;b&gt;"),
        ("$1 <b>, $2", r"$1 \lt b>, $2"),
    ],
)
def test_no_html_reaches_a_page(text, shown):
    assert claims.escaped(text) == shown
    ledger = toy([Check("C1", text, text, "at most", 1.0, 0.0, "statement", "exact")])
    ledger.record("C1", 0.0, note=text)
    table = claims.details(ledger.rows())
    assert shown in table and len(table.splitlines()) == 3
    assert "<b>" not in table and "<script" not in table


def test_an_order_is_shown_in_the_table():
    ledger = toy([claim("order", ("<a>", "b"))])
    ledger.record("C1", {"<a>": 1.0, "b": 2.0})
    assert "| &lt;a&gt; &lt; b | ✓ &lt;a&gt;: 1, b: 2 |" in claims.details(ledger.rows())


def test_claims_import_nothing_heavy():
    code = "import sys, descentlab.claims; print({'torch', 'numba', 'scipy', 'papermill'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
