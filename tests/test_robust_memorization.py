"""The constructions against brute force, formulas and other verifiers; every claim against a wrong variant."""

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from experiments import robust_memorization as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import robust_memorization as reference

from descentlab import data
from descentlab import robust_memorization as rm

X, Y = lab.gaussian_data(24, 6)
MLP = lab.train_mlp(X, Y, width=8, num_steps=20, hidden=12)
METHODS = ("small", "bits", "moderate", "lift", "sequential")
RADII = {"small": 1e-3, "bits": 1e-3, "moderate": 0.02, "lift": 0.9, "sequential": 0.9}


@cache
def built(method, **arguments):
    return rm.memorize(X, Y, rho=RADII[method], method=method, **arguments)


@cache
def without_projection(method):
    return rm.memorize(X, Y, rho=RADII[method], method=method, projection=np.eye(6))


def pairs(network):
    return [(layer.weight, layer.bias) for layer in rm.from_torch(network)]


# -- definitions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [1, 1.5, 2, np.inf])
def test_separation_is_half_the_smallest_distance_of_foes(norm):
    assert rm.separation(X, Y, norm=norm) == pytest.approx(reference.separation(X, Y, norm), rel=1e-12)


def test_parameters_are_all_entries():
    assert rm.parameter_count(MLP) == sum(p.numel() for p in MLP.parameters()) == 7 * 8 + 9 * 12 + 13
    network = built("small")
    assert network.num_parameters == sum(p.numel() for p in network.network.parameters())
    nonzero = sum(int((p != 0).sum()) for p in network.network.parameters())
    assert rm.parameter_count(network.network, nonzero=True) == nonzero < network.num_parameters
    widths = [layer.out_features for layer in network.network[::2]]
    assert (network.depth, network.width) == (len(widths), max(widths[:-1]))


def test_bounds_are_the_papers_table():
    n, d = 1000, 64
    assert rm.upper_bound(n, d, 1e-6) == pytest.approx(math.sqrt(n))
    assert rm.upper_bound(n, d, 0.01) == pytest.approx(n * d**0.25 * 0.1)
    assert rm.upper_bound(n, d, 0.5) == pytest.approx(n * d**2 / 16)
    assert [rm.upper_bound(n, d, r, source="prior") for r in (0.1, 0.4, 0.9)] == [n, n * d**3 * 0.4**6, n * d**2]
    assert rm.upper_bound(n, d, 0.5, source="lift") == (16 + 1) * (d + n)
    assert rm.lower_bound(n, d, 0.6) == pytest.approx((0.36 * d + 1) * d + math.sqrt(n) / 0.8)
    assert rm.lower_bound(n, d, 0.9999, term="vc") == pytest.approx(math.sqrt(n * d))
    assert rm.lower_bound(n, d, 0.999, source="prior") == pytest.approx(math.sqrt(n * d) + d)
    for bad in ({"rho": 1.0}, {"n": 0}, {"source": "ours"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            rm.upper_bound(**{"n": n, "d": d, "rho": 0.5, **bad})


# -- parts ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 15), st.floats(0, 0.999)), min_size=3, max_size=3), st.floats(0.01, 0.3))
def test_floor_is_exact_off_the_ramps_and_the_guard_tells(numbers, ramp):
    x = np.array([[k + t for k, t in numbers]])
    program = rm.Program(3)
    (z,) = program.relu(program.units)
    weights = np.array([1, 16, 256])
    key, alarm, _, _ = rm.floor_key(program, z, num_bits=4, ramp=ramp, weights=weights, guard=True)
    (value, told) = (rm.evaluate(program.finish(e), x)[0, 0] for e in (key, alarm))
    whole, part = np.floor(x[0]), x[0] - np.floor(x[0])
    assert told >= 0
    inside = (part < ramp - 1e-9) & (part > 1e-9) & (whole > 0)
    if inside.any():
        assert told >= 1 - 1e-6
    if np.all((part >= ramp + 1e-9) | (whole == 0)):
        assert value == whole @ weights
    if np.all((part >= 2 * ramp + 1e-9) & (part <= 1 - ramp - 1e-9)):
        assert told == 0


def test_papers_floor_and_its_refusals():
    x = np.array([[0.5], [1.2], [6.9], [7.07]])
    np.testing.assert_allclose(rm.evaluate(rm.floor_network(3, 1 / 16), x)[:, 0], [0, 1, 6, 7], atol=1e-12)
    for bad in ({"num_bits": 0, "ramp": 0.1}, {"num_bits": 3, "ramp": 1.0}):
        with pytest.raises(ValueError, match=r"num_bits=0|ramp=1\.0"):
            rm.floor_network(**bad)


@given(st.dictionaries(st.integers(0, 40), st.integers(-5, 5).filter(bool), min_size=1, max_size=12))
def test_hats_have_the_values_and_vanish_at_other_integers(values):
    kinks, changes = rm.hat_kinks(values)
    for x in range(-2, 45):
        assert int((changes * np.maximum(x - kinks, 0)).sum()) == values.get(x, 0)


@given(
    st.dictionaries(st.integers(0, 10**6), st.integers(1, 5), min_size=1, max_size=20),
    st.integers(1, 7),
    st.integers(0, 10**6),
)
@settings(max_examples=30)
def test_bit_extraction_is_a_dictionary(values, group_size, other):
    layers = rm.lookup_layers(values, rm.Words(20, 3, group_size))
    inputs = np.array([*values, other], dtype=object)[:, None]
    assert rm.evaluate(layers, inputs)[:, 0].tolist() == [*values.values(), values.get(other, 0)]
    assert max(len(layer.bias) for layer in layers) <= 7


def test_bit_extraction_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="do not fit 3 bits"):
        rm.lookup_layers({9: 1}, rm.Words(3, 1, 1))
    with pytest.raises(ValueError, match="between 1 and 1"):
        rm.lookup_layers({5: 2}, rm.Words(3, 1, 1))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.integers(1, 8))
