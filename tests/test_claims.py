"""The ledger: when a claim holds, what a verdict says, and how rows are stored and read back."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descentlab import claims
from descentlab.claims import Claim, Ledger

finite = st.floats(-1e6, 1e6)


def claim(kind="approx", expected=1.0, tolerance=0.1, key="C1", **more):
    return Claim(key, "It holds", "Thm 1", kind, expected, tolerance, "a reason", **more)


def row(ledger, key="C1"):
    return next(row for row in ledger.rows() if row["claim"] == key)


def verdict(declared, measured, **settings):
    ledger = Ledger("toy", [declared], **settings)
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


def test_order_of_other_names():
    with pytest.raises(ValueError, match=r"C1: measured \['a', 'x'\]"):
        claim("order", ("a", "b")).holds({"a": 1.0, "x": 2.0})


@pytest.mark.parametrize("kind", ["approx", "at least", "at most", "slope"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("across", ["every", "mean", "paired"])
def test_what_is_not_finite_never_holds(kind, value, across):
    assert not claim(kind).holds(value)
    if kind != "slope":
        assert verdict(claim(kind, across=across), [1.0, value, 1.0]) == "not reproduced"


def test_every_entry_must_meet_the_bound():
    assert claim("at least", 1.0, 0.0).holds([1.0, 2.0])
    assert not claim("at least", 1.0, 0.0).holds([0.99, 2.0])
    assert claim("approx", [1.0, 2.0], 0.1).holds([1.05, 1.95])
    assert not claim("approx", [1.0, 2.0], 0.1).holds([1.95, 1.05])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 2.0], "reproduced"),  # mean 2 = 4.9 standard errors
        ([-1.0, 2.0, 3.0, -2.0], "not at this scale"),  # mean 0.5, standard error 1.2
        ([-1.0, -2.0, 0.5, -1.0], "not reproduced"),
        ([5.0], "not at this scale"),  # one seed tells nothing of the spread
    ],
)
def test_a_mean_must_clear_the_bound_by_three_standard_errors(values, expected):
    assert verdict(claim("at least", 0.0, 0.0, across="mean"), values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 2.0], "reproduced"), ([-0.1, 9.0], "not at this scale"), ([-0.1, -9.0], "not reproduced")],
)
def test_where_paired_seeds_disagree_nothing_is_decided(values, expected):
    paired = claim("at least", 0.0, 0.0, across="paired")
    assert verdict(paired, values) == expected
    ledger = Ledger("toy", [paired])
    ledger.record(paired.key, values)
    assert ("more seeds" in row(ledger)["note"]) == (expected == "not at this scale")


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_three_standard_errors(values):
    mean, error = np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
    expected = "not reproduced" if mean < 0 else "reproduced" if mean >= 3 * error else "not at this scale"
    assert verdict(claim("at least", 0.0, 0.0, across="mean"), values) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "about"}, "kind='about'; allowed are approx"),
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
    assert row(Ledger("toy", [claim()]))["verdict"] == "not measured"


def test_smoke_refutes_nothing():
    assert verdict(claim(), 5.0, scale="smoke") == "not at this scale"
    assert verdict(claim(), 1.0, scale="smoke") == "reproduced"
    assert verdict(claim(), 5.0, scale="book") == "not reproduced"


def test_a_claim_bound_to_absent_data():
    bound = claim(data="fashion-mnist")
    ledger = Ledger("toy", [bound], data=["digits"])
    ledger.record("C1", 1.0)
    assert (row(ledger)["verdict"], row(ledger)["note"]) == ("not at this scale", "needs fashion-mnist.")
    assert verdict(bound, 1.0, data=["fashion-mnist"]) == "reproduced"
    assert verdict(bound, 5.0, data=["fashion-mnist"]) == "not reproduced"


def test_not_at_this_scale():
    ledger = Ledger("toy", [claim()])
    ledger.not_at_this_scale("C1", needs="a GPU")
    assert (row(ledger)["verdict"], row(ledger)["note"]) == ("not at this scale", "needs a GPU")


@pytest.mark.parametrize("method", ["record", "not_at_this_scale", "read_recorded"])
def test_unknown_and_repeated_keys(method):
    ledger = Ledger("toy", [claim()])
    arguments = {"record": ((1.0,), {}), "not_at_this_scale": ((), {"needs": "x"}), "read_recorded": ((), {})}
    args, named = arguments[method]
    with pytest.raises(ValueError, match="toy declares no claim 'C2'; it has C1"):
        getattr(ledger, method)("C2", *args, **named)
    with pytest.raises(ValueError, match="C1 is declared twice"):
        Ledger("toy", [claim(), claim()])


def test_verdicts_hold_no_numbers():
    ledger = Ledger("toy", [claim(), claim(key="C10")], data=["digits"])
    ledger.record("C1", 1.0123)
    assert ledger.verdicts() == "data: digits\nC1   reproduced\nC10  not measured"


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
    ledger = Ledger("toy", [declared])
    ledger.record("C1", measured)
    assert json.loads(json.dumps(ledger.rows())) == ledger.rows()


# -- stored and read back -------------------------------------------------------------------------------------------


ENVIRONMENT = {"date": "2026-01-02", "device": "a GPU", "seconds": 3600.0, "seeds": 5, "torch": "2", "commit": "abc"}


def test_recorded_runs(tmp_path):
    long = Ledger("toy", [claim(), claim(key="C2")], scale="full")
    long.record("C1", [1.0, 1.05])
    claims.write_recorded(tmp_path / "gpu" / "toy.json", long.rows(), ENVIRONMENT)

    ledger = Ledger("toy", [claim(), claim(key="C2")])
    assert ledger.read_recorded("C1", folder=tmp_path)
    assert not ledger.read_recorded("C2", folder=tmp_path)  # was not measured
    assert row(ledger)["verdict"] == "reproduced"
    assert row(ledger)["measured"] == [1.0, 1.05]
    assert row(ledger)["recorded"] == ENVIRONMENT
    assert "recorded 2026-01-02, a GPU, 3600 s" in claims.markdown(ledger.rows())

    # what was read is not recorded again as if it had been measured
    claims.write_recorded(tmp_path / "cpu" / "toy.json", ledger.rows(), ENVIRONMENT)
    assert json.loads((tmp_path / "cpu" / "toy.json").read_text())["measured"] == {}


def test_rows_travel_in_the_notebook(tmp_path):
    ledger = Ledger("toy", [claim()], data=["digits"])
    ledger.record("C1", 1.0)
    data, metadata = ledger._repr_mimebundle_()
    assert set(data) == {"text/markdown", "text/plain"}
    notebook = {"cells": [{"outputs": [{"metadata": metadata}, {"text": "no metadata"}]}, {"source": "text"}]}
    (tmp_path / "toy.ipynb").write_text(json.dumps(notebook))
    assert claims.collect(tmp_path) == claims.collect(tmp_path / "toy.ipynb") == ledger.rows()
    assert claims.data_used(tmp_path / "toy.ipynb") == ["digits"]


def test_nothing_stored(tmp_path):
    assert claims.collect(tmp_path) == []
    assert claims.data_used(tmp_path) == []


def test_count():
    ledger = Ledger("toy", [claim(key=f"C{i}") for i in range(4)])
    ledger.record("C0", 1.0)
    ledger.record("C1", 2.0)
    ledger.not_at_this_scale("C2", needs="a GPU")
    text = "1 of 4 claims reproduced, 1 not reproduced, 1 not at this scale, 1 not measured"
    assert claims.count(ledger.rows()) == text
    assert claims.count([]) == "0 of 0 claims reproduced"


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


def test_markdown_table():
    ledger = Ledger("toy", [Claim("C1", r"$|x| < 1$", "Thm 1", "at most", 1.0, 0.0, "exact"), claim(key="C2")])
    ledger.record("C1", np.linspace(0, 0.5, 20), note="on 20 points")
    head, rule, first, second = claims.markdown(ledger.rows(), chapter=True).splitlines()
    assert head.count("|") == rule.count("|") == second.count("|") == 8
    assert first == (
        "| [toy](toy.ipynb) | C1 | ✓ reproduced | $\\|x\\| < 1$ *on 20 points.* | Thm 1 | ≤ 1 | 0 … 0.5 (20 values) |"
    )
    assert second.startswith("| [toy](toy.ipynb) | C2 | – not measured |") and second.endswith("| – |")


def test_claims_import_nothing_heavy():
    code = "import sys, descentlab.claims; print({'torch', 'numba', 'scipy', 'papermill'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
