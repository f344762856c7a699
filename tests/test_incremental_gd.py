"""The fast methods against the literal ones, PyTorch, scikit-learn and closed forms; every claim against a wrong variant."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from experiments import incremental_gd as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression
from tests.reference import incremental_gd as reference

from descentlab import data
from descentlab import incremental_gd as igd

INSTANCES = (lab.shared_hessian_instance, lab.polygon_instance, lab.nonconvex_instance)
FEW = (2, 4, 8, 16, 32, 64)


def random_problem(n=6, d=3, *, diagonal=False, seed=0):
    """Components that may be indefinite, tilts whose sum is not zero."""
    rng = np.random.default_rng(seed)
    if diagonal:
        return igd.QuadraticSum(rng.uniform(-0.5, 3, (n, d)) + 1, rng.standard_normal((n, d)))
    A = rng.standard_normal((n, d, d))
    return igd.QuadraticSum(A @ A.swapaxes(1, 2) / d + 0.3 * np.eye(d), rng.standard_normal((n, d)))


@pytest.fixture(params=[False, True], ids=["dense", "diagonal"])
def problem(request):
    return random_problem(diagonal=request.param)


# -- problems ---------------------------------------------------------------------------------------------------------


def test_gap_and_minimizer_are_those_of_the_definition(problem):
    X = np.random.default_rng(1).standard_normal((4, 5, 3))
    expected = [[reference.quadratic_gap(problem.hessians, problem.linear_terms, x) for x in row] for row in X]
    np.testing.assert_allclose(problem.gap(X), expected, atol=1e-12)
    assert problem.gap(problem.minimizer) == 0
    np.testing.assert_allclose(problem.gradients(problem.minimizer).mean(axis=0), 0, atol=1e-14)
    spectra = np.linalg.eigvalsh(reference.dense(problem.hessians))
    assert problem.smoothness == pytest.approx(np.abs(spectra).max())
    assert problem.strong_convexity == pytest.approx(np.linalg.eigvalsh(problem.mean_hessian)[0])


@pytest.mark.parametrize(
    "instance",
    [*INSTANCES, lab.large_epoch_convex_instance, lab.large_epoch_nonconvex_instance, lab.safran_shamir_instance],
)
@pytest.mark.parametrize("n", [4, 20])
def test_instances_have_the_constants_they_are_asked_for(instance, n):
    problem, x0 = instance(mu=0.5, L=30.0, G=2.0, n=n, num_epochs=6)
    assert problem.num_components == n and x0.shape == (problem.dim,)
    assert problem.strong_convexity >= 0.5 - 1e-12 and problem.smoothness <= 30 + 1e-9
    assert np.linalg.eigvalsh(problem.mean_hessian)[-1] <= 30 + 1e-9
    np.testing.assert_allclose(problem.minimizer, 0, atol=1e-12)
    largest = np.linalg.norm(problem.gradients(np.zeros(problem.dim)), axis=1).max()
    assert largest == pytest.approx(1.0 if instance is lab.safran_shamir_instance else 2.0)


def test_the_concave_components_deviate_by_three_gradients():
    """Assumption (G, P): ``|grad f_i - grad F| <= G + P |grad F|`` with P = 3."""
    problem, _ = lab.nonconvex_instance(num_epochs=4)
    for x in np.random.default_rng(0).standard_normal((20, 2)) * 10.0 ** np.arange(-10, 10)[:, None]:
        gradients = problem.gradients(x)
        mean = gradients.mean(axis=0)
        deviation = np.linalg.norm(gradients - mean, axis=1).max()
        assert deviation <= (1 + 3 * np.linalg.norm(mean)) * (1 + 1e-12)


def test_logistic_sum_agrees_with_scikit_learn_and_finite_differences():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.choice([-1.0, 1.0], 60)
    problem = igd.LogisticSum(X, y, ridge=0.05)
    fitted = LogisticRegression(C=1 / (60 * 0.05), fit_intercept=False, tol=1e-12, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(problem.minimizer, fitted.coef_[0], atol=1e-6)
    w = rng.standard_normal(4)
    np.testing.assert_allclose(problem.gradients(w).mean(axis=0), approx_fprime(w, problem.value, 1e-7), atol=1e-6)
    along = [approx_fprime(w, lambda v, k=k: problem.gradients(v).mean(axis=0)[k], 1e-7) for k in range(4)]
    np.testing.assert_allclose(problem.hessian(w), along, atol=1e-6)
    assert np.linalg.norm(problem.gradients(problem.minimizer).mean(axis=0)) < 1e-14
    assert problem.gap(problem.minimizer) == 0 and problem.gap(np.full(4, 1e200)) == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 2, 2)) * np.array([[1, 2], [0, 1]]), np.zeros((2, 2))), "not symmetric"),
        ((-np.ones((2, 2)), np.zeros((2, 2))), "positive definite"),
        ((np.ones((2, 3)), np.zeros((2, 2))), "hessians has shape"),
        ((np.ones((2, 2)), np.zeros(2)), "linear_terms has shape"),
        ((np.ones((2, 2)), np.full((2, 2), np.nan)), "linear_terms has an entry"),
        ((np.ones((2, 2)), np.ones((2, 2)), 1.0, 1.0), "their sum must be zero"),
        ((np.ones((2, 2)), np.zeros((2, 2)), 2.0, 5.0), "mu=2"),
        ((np.ones((2, 2)), np.zeros((2, 2)), 1.0, 0.5), "L=0.5"),
    ],
)
def test_bad_quadratics_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        igd.QuadraticSum(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"X": np.ones(3)}, "X of shape"), ({"y": np.zeros(3)}, "y of shape"), ({"ridge": 0.0}, "ridge=0.0")],
)
def test_bad_logistic_problems_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        igd.LogisticSum(**{"X": np.ones((3, 2)), "y": np.ones(3), "ridge": 0.1, **change})


@pytest.mark.parametrize(
    ("instance", "change", "message"),
    [
        (lab.shared_hessian_instance, {"L": 0.5}, "mu=1.0, L=0.5"),
        (lab.shared_hessian_instance, {"G": 0.0}, "G=0.0"),
        (lab.shared_hessian_instance, {"num_epochs": 0}, "num_epochs=0"),
        (lab.polygon_instance, {"n": 2}, "n=2"),
        (lab.nonconvex_instance, {"n": 5}, "multiple of 2"),
        (lab.nonconvex_instance, {"L": 3.0}, "at least 4 mu"),
        (lab.large_epoch_nonconvex_instance, {"n": 6}, "multiple of 4"),
    ],
)
def test_bad_constants_are_refused(instance, change, message):
    with pytest.raises(ValueError, match=message):
        instance(**{"num_epochs": 4, **change})


# -- the method -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", igd.SCHEDULES)
@pytest.mark.parametrize("order", ["cyclic", [3, 1, 0, 5, 4, 2], np.stack([np.arange(6), np.arange(6)[::-1]] * 2)])
def test_iterates_are_the_literal_ones(problem, order, schedule):
    rates, x0 = np.array([0.01, 0.1, 0.3]), np.array([1.0, -2.0, 0.5])
    run = igd.incremental_gd(problem, x0, learning_rate=rates, num_epochs=4, order=order, schedule=schedule)
    assert run.iterates.shape == (5, 3, 3) and run.gaps.shape == (5, 3)
    t = np.arange(24) / 24
    factors = {"constant": np.ones(24), "linear": 1 - t, "cosine": (1 + np.cos(np.pi * t)) / 2}[schedule]
    orders = np.broadcast_to(np.arange(6) if isinstance(order, str) else order, (4, 6))
    for k, rate in enumerate(rates):
        literal = reference.descend(
            problem.hessians, problem.linear_terms, x0, learning_rate=rate, orders=orders, factors=factors
        )
        np.testing.assert_allclose(run.iterates[:, k], literal, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(run.gaps, problem.gap(run.iterates))
    last = igd.final_gaps(problem, x0, learning_rate=rates, num_epochs=4, order=order, schedule=schedule)
    np.testing.assert_allclose(last, run.gaps[-1], rtol=1e-9)


@pytest.mark.parametrize("order", ["reshuffled", "replacement"])
def test_random_orders_are_drawn_as_they_should(problem, order):
    seeds = np.arange(3)
    run = igd.incremental_gd(problem, np.ones(3), learning_rate=0.1, num_epochs=4, order=order, seed=seeds)
    alone = igd.incremental_gd(problem, np.ones(3), learning_rate=0.1, num_epochs=4, order=order, seed=2)
    np.testing.assert_array_equal(run.iterates[:, 2], alone.iterates)
    assert not np.allclose(run.iterates[-1, 0], run.iterates[-1, 1])
    # with a step of one and unit curvature the last iterate says which component came last
    marks = igd.QuadraticSum(np.ones((6, 1)), -np.arange(6.0)[:, None])
    last = igd.incremental_gd(marks, [0.0], learning_rate=1.0, num_epochs=3000, order=order, seed=seed_of(order))
    counts = np.bincount(last.iterates[1:, 0].astype(int), minlength=6)
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(3000 / 6))


def seed_of(order):
    return {"reshuffled": 11, "replacement": 12}[order]


def test_reshuffling_uses_every_component_once_an_epoch():
    """Without curvature in the tilted direction an epoch adds up all tilts, whatever the order."""
    flat = igd.QuadraticSum(np.full((5, 1), 1e-13), np.array([[1.0], [2.0], [-4.0], [8.0], [16.0]]))
    ends = [
        igd.incremental_gd(flat, [0.0], learning_rate=1.0, num_epochs=2, order=o, seed=s).iterates[1:, 0]
        for o, s in [("cyclic", 0), ("reshuffled", 0), ("reshuffled", 1), ("replacement", 0)]
    ]
    np.testing.assert_allclose(ends[:3], [[-23, -46]] * 3, atol=1e-9)
    assert not np.allclose(ends[3], [-23, -46], atol=0.5)


def test_logistic_runs_agree_with_automatic_differentiation():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.choice([-1.0, 1.0], 20)
    problem = igd.LogisticSum(X, y, ridge=0.1)
    order = rng.permutation(20)
    run = igd.incremental_gd(problem, np.zeros(3), learning_rate=[0.05, 0.2], num_epochs=3, order=order)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for i in [*order] * 3:
        loss = torch.nn.functional.softplus(-y[i] * (torch.as_tensor(X[i]) @ w)) + 0.05 * (w @ w)
        w = (w - 0.2 * torch.autograd.grad(loss, w)[0]).detach().requires_grad_()
    np.testing.assert_allclose(run.iterates[-1, 1], w.detach(), atol=1e-13)


def test_problems_of_ones_own_are_accepted(problem):
    class Own:
        num_components, dim, gap, gradients = 6, 3, staticmethod(problem.gap), staticmethod(problem.gradients)

    arguments = {"learning_rate": [0.01, 0.1], "num_epochs": 3, "order": "reshuffled", "schedule": "linear"}
    own, known = (igd.incremental_gd(p, np.ones(3), **arguments) for p in (Own(), problem))
    np.testing.assert_allclose(own.iterates, known.iterates, atol=1e-13)


def test_overflow_is_infinite():
    for instance in INSTANCES:
        problem, x0 = instance(num_epochs=4)
        rates = np.array([0.001, 2.0])
        run = igd.incremental_gd(problem, x0, learning_rate=rates, num_epochs=4000, order="cyclic")
        assert np.isfinite(run.gaps[:, 0]).all() or instance is lab.nonconvex_instance
        assert run.gaps[-1, 1] == np.inf
        assert igd.final_gaps(problem, x0, learning_rate=2.0, num_epochs=10**6) == np.inf
        assert igd.expected_gap(problem, x0, learning_rate=2.0, num_epochs=10**6, order="replacement") == np.inf
    assert igd.best_gap(problem, x0, num_epochs=4000, learning_rates=[3.0, 2.0]) == (np.inf, 3.0)


@pytest.mark.parametrize("exponent", [1, 2, 7, 64])
def test_powers_of_an_epoch(problem, exponent):
    epoch, x = igd.epoch_map(problem, [0.05, 0.1]), np.ones((2, 3))
    repeated = x
    for _ in range(exponent):
        repeated = epoch(repeated)
    np.testing.assert_allclose(epoch.power(exponent)(x), repeated, rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="exponent=0"):
        epoch.power(0)


def test_best_gap_takes_a_start_for_each_step():
    problem, x0 = lab.polygon_instance(num_epochs=4)
    gap, rate = igd.best_gap(problem, lambda h: lab.polygon_orbit(problem, learning_rate=h), num_epochs=4)
    rates = igd.step_sizes(problem, 4)
    starts = lab.polygon_orbit(problem, learning_rate=rates)
    single = [
        igd.incremental_gd(problem, x, learning_rate=h, num_epochs=4).gaps[-1]
        for x, h in zip(starts, rates, strict=True)
    ]
    assert gap == pytest.approx(min(single)) and rate == rates[np.argmin(single)]
    at = 1 / (200 * 4)
    np.testing.assert_allclose(lab.polygon_orbit(problem, learning_rate=at), x0, rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "random"}, "order='random'; allowed are 'cyclic'"),
        ({"order": [0, 1, 2, 3, 4, 4]}, "no permutation"),
        ({"order": [0, 1]}, "order of shape"),
        ({"order": np.linspace(0, 5, 6)}, "order of shape"),
        ({"schedule": "step"}, "schedule='step'"),
        ({"learning_rate": -0.1}, "learning_rate=-0.1"),
        ({"learning_rate": np.inf}, "learning_rate=inf"),
        ({"num_epochs": 0}, "num_epochs=0"),
        ({"num_epochs": 1.5}, "num_epochs=1.5"),
        ({"x0": np.zeros(2)}, "x0 has shape"),
        ({"x0": np.full(3, np.nan)}, "x0 has an entry"),
        ({"seed": -1}, "seed=-1"),
        ({"learning_rate": np.ones(2), "seed": np.arange(3)}, "do not fit"),
    ],
)
def test_bad_arguments_are_named(problem, change, message):
    arguments = {"x0": np.zeros(3), "learning_rate": 0.1, "num_epochs": 2, **change}
    with pytest.raises(ValueError, match=message):
        igd.incremental_gd(problem, arguments.pop("x0"), **arguments)


# -- exact expectations -----------------------------------------------------------------------------------------------


def centred(problem):
    """The same problem with tilts of sum zero, so that its minimiser is zero."""
    return igd.QuadraticSum(problem.hessians, problem.linear_terms - problem.linear_terms.mean(axis=0))


def test_expectations_are_those_of_all_orders(problem):
    p, x0 = centred(random_problem(5, 3, diagonal=problem.is_diagonal, seed=3)), np.array([1.0, 0.0, -1.0])
    arguments = {"learning_rate": 0.2, "num_epochs": 3}
    data_ = (p.hessians, p.linear_terms, x0)
    exact = {o: igd.expected_gap(p, x0, **arguments, order=o) for o in ("reshuffled", "replacement")}
    assert exact["reshuffled"] == pytest.approx(reference.enumerated_gap(*data_, **arguments), rel=1e-12)
    assert exact["replacement"] == pytest.approx(reference.replacement_gap(*data_, **arguments), rel=1e-12)
    assert isinstance(exact["reshuffled"], float)
    batch = igd.expected_gap(p, x0, learning_rate=[[0.1], [0.2]], num_epochs=3)
    assert batch.shape == (2, 1) and batch[1, 0] == pytest.approx(exact["reshuffled"], rel=1e-12)


def test_expectations_do_not_ask_for_a_minimiser_at_zero(problem):
    shifted = igd.expected_gap(problem, problem.minimizer + 1, learning_rate=0.1, num_epochs=2)
    H, g = problem.hessians, problem.gradients(problem.minimizer)
    same = igd.expected_gap(igd.QuadraticSum(H, g), np.ones(3), learning_rate=0.1, num_epochs=2)
    assert shifted == pytest.approx(same, rel=1e-10)


@pytest.mark.parametrize("instance", [lab.shared_hessian_instance, lab.nonconvex_instance])
def test_two_types_of_components(instance):
    problem, x0 = instance(n=20, L=10.0, num_epochs=3)
    for rate in (0.01, 0.15):
        arguments = {"learning_rate": rate, "num_epochs": 3}
        literal = reference.two_types_gap(problem.hessians, problem.linear_terms, x0, **arguments)
        assert igd.expected_gap(problem, x0, **arguments) == pytest.approx(literal, rel=1e-11)


def test_the_closed_form_for_one_curvature_is_the_mean_over_orders():
    """Any number of different tilts, an odd number of components, a factor of minus one."""
    tilts = np.array([3.0, -1.0, 0.5, -2.5, 0.0])[:, None]
    problem = igd.QuadraticSum(np.full((5, 1), 2.0), tilts)
    for rate in (0.0, 0.1, 0.5, 1.0, 1.2):
        literal = reference.enumerated_gap(
            problem.hessians, problem.linear_terms, [1.5], learning_rate=rate, num_epochs=3
        )
        assert igd.expected_gap(problem, [1.5], learning_rate=rate, num_epochs=3) == pytest.approx(literal, rel=1e-10)
    many, x0 = lab.shared_hessian_instance(n=201, num_epochs=4)  # three types: plus, minus and none
    runs = igd.final_gaps(many, x0, learning_rate=1e-3, num_epochs=4, order="reshuffled", seed=np.arange(400))
    exact = igd.expected_gap(many, x0, learning_rate=1e-3, num_epochs=4)
    assert abs(runs.mean() - exact) < 4 * runs.std() / 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "cyclic"}, "order='cyclic'"),
        ({"num_epochs": -1}, "num_epochs=-1"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
        ({"x0": np.zeros(2)}, "x0 of shape"),
    ],
)
def test_bad_arguments_of_an_expectation(change, message):
    arguments = {"x0": np.zeros(3), "learning_rate": 0.1, "num_epochs": 2, **change}
    with pytest.raises(ValueError, match=message):
        igd.expected_gap(random_problem(), arguments.pop("x0"), **arguments)


def test_requests_beyond_the_limits_name_the_alternative():
    with pytest.raises(ValueError, match=r"limits are 14 distinct maps.*averages over sampled orders"):
        igd.expected_gap(random_problem(20), np.zeros(3), learning_rate=0.1, num_epochs=1)
    with pytest.raises(ValueError, match="at most 16 can be done exactly; average incremental_gd"):
        igd.expected_gap(random_problem(4, 17), np.zeros(17), learning_rate=0.1, num_epochs=1)
    with pytest.raises(ValueError, match="8 components"):
        lab.all_orders(9)


# -- constructions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 7, 200])
def test_the_orbit_closes(n):
    problem, _ = lab.polygon_instance(n=n, L=40.0, num_epochs=20)
    rates = np.array([0.01, 0.001])
    start = lab.polygon_orbit(problem, learning_rate=rates, offset=False)
    run = igd.incremental_gd(problem, start, learning_rate=rates, num_epochs=20)
    np.testing.assert_allclose(run.iterates[-1], start, atol=1e-12 * np.abs(start).max())
    np.testing.assert_allclose(run.gaps[-1], lab.polygon_gap(learning_rate=rates, n=n, L=40.0), rtol=1e-10)
    limit = np.sqrt(40**2 + (2 * np.pi / (n * rates)) ** 2) / (40 + (2 * np.pi / (n * rates)) ** 2)
    if n == 200:
        np.testing.assert_allclose(np.linalg.norm(start, axis=1)[1], limit[1], rtol=0.02)
    with pytest.raises(ValueError, match="learning_rate"):
        lab.polygon_orbit(problem, learning_rate=0.0)


def test_only_polygons_have_polygon_orbits():
    problem, _ = lab.polygon_instance(num_epochs=4)
    clockwise = igd.QuadraticSum(problem.hessians[::-1], problem.linear_terms[::-1])
    for other in (clockwise, lab.shared_hessian_instance(num_epochs=4)[0], random_problem(6, 4)):
        with pytest.raises(ValueError, match="problem"):
            lab.polygon_orbit(other, learning_rate=0.01)


def tilted_coordinate_gap(curvature, *, learning_rate, num_epochs, n=200):
    """One coordinate with half/half tilts of size one, started at zero, n even."""
    q = (1 - learning_rate * curvature) ** (n // 2)
    x = 1 / curvature * (1 - q) / (1 + q) * (1 - np.abs(q) ** (2 * num_epochs))
    return 0.5 * curvature * x**2


@pytest.mark.parametrize("n", [2, 10, 12])
def test_closed_form_of_the_tilted_coordinate(n):
    problem, _ = lab.shared_hessian_instance(n=n, num_epochs=5)
    rates = np.geomspace(1e-4, 0.99 * 2 / 200, 20)
    gaps = igd.final_gaps(problem, np.zeros(3), learning_rate=rates, num_epochs=5)
    closed = tilted_coordinate_gap(problem.hessians[0, 1], learning_rate=rates, num_epochs=5, n=n)
    np.testing.assert_allclose(gaps, closed, rtol=1e-9)
    curvatures = np.array([3.0, 50.0])
    np.testing.assert_allclose(
        lab.gap_by_curvature(curvatures, learning_rate=0.01, num_epochs=5, n=n),
        tilted_coordinate_gap(curvatures, learning_rate=0.01, num_epochs=5, n=n),
        rtol=1e-9,
    )


@pytest.mark.parametrize("n", [199, 202])
def test_no_step_escapes_for_odd_numbers_either(n):
    found = lab.minimum_gaps(lab.shared_hessian_instance, FEW, n=n)
    assert np.all(found.gaps * FEW >= 0.05)


def test_the_parity_trap_is_real_and_avoided():
    """At curvature L and n/2 even, a step just below 2/L cancels the tilts; the construction stays at L/2."""
    trapped = tilted_coordinate_gap(200.0, learning_rate=1.9999 / 200, num_epochs=1000)
    safe = tilted_coordinate_gap(100.0, learning_rate=1.9999 / 200, num_epochs=1000)
    assert trapped < 1e-6 < 1e-3 < safe


@pytest.mark.parametrize("num_epochs", [20, 160, 1280])
def test_large_epoch_minima_are_those_of_the_closed_form(num_epochs):
    gap, step = reference.large_epoch_nonconvex_minimum(num_epochs, 20, 100)
    found = lab.minimum_gaps(lab.large_epoch_nonconvex_instance, [num_epochs], L=20.0, n=100, num_rates=2000)
    assert found.gaps[0] == pytest.approx(gap, rel=1e-3) and found.learning_rates[0] == pytest.approx(step, rel=0.01)


def test_second_order_bias_is_the_derivative_of_the_drift():
    problem, order = random_problem(6, 2, seed=5), np.array([2, 0, 1, 5, 4, 3])
    h = 1e-4
    ends = [igd.epoch_map(problem, s, order=order)(problem.minimizer) - problem.minimizer for s in (h, -h)]
    np.testing.assert_allclose((ends[0] + ends[1]) / (2 * h**2), lab.second_order_bias(problem, order), rtol=1e-4)
    epoch = igd.epoch_map(problem, 0.01, order=order)
    steady = problem.gap(epoch.power(10**5)(np.zeros(2)))
    assert lab.steady_gap(problem, order, learning_rate=0.01) == pytest.approx(steady, rel=1e-9)


# -- orders -----------------------------------------------------------------------------------------------------------

VECTORS = arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-4, 4).map(float))


@settings(max_examples=60, deadline=None)
@given(VECTORS, st.integers(0, 5))
def test_herding_is_greedy_and_orders_are_permutations(vectors, seed):
    order, constant = igd.herded_order(vectors)
    np.testing.assert_array_equal(order, reference.herded_order(vectors))
    for candidate in (order, igd.herded_order(vectors, seed=seed)[0]):
        np.testing.assert_array_equal(np.sort(candidate), np.arange(len(vectors)))
    assert constant == igd.prefix_constant(vectors, order)
    if np.ptp(vectors, axis=0).max() > 0:
        assert constant == pytest.approx(reference.prefix_constant(vectors, order), abs=1e-9)
        shifted = 3 * vectors - np.arange(vectors.shape[1])
        assert igd.prefix_constant(shifted, order) == pytest.approx(constant, abs=1e-9)
    else:
        assert constant == 0


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((0, 2)), np.full((2, 2), np.inf)])
def test_bad_vectors_are_refused(bad):
    for call in (igd.herded_order, igd.HerdedSampler, lambda v: igd.prefix_constant(v, [0])):
        with pytest.raises(ValueError, match="vectors of shape"):
            call(bad)
    with pytest.raises(ValueError, match="no permutation"):
        igd.prefix_constant(np.ones((3, 2)), [0, 1, 1])


def test_sampler_serves_a_data_loader():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    inputs, targets = torch.randn(10, 3), torch.randn(10, 1)
    rows = igd.per_sample_gradients(model, torch.nn.functional.mse_loss, inputs, targets)
    for x, y, row in zip(inputs, targets, rows, strict=True):
        single = torch.autograd.grad(torch.nn.functional.mse_loss(model(x[None]), y[None]), list(model.parameters()))
        torch.testing.assert_close(row, torch.cat([g.flatten() for g in single]))
    sampler = igd.HerdedSampler(rows)
    assert len(sampler) == 10 and sampler.herding_constant == igd.prefix_constant(rows.numpy(), sampler.order)
    dataset = torch.utils.data.TensorDataset(torch.arange(10))
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, sampler=sampler)
    for _ in range(2):  # the same order every epoch
        assert torch.cat([batch for (batch,) in loader]).tolist() == sampler.order.tolist()


# -- experiments ------------------------------------------------------------------------------------------------------


def test_unknown_rates_and_steps_beyond_the_bound_are_refused():
    with pytest.raises(ValueError, match="name='slow'"):
        lab.rate("slow", 3)
    problem, x0 = lab.polygon_instance(num_epochs=4)
    with pytest.raises(ValueError, match="above 1/L"):
        lab.distance_bound(problem, x0, learning_rate=0.1, num_epochs=4)
    concave, x0 = lab.nonconvex_instance(num_epochs=4)
    with pytest.raises(ValueError, match="curvature -100"):
        lab.distance_bound(concave, x0, learning_rate=0.001, num_epochs=4)


def test_image_problem_on_digits():
    digits = data.load("digits")
    problem = lab.image_problem(digits, classes=(3, 8), num_samples=100, pool=2)
    assert problem.X.shape == (100, 17) and set(problem.y) == {-1.0, 1.0}
    np.testing.assert_allclose(problem.X[:, :-1].mean(axis=0), 0, atol=1e-12)
    first = np.flatnonzero(np.isin(digits.targets.numpy(), (3, 8)))[0]
    assert problem.y[0] == (1 if digits.targets[first] == 3 else -1)
    pixels = digits.inputs[first, 0].numpy()
    difference = problem.X[0, 0] - problem.X[1, 0]
    second = digits.inputs[np.flatnonzero(np.isin(digits.targets.numpy(), (3, 8)))[1], 0].numpy()
    assert difference == pytest.approx(pixels[:2, :2].mean() - second[:2, :2].mean(), abs=1e-6)
    order = lab.sorted_by_class(problem)
    assert np.all(np.diff(problem.y[order]) <= 0)
    tuned = lab.image_gaps(problem, replace(lab.SMOKE, image_epochs=3))
    assert {name: values.shape for name, values in tuned.items()} == dict.fromkeys(
        ("sorted", "reshuffled", "replacement", "herded"), (3,)
    )
    with pytest.raises(ValueError, match="has only"):
        lab.image_problem(digits, num_samples=1000)
    with pytest.raises(ValueError, match="pool=3"):
        lab.image_problem(digits, num_samples=10, pool=3)


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------


@cache
def minima(instance, order="cyclic", epochs=FEW, expected=False, **constants):
    return lab.minimum_gaps(instance, epochs, order=order, expected=expected, num_rates=60, **constants)


def times_epochs(order):
    return minima(lab.shared_hessian_instance, order, expected=True).gaps * FEW


SIZES = np.array([50, 100, 200, 400, 800])


def alternating(n):
    return np.stack([np.arange(n // 2), n // 2 + np.arange(n // 2)], axis=1).ravel()


def ratios_to_random(cyclic=None, random="replacement", num_epochs=4):
    values = []
    for n in SIZES:
        problem, _ = lab.shared_hessian_instance(num_epochs=4, n=int(n))
        run = {"learning_rate": 1 / (4 * n), "num_epochs": num_epochs}
        order = "cyclic" if cyclic is None else cyclic(n)
        fixed = igd.final_gaps(problem, np.zeros(3), **run, order=order)
        values.append((fixed, igd.expected_gap(problem, np.zeros(3), **run, order=random)))
    return np.array(values)


CURVATURES = np.geomspace(1, 200, 500)


def by_curvature(k, z=1.0):
    return k * lab.gap_by_curvature(CURVATURES, learning_rate=z / (200 * k), num_epochs=k)


def clockwise_path():
    problem, _ = lab.polygon_instance(num_epochs=8)
    order = np.concatenate([[0], np.arange(199, 0, -1)])
    start = lab.polygon_orbit(problem, learning_rate=1 / 1600, offset=False)
    path = [start]
    for i in np.tile(order, 8):
        path.append(igd.epoch_map(problem, 1 / 1600, order=[i])(path[-1]))
    radii = np.linalg.norm(path, axis=1)
    return [np.linalg.norm(path[-1] - start) / radii[0], np.ptp(radii) / radii[0]]


def polygon_gaps(offset=True, z=None):
    """Least gap from the orbit of each step (or at one z), by number of epochs."""
    gaps = []
    for k in FEW:
        problem, _ = lab.polygon_instance(num_epochs=k)
        rates = igd.step_sizes(problem, k) if z is None else np.array([z / (200 * k)])
        starts = lab.polygon_orbit(problem, learning_rate=rates, offset=offset)
        gaps.append(igd.final_gaps(problem, starts, learning_rate=rates, num_epochs=k).min())
    return np.array(gaps)


def polygon_slopes(n, kappa=1e6):
    k = np.array([5, 10, 20, 1e3, 2e3, 5e3, 1e4, 1e6, 3e6])
    heights = lab.polygon_gap(learning_rate=1 / (n * k), L=kappa, n=n)
    return (np.diff(np.log(heights)) / np.diff(np.log(k)))[[0, 1, 3, 4, 5, 7]]


def wrong_bound():
    """The closed orbit over the bound of the herded order."""
    problem, _ = lab.polygon_instance(num_epochs=14)
    run = {"learning_rate": 1 / 2800, "num_epochs": 14}
    start = lab.polygon_orbit(problem, learning_rate=1 / 2800, offset=False)
    x = igd.incremental_gd(problem, start, **run).iterates[-1]
    return np.sum(x**2) / lab.distance_bound(problem, start, **run, order=lab.herded(problem))


def orbit_over_loose_bound():
    ratios = []
    for k in (4, 8, 14):
        rate = 1 / (200 * k)
        square = lab.polygon_gap(learning_rate=rate) * 4 / 201
        ratios.append(square / ((1 - rate) ** (200 * k) * square + rate**2 * 200 * 100**2))
    return ratios


def explosion_slopes(**constants):
    few = np.array([2, 3, 4, 5, 6, 8])
    runs = [lab.minimum_gaps(lab.nonconvex_instance, few, n=n, **constants).gaps for n in (200, 1000)]
    return [np.polyfit(1 / few, np.log(gaps), 1)[0] for gaps in runs]


SETTINGS = [(8, 1), (16, 1), (8, 4)]


def nonconvex_logs(order):
    return [np.log10(lab.nonconvex_gaps(k, z)[order]) for k, z in SETTINGS]


def concave_first_logs():
    logs = []
    for k, z in SETTINGS:
        problem, x0 = lab.nonconvex_instance(num_epochs=k)
        run = {"learning_rate": z / (200 * k), "num_epochs": k, "order": np.arange(200)[::-1]}
        logs.append(np.log10(igd.final_gaps(problem, 0 * x0, **run)))
    return logs


def shuffled_once():
    problem, _ = lab.nonconvex_instance(num_epochs=8)
    rng = np.random.default_rng(0)
    gaps = np.array(
        [
            igd.final_gaps(problem, np.zeros(2), learning_rate=1 / 1600, num_epochs=8, order=rng.permutation(200))
            for _ in range(2000)
        ]
    )
    exact = lab.nonconvex_gaps(8, 1.0)
    return [(gaps.mean() - exact[o]) / (gaps.std() / np.sqrt(2000)) for o in ("reshuffled", "replacement")]


def random_order(problem=None, num_epochs=None):
    n = 200 if problem is None else problem.num_components
    return np.random.default_rng(0).permutation(n)


def prefix_constants(order):
    tilts = [(p.gradients(p.minimizer)) for p in (i(num_epochs=16)[0] for i in INSTANCES)]
    return [igd.prefix_constant(v, order) for v in tilts]


def ties_in_turn():
    problem, x0 = lab.polygon_instance(num_epochs=16)
    steps = igd.step_sizes(problem, 16, num=60)
    return igd.best_gap(problem, x0, num_epochs=16, order=lab.herded(problem), learning_rates=steps)[0]


LONG = tuple(20 * 2**k for k in range(7))


def large(instance, name, epochs=LONG, kappa=20.0, n=100):
    found = lab.minimum_gaps(instance, epochs, L=kappa, n=n, num_rates=300)
    return found, found.gaps / lab.rate(name, found.epochs, L=kappa)


def squared_step_divided_out():
    found, _ = large(lab.large_epoch_convex_instance, "large epochs, convex")
    return (np.diff(np.log(found.gaps / found.z**2)) / np.log(2))[[0, -1]]


@cache
def large_reshuffled():
    problem, _ = lab.large_epoch_nonconvex_instance(L=30.0, n=80)
    epochs = np.array([120, 480, 1920])
    gaps = [igd.expected_gap(problem, np.zeros(2), learning_rate=1 / (80 * k), num_epochs=int(k)) for k in epochs]
    return epochs, np.array(gaps)


def replacement_over_lower_bounds():
    return min(
        (minima(instance, "replacement", expected=True).gaps / lab.rate(name, FEW)).min()
        for name, instance in zip(("shared Hessian", "strongly convex, lower", "nonconvex"), INSTANCES, strict=True)
    )


def meeting_point(kappa):
    dense = np.geomspace(2, 100, 400)
    upper, lower = (lab.rate(f"strongly convex, {side}", dense, L=kappa) for side in ("upper", "lower"))
    return dense[np.argmin(upper / lower)]


def safran_shamir(factor):
    problem, x0 = lab.safran_shamir_instance()
    rows = []
    for k in (40, 80, 200, 400, 1000, 2000, 10000):
        run = {"learning_rate": factor * np.log(500 * k) / (500 * k), "num_epochs": k}
        random = [igd.expected_gap(problem, x0, **run, order=o) for o in ("reshuffled", "replacement")]
        rows.append([*random, igd.final_gaps(problem, x0, **run)])
    return np.array(rows)


@cache
def images():
    return lab.image_problem(data.load("fashion-mnist-12k"))


@cache
def image_runs(num_epochs=20):
    """Tuned gaps of a random order, of the sorted one, and of the classes in turns."""
    problem, rng = images(), np.random.default_rng(0)
    classes = lab.sorted_by_class(problem)
    half = np.sum(problem.y > 0)
    paired = min(half, 1000 - half)
    turns = np.concatenate([classes[: 2 * paired : 1][np.argsort(np.arange(2 * paired) % paired, kind="stable")]])
    turns = np.concatenate([turns, np.setdiff1d(np.arange(1000), turns)])
    rates, zero = np.geomspace(1e-4, 10**0.5, 28), np.zeros(problem.dim)
    orders = {"random": rng.permutation(1000), "sorted": classes, "turns": turns}
    run = {"learning_rate": rates, "num_epochs": num_epochs}
    tuned = {k: igd.incremental_gd(problem, zero, **run, order=o).gaps[1:].min(axis=1) for k, o in orders.items()}
    for order in ("reshuffled", "replacement"):
        gaps = igd.incremental_gd(problem, zero, **run, order=order, seed=np.arange(3)[:, None]).gaps
        tuned[order] = gaps[1:].mean(axis=1).min(axis=1)
    return tuned


def half_the_ridge():
    problem = images()
    return igd.LogisticSum(problem.X, problem.y, ridge=problem.ridge / 2)


def condition(problem):
    values = np.linalg.eigvalsh(problem.hessian(problem.minimizer))
    return values[-1] / values[0]


def largest_gradient(problem):
    return np.linalg.norm(problem.gradients(problem.minimizer), axis=1).max()


def single_step(names):
    problem = images()
    herded = igd.herded_order(problem.gradients(problem.minimizer))[0]
    orders = {"sorted": lab.sorted_by_class(problem), "herded": herded}
    values = {
        name: igd.incremental_gd(
            problem, np.zeros(problem.dim), learning_rate=0.01, num_epochs=20, order=orders.get(name, name)
        ).gaps
        for name in names
    }
    return np.log10([values[name][k] for k in (5, 20) for name in names])


def image_constants():
    problem = images()
    gradients = problem.gradients(problem.minimizer)
    return [igd.prefix_constant(gradients, np.random.default_rng(s).permutation(1000)) for s in range(2)]


def scheduled(schedule):
    z = (1, 1.5, 2, 3, 4, 6, 9, 14)
    return np.log2(
        [
            lab.minimum_gaps(i, [8], z=z, schedule=schedule, from_minimizer=i is lab.polygon_instance).gaps[0]
            for i in INSTANCES
        ]
    )


def mean_hessian_bias():
    problem, orders, steps = lab.rotating_quadratic(), lab.all_orders(6), np.geomspace(1e-3, 1e-2, 5)
    averaged = igd.QuadraticSum(np.tile(problem.mean_hessian, (6, 1, 1)), problem.linear_terms)
    steady = np.array([[lab.steady_gap(problem, o, learning_rate=h) for o in orders] for h in steps])
    predicted = np.array([lab.bias_gap(averaged, o, learning_rate=steps) for o in orders]).T
    return steps, np.abs(steady - predicted).max(axis=1) / steady.mean(axis=1)


def at_sixteen(instance, order="cyclic"):
    return lab.minimum_gaps(instance, [16], order=order, num_rates=60).gaps[0]


CONTROLS = {
    "C1a": lambda: times_epochs("replacement"),
    "C1c": lambda: np.exp(np.diff(np.log(minima(lab.shared_hessian_instance).gaps))),
    "C2a": lambda: np.divide(*ratios_to_random(random="reshuffled").T) / SIZES,
    "C2b": lambda: (SIZES, np.divide(*ratios_to_random(cyclic=alternating).T)),
    "C2c": lambda: np.log10(ratios_to_random(num_epochs=5)[2]),
    "C3a": lambda: (
        16 * lab.gap_by_curvature(CURVATURES, learning_rate=1 / 3200, num_epochs=10**6, order=alternating(200)).max()
    ),
    "C3b": lambda: [by_curvature(k, 3.0).max() for k in (4, 16, 64)],
    "C3c": lambda: [CURVATURES[by_curvature(k, 3.0).argmax()] / k for k in (4, 16)],
    "C4b": lambda: [
        lab.sampled_minimum(lab.polygon_instance, k, lab.SMOKE) / lab.rate("strongly convex, lower", k) for k in FEW
    ],
    "C5a": wrong_bound,
    "C5b": orbit_over_loose_bound,
    "C6a": lambda: minima(lab.nonconvex_instance, "reshuffled", FEW[:5], True).gaps / lab.rate("nonconvex", FEW[:5]),
    "C6d": lambda: explosion_slopes(L=100.0),
    "C7a": lambda: nonconvex_logs("replacement"),
    "C7b": lambda: nonconvex_logs("reshuffled"),
    "C7c": concave_first_logs,
    "C8a": lambda: np.concatenate(
        [
            minima(i, "replacement", (8, 16, 32, 64), True).gaps / minima(i, epochs=(8, 16, 32, 64)).gaps
            for i in INSTANCES[:2]
        ]
    ),
    "C8d": lambda: np.log2([at_sixteen(INSTANCES[0], random_order), at_sixteen(INSTANCES[2], random_order)]),
    "C8e": ties_in_turn,
    "C8f": lambda: np.log2([at_sixteen(INSTANCES[k]) for k in (0, 0, 1, 1)]),
    "C8g": lambda: np.log2(at_sixteen(INSTANCES[2])),
    "C9a": lambda: large(lab.large_epoch_convex_instance, "large epochs, convex")[1],
    "C9b": squared_step_divided_out,
    "C10a": lambda: large(lab.large_epoch_nonconvex_instance, "large epochs, nonconvex")[1],
    "C10b": lambda: large(lab.large_epoch_nonconvex_instance, "large epochs, nonconvex", (20, 10240), 50.0)[1],
    "C10c": lambda: large_reshuffled()[1] / lab.rate("large epochs, nonconvex", large_reshuffled()[0], L=30.0),
    "C10d": lambda: tuple(column[1:] for column in large_reshuffled()),
    "C11a": replacement_over_lower_bounds,
    "C11b": lambda: meeting_point(400.0),
    "C12a": lambda: np.divide(*safran_shamir(2.0)[:, :2].T),
    "C12b": lambda: np.log10(safran_shamir(2.0)[0, 1:]),
    "C13a": lambda: half_the_ridge().least_value,
    "C13b": lambda: condition(half_the_ridge()),
    "C13c": lambda: largest_gradient(half_the_ridge()),
    "C13d": lambda: image_runs()["turns"] / image_runs()["reshuffled"],
    "C13e": lambda: np.log2(image_runs()["sorted"] / image_runs()["replacement"])[:5],
    "C13f": lambda: (image_runs()["reshuffled"] / image_runs()["random"])[4:],
    "C13g": image_constants,
    "C13h": lambda: single_step(("sorted", "replacement", "herded")),
    "C13i": lambda: single_step(("reshuffled",)),
    "C14a": lambda: scheduled("linear"),
    "C14b": lambda: scheduled("constant"),
    "C14c": lambda: scheduled("linear"),
    "D1": lambda: np.log2([lab.minimum_gaps(i, [8]).gaps[0] for i in INSTANCES]),
    "D2": mean_hessian_bias,
    "D3a": clockwise_path,
    "D3b": lambda: np.log2(polygon_gaps() / polygon_gaps(offset=False)),
    "D3c": lambda: polygon_gaps(z=1.0) / lab.rate("strongly convex, lower", FEW),
    "D4a": lambda: lab.polygon_gap(learning_rate=1 / (1e5 * 1e3), L=1e6, n=10**5) / 1e6,
    "D4b": lambda: polygon_slopes(200),
    "D5": shuffled_once,
    "D6a": lambda: prefix_constants(random_order()),
    "D6b": lambda: prefix_constants(random_order()),
}


def test_every_check_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)