def test_squares_are_overestimated_by_what_is_said(t, levels):
    program = rm.Program(2)
    total, kept = rm.sum_of_squares(program, program.units, levels=levels, keep_t=True)
    value = rm.evaluate(program.finish(total), [t])[0, 0] - np.square(t).sum()
    assert -1e-12 <= value <= 2 * 4.0 ** (-levels - 1) + 1e-12
    np.testing.assert_allclose(rm.evaluate(program.finish(kept), [t])[0], t, atol=1e-15)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_lattice_stays_away(numbers):
    Z = np.array(numbers)[:, None]
    translation, gap = rm.lattice_translation(Z)
    shifted = Z - translation
    assert gap[0] >= 1 / len(Z) - 1e-12
    assert np.abs(shifted - np.round(shifted)).min() >= gap[0] / 2 - 1e-9


# -- memorizers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_ball_is_proved_and_lines_find_nothing(method):
    network = built(method)
    assert network.regime == method and np.array_equal(network(X), Y)
    certificate = network.certificate
    assert certificate and np.array_equal(certificate.lower, Y) and np.array_equal(certificate.upper, Y)
    if method != "bits":
        assert lab.search(network).worst == 0
    assert {type(module) for module in network.network} == {torch.nn.Linear, torch.nn.ReLU}
    assert all(p.dtype == torch.float64 for p in network.network.parameters())


@given(st.integers(0, 10**6), st.integers(4, 14), st.integers(1, 5), st.floats(0.05, 0.97))
@settings(max_examples=25, deadline=None)
def test_lifts_of_random_data_are_robust(seed, num, dim, rho):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((num, dim)) * 10.0 ** rng.integers(-3, 4)
    labels = rng.integers(-3, 3, num)
    labels[:2] = (-9, 40)
    network = rm.memorize(points, labels, rho=rho)
    assert network.certificate
    assert lab.search(network, num_random=1).worst <= 1e-9


def test_lift_is_its_formula():
    network = rm.memorize(X, Y, rho=0.8, method="lift", projection=np.eye(6))
    steps = lab.uniform_ball(np.random.default_rng(0), 200, 6) * 1.5 * rm.separation(X, Y)
    inputs = X[np.arange(200) % 24] + steps
    low, high = X.min(axis=0), X.max(axis=0)
    inside = inputs[np.all((inputs > low) & (inputs < high), axis=1)]
    formula = [reference.lift_output(X, Y, x, radius=network.radius, num_levels=network.plan.levels) for x in inside]
    assert len(inside) > 50 and len(set(np.round(formula, 3))) > 5
    np.testing.assert_allclose(network(inside), formula, atol=1e-8)


def test_counts_follow_the_formulas():
    for dim, points, levels in ((6, X, None), (3, X[:, :3], 1)):
        plan = rm.memorize(points, Y, rho=0.5, method="lift", projection=np.eye(dim)).plan
        plan = plan if levels is None else replace(plan, levels=levels)
        assert rm.count(plan.layers()) == plan.count()


