"""Margins against a convex solver, closed forms, and invariances."""

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab import geometry


def random_rows(seed, shape=(8, 20)):
    return np.random.default_rng(seed).standard_normal(shape)


def solve(X, norm, scale=None):
    """The best margin by an interior-point solver."""
    w = cvxpy.Variable(X.shape[1])
    size = cvxpy.norm(w if scale is None else cvxpy.multiply(np.sqrt(scale), w), norm)
    problem = cvxpy.Problem(cvxpy.Maximize(cvxpy.min(X @ w)), [size <= 1])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return problem.value, w.value


@pytest.mark.parametrize("seed", range(5))
def test_l2_agrees_with_a_convex_solver(seed):
    X = random_rows(seed)
    value, w = solve(X, 2)
    found = geometry.l2_max_margin(X)
    assert found.margin == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(found.direction, w, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_linf_agrees_with_a_convex_solver(seed):
    X = random_rows(seed)
    assert geometry.linf_max_margin(X).margin == pytest.approx(solve(X, "inf")[0], abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_mahalanobis_agrees_with_a_convex_solver(seed):
    X, scale = random_rows(seed), np.random.default_rng(seed).uniform(0.1, 10, 20)
    assert geometry.mahalanobis_max_margin(X, scale).margin == pytest.approx(solve(X, 2, scale)[0], abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(12, 30))
def test_optimality_conditions(seed, num_samples, dim):
    X = random_rows(seed, (num_samples, dim))
    best = geometry.l2_max_margin(X)
    assert np.linalg.norm(best.direction) == pytest.approx(1)
    assert best.dual.min() >= 0 and best.dual.sum() == pytest.approx(1)
    np.testing.assert_allclose(best.dual @ X, best.margin * best.direction, atol=1e-9)  # the nearest point of the hull
    np.testing.assert_allclose((X @ best.direction - best.margin) * best.dual, 0, atol=1e-9)  # complementary slackness
    flat = geometry.linf_max_margin(X)
    assert np.abs(flat.direction).max() == pytest.approx(1)
    assert np.abs(flat.dual @ X).sum() == pytest.approx(flat.margin)  # the l1 norm of the hull's point: strong duality


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-8, 1e8))
def test_scaling_the_data_scales_the_margin(seed, factor):
    X = random_rows(seed)
    for solver in (geometry.l2_max_margin, geometry.linf_max_margin):
        assert solver(factor * X).margin == pytest.approx(factor * solver(X).margin, rel=1e-9)


def test_small_margins_are_resolved():
    X = np.array([[1.0, 1e-6], [-1.0, 1e-6]])
    assert geometry.l2_max_margin(X).margin == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize("solver", [geometry.l2_max_margin, geometry.linf_max_margin])
def test_not_separable_data_come_with_a_certificate(solver):
    X = np.vstack([random_rows(0, (30, 3)), -random_rows(0, (1, 3))])
    with pytest.raises(geometry.NotSeparableError, match="not linearly separable") as error:
        solver(X)
    weights = error.value.certificate
    assert weights.shape == (31,) and weights.min() >= 0 and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights @ X, 0, atol=1e-10)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.empty((0, 3)), "non-empty"),
        ([[1.0, np.nan]], "finite"),
        ([[1.0, 2.0], [0.0, 0.0]], "row of zeros"),
        ([1.0, 2.0], "matrix"),
    ],
)
def test_bad_data_are_named(X, message):
    with pytest.raises(ValueError, match=message):
        geometry.l2_max_margin(X)


def test_bad_norm_and_scale_are_named():
    X = random_rows(0)
    with pytest.raises(ValueError, match="norm=1"):
        geometry.margin(X, X[0], norm=1)
    with pytest.raises(ValueError, match="positive"):
        geometry.mahalanobis_max_margin(X, np.zeros(20))


def test_margin_cosine_and_misalignment():
    X = np.array([[3.0, 4.0], [0.0, 2.0]])
    assert geometry.margin(X, [0.0, 5.0]) == 2.0
    assert geometry.margin(X, [1.0, -2.0], np.inf) == pytest.approx(-2.5)
    assert geometry.margin(X, [0.0, 1.0], scale=[1.0, 4.0]) == pytest.approx(1.0)
    assert geometry.cosine([1, 0], [1, 1]) == pytest.approx(np.sqrt(0.5))
    assert geometry.misalignment([1.0, 1e-9], [1.0, 0.0]) == pytest.approx(5e-19)
    assert geometry.cosine(1e-200 * np.ones((4, 2)), 1e200 * np.ones(2)) == pytest.approx(np.ones(4))


@settings(max_examples=100, deadline=None)
@given(st.floats(-700, 700))
def test_log_slope_is_the_logarithm_of_the_derivative(z):
    expected = -np.logaddexp(0.0, z)
    assert geometry.log_slope_logistic(z) == pytest.approx(expected, rel=1e-13, abs=1e-300)
    assert geometry.log_slope_exponential(z) == -z


def test_log_loss_beyond_the_range_of_floats():
    X = np.array([[1.0], [2.0]])
    assert geometry.log_loss(X, [3.0]) == pytest.approx(np.log(np.log1p(np.exp([-3.0, -6.0])).mean()))
    assert geometry.log_loss(X, [5000.0]) == pytest.approx(-5000 - np.log(2))
    assert geometry.log_loss(X, [5000.0], "exponential") == pytest.approx(-5000 - np.log(2))


def test_recorded_steps():
    steps = geometry.recorded_steps(1001)
    assert steps[-1] == 1001 and 500 in steps and np.all(np.diff(steps) > 0)
    assert list(geometry.recorded_steps(10, [0, 5])) == [0, 5, 10]
    with pytest.raises(ValueError, match="record holds 11"):
        geometry.recorded_steps(10, [11])
    with pytest.raises(ValueError, match="num_steps=0"):
        geometry.recorded_steps(0)


def test_increment_needs_the_half_way_iterate():
    run = geometry.Trajectory(np.array([3, 10]), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="half-way step 5"):
        run.increment()