def test_scale_and_order_of_labels_do_not_matter():
    one = rm.memorize(X, Y, rho=0.7, method="lift")
    for c in (1e-6, 1e6):
        other = rm.memorize(c * X, Y, rho=0.7, method="lift")
        assert other.num_parameters == one.num_parameters
        np.testing.assert_allclose(other(c * (X + 0.01)), one(X + 0.01), atol=1e-6)
    for method in METHODS:
        labels = np.array([100, -7, 3])[Y - 1]
        network = rm.memorize(X, labels, rho=RADII[method], method=method)
        assert network.certificate and np.array_equal(network(X), labels)


def test_auto_takes_the_smaller():
    network = rm.memorize(X, Y, rho=1e-3)
    assert network.num_parameters <= min(built("small").num_parameters, built("lift").num_parameters)
    assert rm.memorize(X, Y, rho=0.9).regime == "lift"


def test_more_dimensions_than_points():
    wide = np.random.default_rng(0).standard_normal((10, 200))
    network = rm.memorize(wide, np.arange(10), rho=0.9)
    assert network.certificate and len(network.plan.rows) <= 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho": 1.0}, "rho=1.0 must be strictly between 0 and 1"),
        ({"rho": 0.0}, "rho=0.0"),
        ({"rho": math.nan}, "rho=nan"),
        ({"y": np.ones(24, int)}, "one class only"),
        ({"y": Y + 0.5}, "integers"),
        ({"y": Y * math.nan}, "integers below"),
        ({"y": Y + 2.0**53}, "integers below"),
        ({"seed": -1}, "seed=-1"),
        ({"y": Y[:5]}, r"y has shape \(5,\)"),
        ({"X": X[:, 0]}, "X has shape"),
        ({"X": np.where(np.eye(24, 6) == 1, np.nan, X)}, "point 0 has an entry that is not finite"),
        (
            {"X": np.vstack([X[:23], X[:1]]), "y": np.r_[Y[:23], 4]},
            "points 0 and 23 are equal but have the labels 1 and 4",
        ),
        ({"X": 1e17 + np.round(X * 30)}, "points .* float64 cannot separate|are equal"),
        ({"X": X + 1e15}, "points .* (float64 cannot separate|are equal)"),
        ({"method": "magic"}, "method='magic'"),
        ({"method": "small"}, "rho is too large for this construction"),
        ({"method": "moderate"}, "rho is too large for this construction"),
        ({"projection": np.ones((2, 6))}, "orthonormal"),
        ({"projection": np.eye(5)}, "projection has shape"),
        ({"projection": np.eye(6)[:1]}, "projected balls overlap"),
        ({"max_parameters": 100}, "max_parameters=100: raise it to confirm"),
        ({"max_parameters": 100, "method": "sequential"}, "max_parameters=100"),
        ({"ramp": 1.0}, "ramp=1.0"),
        ({"ramp": 0.5, "method": "moderate"}, "between 0 and 0.5"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        rm.memorize(**{"X": X, "y": Y, "rho": 0.9, **change})


def test_calls_and_instances_refuse_bad_shapes():
    with pytest.raises(ValueError, match=r"expected \(n, 6\)"):
        built("lift")(np.zeros(6))
    with pytest.raises(ValueError, match=r"norm=0\.5"):
        rm.separation(X, Y, norm=0.5)
    with pytest.raises(ValueError, match=r"rho=0\.99"):
        lab.shattering_data(8, 8, 0.99)
    with pytest.raises(ValueError, match=r"p=0\.5"):
        rm.lp_factor(4, 0.5)


# -- verification -----------------------------------------------------------------------------------------------------


def test_lines_are_exact():
    start, end = X[0], X[1]
    positions, values = rm.verify_line(MLP, start, end)
    assert positions[0] == 0 and positions[-1] == 1 and np.all(np.diff(positions) >= 0)
    t = np.linspace(0, 1, 2001)
    with torch.no_grad():
        truth = MLP(torch.as_tensor(start + t[:, None] * (end - start)))[:, 0].numpy()
    np.testing.assert_allclose(np.interp(t, positions, values), truth, atol=1e-10)
    assert len(positions) > 5  # and the breakpoints are needed: a chord misses
    assert np.abs(np.interp(t, [0, 1], values[[0, -1]]) - truth).max() > 1e-3


def test_lines_find_a_needle():
    """A spike of width 1e-9: gradients vanish and samples miss it, but a line through it does not."""
    program = rm.Program(1)
    x = program.units
    steep = [program.relu((x - 0.3) * 1e9, (x - 0.3) * 1e9 - 1, (x - 0.3) * 1e9 - 2)]
    network = rm.to_torch(program.finish(steep[0][0] - 2 * steep[0][1] + steep[0][2]))
    positions, values = rm.verify_line(network, [0.0], [1.0])
    assert values.max() == pytest.approx(1, abs=1e-5) and len(positions) == 5
    report = rm.check_lines(network, np.array([[0.0]]), np.array([[1.0]]), [0.0])
    assert report.share[0] == pytest.approx(2e-9, rel=1e-2)


def test_line_values_of_several_outputs_and_refusals():
    two = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).double()
    positions, values = rm.verify_line(two, X[0], X[1])
    assert values.shape == (len(positions), 2)
    with pytest.raises(ValueError, match="start and end"):
        rm.verify_line(MLP, X[0], X[0][:3])
    with pytest.raises(ValueError, match="must be finite"):
        rm.verify_line(MLP, X[0], np.full(6, np.nan))
    with pytest.raises(ValueError, match="memorizer_or_network is a int"):
        rm.certify(3, X, Y, radius=0.1)
    with pytest.raises(ValueError, match="network"):
        rm.verify_line(
            torch.nn.Sequential(torch.nn.Linear(6, 1), torch.nn.Sigmoid(), torch.nn.Linear(1, 1)), X[0], X[1]
        )


def test_intervals_enclose_and_agree_with_the_plain_ones():
    certificate = rm.certify(MLP, X, Y, radius=0.1)
    plain = np.array([reference.intervals(pairs(MLP), x, 0.1) for x in X])[:, :, 0]
    np.testing.assert_allclose(np.stack([certificate.lower, certificate.upper], axis=1), plain, atol=1e-9)
    assert np.all(certificate.lower <= plain[:, 0]) and np.all(certificate.upper >= plain[:, 1])
    assert not certificate.proved.any()


def test_linear_bounds_are_sound_and_a_second_opinion():
    rng = np.random.default_rng(0)
    for x in X[:4]:
        low, high = reference.linear_bounds(pairs(MLP), x, 0.1)
        plain = reference.intervals(pairs(MLP), x, 0.1)
        samples = x + 0.1 * lab.uniform_ball(rng, 200, 6)
        with torch.no_grad():
            values = MLP(torch.as_tensor(samples))[:, 0].numpy()
        assert low[0] <= values.min() and values.max() <= high[0]
        assert high[0] - low[0] <= plain[1][0] - plain[0][0]
    np.testing.assert_allclose(reference.forward(pairs(MLP), X[0]), MLP(torch.as_tensor(X[0])).detach(), atol=1e-12)


@pytest.mark.parametrize(("method", "proved"), [("small", True), ("lift", False), ("moderate", False)])
def test_what_generic_verifiers_prove(method, proved):
    """Intervals and linear bounds prove a floor with its lookup, and nothing of lifts and maxima."""
    network = without_projection(method)
    by_intervals = rm.certify(network.network, X, Y, radius=network.radius)
    assert by_intervals.proved.all() == proved
    if method != "moderate":
        bounds = np.array([reference.linear_bounds(pairs(network.network), x, network.radius) for x in X[:6]])[:, :, 0]
        assert np.all(np.abs(bounds - Y[:6, None]) < 1e-6) == proved


def test_certificates_bound_what_lines_see_at_any_radius():
    for method in ("small", "moderate", "lift", "sequential"):
        network = built(method)
        for stretch in (1.03,) if method == "sequential" else (0.5, 1.03, 4.0):
            certificate = rm.certify(network, X, Y, radius=stretch * network.radius)
            found = lab.search(network, stretch=stretch, num_random=1)
            worst = np.zeros(len(X))
            np.maximum.at(worst, found.owner, found.lines.worst)
            reach = np.maximum(certificate.upper - Y, Y - certificate.lower)
            assert np.all(worst <= reach + 1e-6)
            assert not np.any(certificate.proved & (worst > 1e-6))


def test_changed_weights_are_not_trusted():
    network = rm.memorize(X, Y, rho=0.9, method="lift")
    assert rm.certify(network, X, Y, radius=network.radius)
    with torch.no_grad():
        network.network[-1].bias += 1e-3
    assert not rm.certify(network, X, Y, radius=network.radius).proved.any()


def test_other_points_may_be_certified():
    network = built("lift")
    near = X + 0.3 * network.radius * np.eye(6)[0]
    assert rm.certify(network, near, Y, radius=0.6 * network.radius)
    assert not rm.certify(network, near, Y % 3 + 1, radius=0.6 * network.radius).proved.any()


def test_null_space_attack():
    E, two = lab.simplex_data(16)
    narrow = lab.train_mlp(E, two, width=4, num_steps=50)
    attack = rm.attack_nullspace(narrow, E, two, radius=0.3)
    assert attack is not None and attack.gap <= 1e-9
    first = np.linalg.norm(E - attack.x, axis=1)
    second = np.linalg.norm(E - attack.x_other, axis=1)
    i, j = first.argmin(), second.argmin()
    assert two[i] != two[j] and max(first[i], second[j]) < 0.3
    with torch.no_grad():
        a, b = narrow(torch.as_tensor(np.stack([attack.x, attack.x_other])))
    assert abs(float(a - b)) <= 1e-9
    assert rm.attack_nullspace(narrow, E, two, radius=0.05) is None
    assert rm.attack_nullspace(without_projection("lift").network, X, Y, radius=0.99 * rm.separation(X, Y)) is None


@pytest.mark.parametrize("radius", [-1.0, math.nan])
def test_verifiers_refuse_bad_radii(radius):
    with pytest.raises(ValueError, match="radius="):
        rm.certify(MLP, X, Y, radius=radius)
    with pytest.raises(ValueError, match="radius="):
        rm.attack_nullspace(MLP, X, Y, radius=radius)
    with pytest.raises(ValueError, match="takes 6 inputs"):
        rm.certify(MLP, X[:, :4], Y, radius=0.1)


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------

PAIRS = [(64, 4), (64, 16), (64, 32), (32, 4), (32, 8), (32, 16)]
SETTINGS = [(8, 8, math.sqrt(7 / 8)), (8, 8, 0.75), (6, 16, 0.9)]
COUNTS = np.array([2**e for e in lab.BOOK.key_exponents])
HATS = 9 * COUNTS + 1
RHOS_OF_IMAGES = (0.1, 0.3, 0.6, 0.9)


def slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


@cache
def scaled():
    P, labels = lab.gaussian_data(14, 2)
    return P, labels, [rm.memorize(c * P, labels, rho=0.9) for c in (1e-6, 1.0, 1e6)]


def one_network_for_all_scales():
    P, labels, networks = scaled()
    return [np.abs(networks[1](c * P) - labels).max() for c in (1e-6, 1.0, 1e6)]


def nonzero_surplus():
    return [rm.parameter_count(n.network, nonzero=True) - n.num_parameters for n in scaled()[2]]


def with_source(source):
    return lambda n, d, r: rm.upper_bound(n, d, r, source=source)


def longest_images():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        q, _ = np.linalg.qr(rng.standard_normal((64, 15)))
        ratios.append(np.sqrt((q**2).sum(axis=1)).max() / math.sqrt(15 / 64))
    return ratios


def without_projector():
    E, two = lab.simplex_data(64)
    trained = lab.train_mlp(E, two, width=15)
    with torch.no_grad():
        values = [trained(torch.as_tensor(np.stack([0.76 * e, 0.24 * e])))[:, 0].numpy() for e in E[:2]]
    return [abs(a - b) for a, b in values]


def full_width_step():
    E, two = lab.simplex_data(64)
    attack = rm.attack_nullspace(lab.train_mlp(E, two, width=80, num_steps=1), E, two, radius=0.51)
    return np.linalg.norm(attack.x - E[attack.x.argmax()])


def nearest_of_any_label():
    ratios = []
    for num, dim, rho in SETTINGS:
        case = lab.shattering_data(num, dim, rho)
        together = np.vstack([case.X, case.points])
        k = int(1 / (1 - rho**2) + 1e-10)
        ratios.append(rm.separation(together, np.arange(len(together))) / math.sqrt(k))
    return ratios


def distances_to_the_other_centre():
    excess = []
    for num, dim, rho in SETTINGS:
        case = lab.shattering_data(num, dim, rho)
        excess.append(lab.nearest_own_centre(case, other=True).max() - rho * rm.separation(case.X, case.y))
    return excess


@cache
def first_tiny():
    P, labels = lab.gaussian_data(48, 16)
    return rm.memorize(P, labels, rho=1 / (5 * 48 * 4), method="small", projection=np.eye(16))


def eight_times():
    network = first_tiny()
    labels = network.points.codes + 1
    certificate = rm.certify(network, network.points.X, labels, radius=8 * network.radius)
    return np.abs(np.stack([certificate.lower, certificate.upper]) - labels).max()


def intervals_at_eight_times():
    shares = []
    for n in (first_tiny(), without_projection("lift")):
        labels = n.points.labels[n.points.codes]
        shares.append(rm.certify(n.network, n.points.X, labels, radius=8 * n.radius).proved.mean())
    return shares


def sizes_of_extraction():
    return np.array([lab.bit_extraction_sizes(int(n))[0] for n in COUNTS])


def first_win(sizes):
    wins = sizes < HATS
    return COUNTS[np.argmax(wins)] if wins.any() else np.inf


def three_lookups():
    """Three lookups in place of one, against one set of hat functions."""
    return first_win(3 * sizes_of_extraction())


def quarter_of_the_keys():
    return {str(k): lab.bit_extraction_sizes(256, group_size=k)[0] for k in (1, 2, 4, 8, 16, 32)}


def extraction_by_group(groups):
    return groups, [lab.bit_extraction_sizes(16384, group_size=k)[0] for k in groups]


@cache
def guarded():
    return lab.moderate_networks((0.1,), guard=True)[0]


@cache
def slit():
    return lab.moderate_networks((0.1,), guard=False)[0]


def permuted_samples():
    """The share of samples whose output is not a permuted label."""
    network = slit()
    labels = np.random.default_rng(0).permutation(network.points.codes + 1)
    rng = np.random.default_rng(0)
    steps = lab.uniform_ball(rng, len(labels), 8) * network.radius
    return [float(np.mean(np.abs(network(network.points.X + steps) - labels) > 1e-3))] * 3


def one_level_less():
    """The error of the squares taken as m S² 4^(-T-1): the thresholds stay, and a level is missing."""
    P, labels = lab.gaussian_data(60, 20)
    networks = []
    for rho in (0.3, 0.5, 0.9, 0.999):
        network = rm.memorize(P, labels, rho=rho, method="lift", projection=np.eye(20))
        plan = replace(network.plan, levels=network.plan.levels - 1)
        networks.append(replace(network, plan=plan, network=rm.to_torch(plan.layers())))
    return networks


def levels_for_centres():
    """The levels that separate the centres alone do not depend on the radius."""
    P, labels = lab.gaussian_data(60, 20)
    points = rm.as_points(P, labels)
    return np.ptp([rm.plan_lift(points, 1e-9 * r * points.separation, np.eye(20)).levels for r in (0.9, 0.99)])


def sequential_over_lift(num, dim, classes):
    P, labels = lab.gaussian_data(num, dim, classes)
    a, b = (
        rm.memorize(P, labels, rho=0.9, method=m, projection=np.eye(dim)).num_parameters for m in ("sequential", "lift")
    )
    return a / b


@cache
def sequential_ratios():
    """The sequential network's count by its leading term in place of the lift's."""
    return lab.match_ratios(
        (32, 64, 128), (0.4, 0.9), count_with=lambda p: len(p.active) * p.levels * (3 * len(p.rows) + 1) ** 2
    )


def smallest_gap(Z):
    fractions = np.sort(np.mod(Z, 1), axis=0)
    return len(Z) * np.diff(np.vstack([fractions, fractions[:1] + 1]), axis=0).min(axis=0)


def lp_touching(p):
    """Ball so large that at least two of different labels touch in l2, and so in some direction of every p."""
    P, labels = lab.gaussian_data(40, 6)
    ratio = rm.lp_factor(6, p) * rm.separation(P, labels) / rm.separation(P, labels, norm=p)
    return lab.lp_errors(p, stretch=max(1.1, 1.1 * ratio * 6**0.5))


@cache
def image_points(name):
    loaded = data.load(name)
    return lab.image_points(loaded.inputs.numpy(), loaded.targets.numpy(), 100)


def touching(name):
    """Balls not proved, at a radius of 1.03 separations, which no network survives."""
    P, labels = image_points(name)
    points = rm.as_points(P, labels)
    counts = []
    for rho in RHOS_OF_IMAGES:
        network = rm.memorize(P, labels, rho=rho, method="lift")
        counts.append(np.sum(~rm.certify(network, P, labels, radius=1.03 * points.separation).proved))
    return counts


def least_variance_sizes(name):
    P, labels = image_points(name)
    points = rm.as_points(P, labels)
    rows = np.linalg.svd(P - P.mean(axis=0), full_matrices=False)[2][::-1]
    sizes = []
    for rho in RHOS_OF_IMAGES:
        kept = [rm.projected_separation(points, rows[:m]) for m in range(1, len(rows) + 1)]
        sizes.append(1 + int(np.argmax(np.array(kept) > rho * points.separation / 0.95)))
    return sizes


def awkward_and_touching():
    counts = []
    for P, labels in lab.edge_cases().values():
        network = rm.memorize(P, labels, rho=0.9)
        counts.append(np.sum(~rm.certify(network, P, labels, radius=1.03 / 0.9 * network.radius).proved))
    return counts


CONTROLS = {
    "C1a": one_network_for_all_scales,
    "C1b": nonzero_surplus,
    "C2a": lambda: [lab.growth_exponent(with_source("prior"), a) for a in (2, 1, 0.25)],
    "C2b": lambda: [
        lab.growth_exponent(lambda n, d, r: rm.lower_bound(n, d, r, term="vc"), a) for a in (2, 1, 0.25)
    ],
    "C2c": lambda: [lab.growth_exponent(rm.upper_bound, a) for a in (0.5, 0.25, 0.125)],
    "C2d": lambda: lab.jumps("prior"),
    "C2e": lambda: [lab.growth_exponent(bound, 0.1, dim_power=0.5) for bound in (rm.upper_bound, rm.lower_bound)],
    "C3a": longest_images,
    "C3b": lambda: lab.shortest_images([np.random.default_rng(0).standard_normal((15, 64))])[0],
    "C3c": without_projector,
    "C3d": full_width_step,
    "C3e": lambda: lab.tight_width_shares(PAIRS, stretch=1.03),
    "C3f": lambda: lab.num_broken_widths(PAIRS, stretch=0.99),
    "C4a": nearest_of_any_label,
    "C4b": distances_to_the_other_centre,
    "C4c": lambda: [lab.read_back(*setting, 4, shuffle=True) for setting in SETTINGS],
    "C5a": eight_times,
    "C5b": lambda: rm.parameter_count(first_tiny().network, nonzero=True),
    "C5c": lambda: slope(COUNTS[4:], HATS[4:]),
    "C5d": lambda: np.ptp(sizes_of_extraction() / np.sqrt(COUNTS)) / (sizes_of_extraction() / np.sqrt(COUNTS)).min(),
    "C5e": three_lookups,
    "C5f": lambda: lab.lookup_errors(1024, exact=False),
    "C5g": lambda: len(rm.hat_kinks(lab.random_keys(64))[0]),
    "C5h": lambda: slope(COUNTS, [lab.bit_extraction_sizes(int(n), group_size=1)[1] for n in COUNTS]),
    "C5i": lambda: lab.search(first_tiny()).worst,
    "C6a": quarter_of_the_keys,
    "C6b": lambda: extraction_by_group([64, 128, 256]),
    "C6c": lambda: extraction_by_group([1, 2, 4]),
    "C6d": lambda: lab.lookup_errors(1024, group_size=4, exact=False),
    "C6e": lambda: lab.lookup_errors(1024, group_size=2, exact=False),
    "C7a": permuted_samples,
    "C7b": lambda: [lab.search(guarded()).worst] * 3,
    "C7c": lambda: lab.slit_ratios([slit()] * 3),
    "C8a": lambda: np.sum(~slit().certificate.proved),
    "C8b": lambda: lab.search(slit()).worst,
    "C9a": lambda: (
        np.geomspace(1e-12, 1e-10, 9),
        [lab.moderate_count(1e15, 1 / (5 * r * math.sqrt(8)), 8, bits=False) for r in np.geomspace(1e-12, 1e-10, 9)],
    ),
    "C9b": lambda: lab.break_even(8, bare=True),
    "C10a": lambda: [np.sum(~n.certificate.proved) for n in one_level_less()],
    "C10b": lambda: [lab.search(n).worst for n in one_level_less()],
    "C10c": lambda: lab.levels_needed(*with_a_far_point(), (0.3, 0.9, 0.999)),
    "C10d": levels_for_centres,
    "C10e": lambda: ((8, 16, 32), lab.size_by_dimension((8, 16, 32), method="lift", num=600)),
    "C10f": lambda: ((24, 48, 96), lab.size_by_number((24, 48, 96), method="lift")),
    "C10g": lambda: slope([24, 48, 96], lab.size_by_number([24, 48, 96], method="sequential")),
    "C10h": lambda: sequential_over_lift(24, 8, 3),
    "C11a": lambda: np.log10([sequential_ratios().min(), sequential_ratios().max()]),
    "C11b": lambda: np.log2(np.median(sequential_ratios()[-1]) / np.median(sequential_ratios()[0])),
    "C12a": lambda: [lab.length_ratios(50, 512, 4).min()] * 2,
    "C12b": lambda: lab.length_ratios(50, 512, 64).std() / lab.length_ratios(50, 512, 64, seed=1).std(),
    "C13a": lambda: smallest_gap(np.random.default_rng(0).standard_normal((50, 20))),
    "C13b": lambda: lab.lattice_gaps(np.random.default_rng(0).standard_normal((50, 1)))[0],
    "C13c": lambda: lab.floor_errors(5, 1 / 16, safe=False, margin=-0.9 / 16),
    "C13d": lambda: [math.log10(max(lab.floor_errors(*c, safe=True), 1e-300)) for c in ((10, 1e-3), (10, 1e-6))],
    "C13e": lambda: lab.floor_errors(12, 1e-6, safe=True, margin=1e-6),
    "C13f": lambda: [
        lab.floor_errors(*c, safe=False, margin=1e-6) for c in ((10, 1e-3), (10, 1e-6), (12, 1e-6), (16, 1e-6))
    ],
    "C13g": lambda: lab.slab_fractions((2, 8, 32), 0.05) / [0.05 / lab.ball_volume_ratio(d) for d in (2, 8, 32)],
    "C14a": lambda: [lp_touching(p) for p in (1, 2, np.inf)],
    "C14b": lambda: lab.kernel_distances(20, 16, norm=2),
    "C15a": lambda: rm.separation(
        image_points("fashion-mnist-12k")[0], np.random.default_rng(0).permutation(image_points("fashion-mnist-12k")[1])
    ),
    "C15b": lambda: touching("fashion-mnist-12k"),
    "C15c": lambda: [image_points("fashion-mnist-12k")[0].shape[1]] * 4,
    "C15d": lambda: least_variance_sizes("fashion-mnist-12k"),
    "C16": awkward_and_touching,
    "D1": intervals_at_eight_times,
    "D2": lambda: touching("digits"),
    "D3": lambda: rm.certify(built("lift"), X, Y, radius=built("lift").radius).proved.mean(),
    "D4": lambda: [built("lift").certificate.proved.mean()] * 3,
}  # fmt: skip


def with_a_far_point():
    """One point far away stretches the range that the squares cover."""
    P, labels = lab.gaussian_data(60, 20)
    return np.vstack([P, np.full(20, 1e3)]), np.r_[labels, 3]


# -- other opinions ---------------------------------------------------------------------------------------------------


def test_adversarial_training_withstands_its_attack_and_is_not_proved():
    radius = 0.5 * rm.separation(X, Y)
    network = lab.train_adversarially(X, Y, radius=radius, num_parameters=1500, num_steps=150)
    assert 1500 <= rm.parameter_count(network) < 1650
    assert lab.share_withstanding(network, X, Y, radius=radius) > 0.9
    inside, outside = (lab.share_withstanding(network, X, Y, radius=r * radius) for r in (1e-6, 20))
    assert inside == 1 and outside < 0.5  # far beyond the foes, the attack must find errors
    small, wide = (lab.share_enclosed(network, X, Y, radius=r) for r in (1e-9, radius))
    assert wide < small == 1


def test_classes_enclosed_by_intervals_are_those_by_the_reference():
    network = lab.train_adversarially(X, Y, radius=0.1, num_parameters=400, num_steps=20)
    codes, radius = np.unique(Y, return_inverse=True)[1], 0.05
    layers, proved = pairs(network), []
    for x, code in zip(X, codes, strict=True):
        *hidden, (weight, bias) = layers
        leads = (np.eye(len(bias))[code] - np.eye(len(bias)))[np.arange(len(bias)) != code]
        proved.append(reference.intervals([*hidden, (leads @ weight, leads @ bias)], x, radius)[0].min() > 0)
    assert lab.share_enclosed(network, X, Y, radius=radius) == np.mean(proved)
    assert 0 < np.mean(proved) < 1


def test_width_of_a_given_size():
    for size in (50, 1000, 12_345):
        width = lab.mlp_width(10, 3, size)
        count = [11 * w + (w + 1) * w + (w + 1) * 3 for w in (width - 1, width)]
        assert count[0] < size <= count[1]


def test_recorded_opinions(tmp_path):
    path = tmp_path / "verifiers.json"
    assert lab.recorded_opinions(path) == {}
    entry = {"balls": 4, "parameters": 9, "depth": 2, "verifiers": {"intervals": {"proved": 1, "seconds": 0.5}}}
    path.write_text(json.dumps({"environment": {}, "networks": {"lift": entry}}))
    found = lab.recorded_opinions(path)["lift"]
    assert found.share("intervals") == 0.25 and found.num_parameters == 9


def test_every_claim_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)
