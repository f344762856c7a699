"""Exact rates and moments against all orders written out, closed forms and runs; every claim against a wrong variant."""

from functools import cache
from itertools import permutations

import numpy as np
import pytest
from experiments import coordinate_descent as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import coordinate_descent as reference

from descentlab import coordinate_descent as cd
from descentlab import random_maps
from descentlab.coordinate_descent import matrices, methods, rates


def positive_definite(n, seed):
    """A random matrix with any diagonal."""
    G = np.random.default_rng(seed).standard_normal((n, n + 1))
    return G @ G.T * np.outer(np.arange(1, n + 1), np.arange(1, n + 1))


# -- rates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relaxation", [1.0, 0.6, 1.5])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_rates_are_those_of_all_orders(n, relaxation):
    A = positive_definite(n, seed=n)
    shuffled = reference.radius(reference.shuffled_operator(A, relaxation))
    drawn = reference.radius(reference.drawn_operator(A, relaxation))
    cyclic = reference.radius(reference.epoch_matrix(A, range(n), relaxation)) ** 2
    assert cd.rpcd_rate(A, relaxation=relaxation) == pytest.approx(shuffled, abs=1e-12)
    assert cd.rcd_rate(A, relaxation=relaxation) == pytest.approx(drawn, abs=1e-12)
    assert cd.ccd_rate(A, relaxation=relaxation) == pytest.approx(cyclic, abs=1e-12)


@pytest.mark.parametrize("n", [6, 8, 9, 10])
def test_the_rank_one_recursion_is_the_engine(n):
    A = positive_definite(n, seed=n)
    maps = lab.coordinate_maps(A)
    assert cd.rpcd_rate(A) == pytest.approx(random_maps.spectral_radius(maps, order="reshuffled", energy=A), abs=1e-11)
    assert cd.rcd_rate(A) == pytest.approx(random_maps.spectral_radius(maps, order="replacement", energy=A), abs=1e-11)


@pytest.mark.parametrize("relaxation", [1.0, 0.7, 1.6])
@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_invariant_rates_are_those_of_the_matrix(n, relaxation):
    for sigma in (1e-6, 0.3, 0.95, 1.0):
        A = cd.permutation_invariant(n, sigma)
        shuffled = cd.rpcd_rate_invariant(n, sigma, relaxation=relaxation)
        drawn = cd.rcd_rate_invariant(n, sigma, relaxation=relaxation)
        # a square root of the condition number of the frame is lost for the tiny sigma
        tolerance = 1e-12 if sigma > 1e-3 else 1e-9
        assert cd.rpcd_rate(A, relaxation=relaxation) == pytest.approx(shuffled, abs=tolerance)
        assert cd.rcd_rate(A, relaxation=relaxation) == pytest.approx(drawn, abs=tolerance)


def test_closed_forms():
    for sigma in (1e-9, 0.2, 0.999):
        a = 1 - sigma
        assert cd.rpcd_rate_invariant(2, sigma) == pytest.approx((a**2 + a**4) / 2, rel=1e-12)
    assert cd.rpcd_rate_invariant(3, 0.4) == pytest.approx((4521 + 3 * np.sqrt(2321049)) / 31250, abs=1e-15)
    assert cd.rpcd_rate(np.eye(5)) == 0 and cd.rpcd_rate_invariant(7, 1.0) == 0
    assert cd.rcd_rate(np.eye(5)) == pytest.approx(0.8**5)  # each coordinate is missed with probability 4/5
    assert cd.ccd_rate(np.diag([1.0, 5.0])) == 0


def test_tiny_sigma_keeps_its_digits():
    for sigma in (1e-6, 1e-9, 1e-12):
        gaps = [1 - rate(50, sigma) for rate in (cd.rpcd_rate_invariant, cd.rcd_rate_invariant, cd.rate_bound)]
        assert gaps == pytest.approx([2 * sigma * 51 / 50, 2 * sigma, 2 * sigma], rel=1e-3 if sigma < 1e-10 else 1e-4)


def test_large_matrices_of_the_class_are_recognised():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], 30)
    A = cd.permutation_invariant(30, 0.2, signs=signs) * np.outer(np.arange(1, 31), np.arange(1, 31))
    assert cd.rpcd_rate(A) == pytest.approx(cd.rpcd_rate_invariant(30, 0.2), abs=1e-12)
    with pytest.raises(ValueError, match=r"15 coordinates.*at most 14.*rpcd_bracket"):
        cd.rpcd_rate(positive_definite(15, 0))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_block_has_the_rate_of_its_size(k):
    A = cd.permutation_invariant(6, 0.3, block=k)
    assert cd.rpcd_rate(A) == pytest.approx(cd.rpcd_rate_invariant(k, 0.3), abs=1e-13)
    assert np.linalg.eigvalsh(A)[0] == pytest.approx(0.3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_bounds_hold_for_random_matrices(seed, n):
    A = cd.unit_diagonal(positive_definite(n, seed))
    sigma = np.linalg.eigvalsh(A)[0]
    rate = cd.rpcd_rate(A)
    assert cd.rcd_rate(A) >= cd.rate_bound(n, sigma) - 1e-10
    assert rate <= cd.energy_bound(A) + 1e-10 and rate <= 1 - np.linalg.det(A) + 1e-10
    assert rate <= cd.rate_bound(n, sigma)  # conjectured
    assert np.sum(A**2) >= n  # unit diagonal


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_rates_ignore_signs_order_and_scale(seed, n):
    rng = np.random.default_rng(seed)
    A, signs, order, scale = (
        positive_definite(n, seed),
        rng.choice([-1.0, 1.0], n),
        rng.permutation(n),
        rng.uniform(0.1, 9, n),
    )
    for variant in (A * np.outer(signs, signs), A[np.ix_(order, order)], A * np.outer(scale, scale)):
        assert cd.rpcd_rate(variant) == pytest.approx(cd.rpcd_rate(A), abs=1e-9)
        assert cd.rcd_rate(variant) == pytest.approx(cd.rcd_rate(A), abs=1e-9)


def test_the_bracket_holds_the_rate():
    A = lab.random_matrices(16)[12]
    low, high, error = cd.rpcd_bracket(A, num_orders=300, seed=1)
    assert low - 4 * error <= cd.rpcd_rate(A) <= high + 4 * error and error < 0.02
    assert cd.rpcd_bracket(A, num_orders=20, seed=1) == cd.rpcd_bracket(A, num_orders=20, seed=1)
    identity = cd.rpcd_bracket(np.eye(4), num_orders=5)
    assert identity == pytest.approx((0, 0, 0), abs=1e-12)


# -- moments and runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4])
def test_expected_moments_are_those_of_all_orders(n):
    A, x0 = positive_definite(n, n), np.random.default_rng(n).standard_normal((3, n))
    operators = {
        "rpcd": reference.shuffled_operator(A),
        "rcd": reference.drawn_operator(A),
        "ccd": np.kron(*[reference.epoch_matrix(A, range(n))] * 2),
    }
    for method, operator in operators.items():
        norms, objectives = reference.moments(operator, A, x0.T @ x0 / 3, 4)
        ours = cd.expected_moments(A, x0, num_epochs=4, method=method)
        np.testing.assert_allclose(ours.squared_norm, norms, rtol=1e-10)
        np.testing.assert_allclose(ours.objective, objectives, rtol=1e-10)
        again = cd.expected_moments(A, None, num_epochs=4, method=method, second_moment=x0.T @ x0 / 3)
        np.testing.assert_allclose(again.squared_norm, norms, rtol=1e-10)


def test_drawn_moments_are_those_of_all_sequences():
    A, x0 = positive_definite(3, 1), np.array([1.0, -2.0, 0.5])
    X = reference.mean_over_sequences(A, np.outer(x0, x0), 3)
    ours = cd.expected_moments(A, x0, num_epochs=1, method="rcd")
    assert ours.squared_norm[1] == pytest.approx(np.trace(X))
    assert ours.objective[1] == pytest.approx(np.sum(A * X) / 2)


def test_invariant_moments_are_those_of_the_subsets():
    signs = np.array([1.0, -1, 1, 1, -1, 1, 1])
    A, x0 = cd.permutation_invariant(7, 0.15, signs=signs), np.arange(7.0) - 2
    subsets = cd.expected_moments(A, x0, num_epochs=6)
    closed = methods._invariant_moments(7, 0.15, signs, np.outer(x0, x0), 6, 1.0)
    np.testing.assert_allclose(closed.squared_norm, subsets.squared_norm, rtol=1e-12)
    np.testing.assert_allclose(closed.objective, subsets.objective, rtol=1e-12)
    large = cd.expected_moments(cd.permutation_invariant(20, 0.15), np.ones(20), num_epochs=3)
    assert large.squared_norm.shape == large.objective.shape == (4,) and large.squared_norm[0] == pytest.approx(20)
    with pytest.raises(ValueError, match="15 coordinates"):
        cd.expected_moments(positive_definite(15, 0), np.ones(15), num_epochs=1)


def test_moments_shrink_at_the_rate():
    A = positive_definite(4, 7)
    for method, rate in (("rpcd", cd.rpcd_rate(A)), ("rcd", cd.rcd_rate(A)), ("ccd", cd.ccd_rate(A))):
        norms = cd.expected_moments(A, np.ones(4), num_epochs=60, method=method).squared_norm
        assert (norms[60] / norms[40]) ** (1 / 20) == pytest.approx(rate, rel=0.05)


def test_runs_are_the_papers_steps():
    A, b, x0 = positive_definite(3, 2), np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
    optimum = np.linalg.solve(A, b)
    cyclic = cd.coordinate_descent(A, x0, num_epochs=2, method="ccd", b=b)
    x = x0 - optimum
    for i in (0, 1, 2, 0, 1, 2):
        x = reference.step(A, x, i)
    np.testing.assert_allclose(cyclic[-1], x + optimum, atol=1e-12)
    ends = [reference.epoch_matrix(A, p) @ (x0 - optimum) + optimum for p in permutations(range(3))]
    shuffled = cd.coordinate_descent(A, np.tile(x0, (200, 1)), num_epochs=1, method="rpcd", b=b)[1]
    nearest = np.abs(shuffled[:, None] - np.array(ends)).max(axis=2)
    assert nearest.min(axis=1).max() < 1e-12
    assert set(nearest.argmin(axis=1)) == set(range(6))  # every order occurs


def test_all_methods_solve_the_system():
    A, b = positive_definite(5, 3), np.arange(5.0)
    for method in ("rpcd", "rcd", "ccd"):
        run = cd.coordinate_descent(A, np.zeros((2, 3, 5)), num_epochs=3000, method=method, b=b)
        assert run.shape == (3001, 2, 3, 5)
        np.testing.assert_allclose(run[-1] @ A, np.broadcast_to(b, (2, 3, 5)), atol=1e-6)


@pytest.mark.parametrize("method", ["rpcd", "rcd", "ccd"])
def test_the_running_sum_makes_the_same_steps(method):
    x0 = np.random.default_rng(1).standard_normal((6, 12))
    slow = cd.coordinate_descent(cd.permutation_invariant(12, 0.2), x0, num_epochs=8, method=method, seed=5)
    fast = cd.coordinate_descent_invariant(12, 0.2, x0, num_epochs=8, method=method, seed=5)
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    if method != "ccd":
        other = cd.coordinate_descent_invariant(12, 0.2, x0, num_epochs=8, method=method, seed=6)
        assert not np.allclose(fast[1], other[1])
    assert np.array_equal(x0, np.random.default_rng(1).standard_normal((6, 12)))  # not overwritten


def test_a_fresh_order_every_epoch():
    """Shuffling once would make the second epoch repeat the first one's order."""
    x0 = np.eye(4)[0]
    A = cd.permutation_invariant(4, 0.3)
    orders = []
    for seed in range(10):
        run = cd.coordinate_descent(A, x0, num_epochs=2, seed=seed)
        found = [
            [p for p in permutations(range(4)) if np.allclose(reference.epoch_matrix(A, p) @ run[k], run[k + 1])]
            for k in (0, 1)
        ]
        orders.append(set(found[0]) & set(found[1]))
    assert any(not common for common in orders)


def test_relaxed_runs():
    A = positive_definite(3, 4)
    run = cd.coordinate_descent(A, np.ones(3), num_epochs=1, method="ccd", relaxation=1.4)
    np.testing.assert_allclose(run[1], reference.epoch_matrix(A, range(3), 1.4) @ np.ones(3), atol=1e-12)


def test_cyclic_selection_of_scikit_learn_is_cyclic_descent():
    A = cd.permutation_invariant(6, 0.2)
    theirs = lab.scikit_learn_norms(A, num_epochs=5, num_runs=10, selection="cyclic", seed=3)
    x0 = np.random.default_rng(3).standard_normal((10, 6))
    ours = cd.coordinate_descent(A, x0, num_epochs=5, method="ccd")[-1]
    np.testing.assert_allclose(theirs, np.sum(ours**2, axis=1), rtol=1e-10)


# -- the search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 8, 9])
def test_the_gradient_is_that_of_finite_differences(n):
    A = cd.unit_diagonal(positive_definite(n, n + 10))
    rate, gradient = lab.rpcd_rate_gradient(A)
    assert rate == pytest.approx(cd.rpcd_rate(A), abs=1e-12)
    assert np.array_equal(gradient, gradient.T) and not np.diag(gradient).any()
    direction = np.random.default_rng(n).standard_normal((n, n))
    direction = direction + direction.T
    np.fill_diagonal(direction, 0.0)
    h = 1e-5
    slope = (cd.rpcd_rate(A + h * direction) - cd.rpcd_rate(A - h * direction)) / (2 * h)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_the_search_stays_among_its_matrices_and_repeats():
    rate, A = lab.worst_case_search(4, 0.3, num_starts=3, seed=1)
    np.testing.assert_allclose(np.diag(A), 1, atol=1e-15)
    assert np.linalg.eigvalsh(A)[0] >= 0.3 - 1e-12 and rate == pytest.approx(cd.rpcd_rate(A), abs=1e-12)
    assert rate == pytest.approx(cd.rpcd_rate_invariant(4, 0.3), abs=1e-9)
    again = lab.worst_case_search(4, 0.3, num_starts=3, seed=1)
    assert again[0] == rate and np.array_equal(again[1], A)


def test_random_matrices_have_a_unit_diagonal_and_are_positive_definite():
    for A in lab.random_matrices(32, seed=4):
        np.testing.assert_allclose(np.diag(A), 1)
        assert np.linalg.eigvalsh(A)[0] > 0 and 3 <= len(A) <= 6


# -- bad input --------------------------------------------------------------------------------------------------------

A3 = cd.permutation_invariant(3, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cd.rpcd_rate(np.ones((2, 3))), "A has shape"),
        (lambda: cd.rpcd_rate(np.array([[1.0, 0.5], [0.2, 1.0]])), "A is not symmetric"),
        (lambda: cd.rcd_rate(np.array([[1.0, 2.0], [2.0, 1.0]])), "A is not positive definite.*-1"),
        (lambda: cd.ccd_rate(np.ones((3, 3))), "A is not positive definite"),
        (lambda: cd.rcd_rate(np.diag([1.0, 0.0])), "A is not positive definite.*diagonal"),
        (lambda: cd.rcd_rate(np.array([[np.nan]])), "A holds NaN"),
        (lambda: cd.rpcd_rate(A3, relaxation=2.0), "relaxation=2.0"),
        (lambda: cd.permutation_invariant(1, 0.5), "n=1"),
        (lambda: cd.permutation_invariant(3, 0.0), "sigma=0.0"),
        (lambda: cd.permutation_invariant(3, 1.5), "sigma=1.5"),
        (lambda: cd.permutation_invariant(3, 0.5, block=4), "block=4"),
        (lambda: cd.permutation_invariant(3, 0.5, signs=[1, 2, 1]), "signs"),
        (lambda: cd.rpcd_rate_invariant(2.5, 0.5), "n=2.5"),
        (lambda: cd.rate_bound(3, -1), "sigma=-1"),
        (lambda: cd.coordinate_descent(A3, np.ones(2), num_epochs=1), "x0 has shape"),
        (lambda: cd.coordinate_descent(A3, 1.0, num_epochs=1), "x0 has shape"),
        (lambda: cd.coordinate_descent(A3, [1, 2, np.inf], num_epochs=1), "x0 has shape"),
        (lambda: cd.coordinate_descent(A3, np.ones(3), num_epochs=-1), "num_epochs=-1"),
        (lambda: cd.coordinate_descent(A3, np.ones(3), num_epochs=1, method="sgd"), "method='sgd'; allowed"),
        (lambda: cd.coordinate_descent(A3, np.ones(3), num_epochs=1, b=np.ones(2)), "b has shape"),
        (lambda: cd.expected_moments(A3, None, num_epochs=1), "x0 and second_moment"),
        (lambda: cd.expected_moments(A3, np.ones(4), num_epochs=1), "x0 has shape"),
        (lambda: cd.expected_moments(A3, np.ones(3), num_epochs=1.5), "num_epochs=1.5"),
        (lambda: cd.expected_moments(A3, None, num_epochs=1, second_moment=-np.eye(3)), "second_moment"),
        (lambda: lab.worst_case_search(15, 0.5, num_starts=1, seed=0), "n=15 is too large"),
        (lambda: lab.worst_case_search(3, 1.0, num_starts=1, seed=0), "sigma=1"),
        (lambda: lab.worst_case_search(3, 0.5, num_starts=0, seed=0), "num_starts=0"),
        (lambda: lab.rpcd_rate_gradient(2 * np.eye(3)), "unit diagonal"),
        (lambda: cd.rpcd_bracket(A3, num_orders=1), "num_orders=1"),
        (lambda: lab.scikit_learn_norms(A3, num_epochs=1, num_runs=1, selection="shuffled"), "selection='shuffled'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------

FOUR = [(5, 0.05), (10, 0.1), (25, 0.3), (100, 0.5)]
SIZES = np.array([50, 100, 200])
LARGE = np.array([250, 500, 1000, 2000, 4000])
GRID = lab.Config(12, 16, 2000, (3,), 2, 400, 20, 9)


@cache
def swapped_grid():
    """The grid of gaps with the two methods exchanged."""
    grid = lab.gap_grid(GRID)
    return grid, -grid.above, -grid.below


@cache
def some_rates():
    return lab.rates_of(lab.random_matrices(80))


@cache
def random_starts(n):
    """The largest rates over the starts of the search, before any optimisation, and the matrices."""
    found = []
    for sigma in lab.SIGMAS:
        rng = np.random.default_rng(0)
        starts = [lab.correlation(rng.standard_normal(n * n), n, sigma) for _ in range(10)]
        found.append(max(((cd.rpcd_rate(A), A) for A in starts), key=lambda pair: pair[0]))
    return [rate for rate, _ in found], [A for _, A in found]


def rank_one_of_starts():
    return min(
        np.abs((A - s * np.eye(6)) / (1 - s)).min() for A, s in zip(random_starts(6)[1], lab.SIGMAS, strict=True)
    )


def drawn_scores():
    """Runs with replacement against the exact moments of shuffled runs."""
    worst = []
    for n, sigma, num_epochs in lab.SIMULATIONS:
        norms = lab.simulated_norms(n, sigma, num_epochs, GRID, method="rcd")
        theory = cd.expected_moments(
            cd.permutation_invariant(n, sigma), None, num_epochs=num_epochs, second_moment=np.eye(n)
        )
        worst.append(np.abs(lab.standard_scores(norms, theory.squared_norm)).max())
    return max(worst)


def best_block(sigma):
    return 2 + int(np.argmin([cd.rpcd_rate_invariant(k, sigma) for k in range(2, 41)]))


def one_sign():
    A = lab.random_matrices(24)[12]
    B = A.copy()
    B[0, 1] = B[1, 0] = -A[0, 1]
    return abs(cd.rpcd_rate(B) - cd.rpcd_rate(A))


def averaged_signs():
    copies = [cd.permutation_invariant(3, 0.4, signs=s) for s in ((1, 1, -1), (1, -1, 1), (-1, 1, 1))]
    return cd.rpcd_rate(copies[0]), cd.rpcd_rate(sum(copies) / 3)


def ranking(sigma=0.1, n=10):
    A = cd.permutation_invariant(n, sigma)
    return {"CCD": cd.ccd_rate(A), "RPCD": cd.rpcd_rate(A), "RCD": cd.rcd_rate(A)}


def transient(x0, order=("rpcd", "rcd"), epochs=(1,), what="squared_norm"):
    A = cd.permutation_invariant(9, 0.25)
    runs = [getattr(cd.expected_moments(A, x0, num_epochs=5, method=m), what) for m in order]
    return [run[k] for k in epochs for run in runs]


@cache
def covariance(name="fashion-mnist-12k"):
    return lab.image_covariance(name)


def equicorrelated_signs():
    least = [np.linalg.eigvalsh(lab.image_hessian(covariance(), ridge))[0] for ridge in lab.RIDGES]
    return [np.sign(cd.rcd_rate_invariant(49, s) - cd.ccd_rate(cd.permutation_invariant(49, s))) for s in least]


def shuffled_peer():
    return lab.simulated_norms(10, 0.1, 8, GRID)[:, -1]


def exact_peer(method):
    A = cd.permutation_invariant(10, 0.1)
    return cd.expected_moments(A, None, num_epochs=8, method=method, second_moment=np.eye(10)).squared_norm[-1]


def distance_from(rate, limit):
    return LARGE, np.abs([rate(n, 0.3, relaxation=1.5) - limit for n in LARGE])


def unrelaxed_gap():
    A = cd.permutation_invariant(4, 0.3)
    return abs(cd.rpcd_rate_invariant(4, 0.3) - reference.radius(reference.shuffled_operator(A, 1.5)))


def worst_energy_factor(name):
    """Square of the energy norm of one epoch matrix, minus the rate of RCD."""
    H = lab.image_hessian(covariance(name), 0.1)
    frame = matrices.energy_frame(H)
    T = frame.root @ reference.epoch_matrix(H, range(len(H))) @ frame.inverse_root
    return np.linalg.norm(T, 2) ** 2 - cd.rcd_rate(H)


def wrong_energy_bounds():
    """Smallest excess of the bound computed with H²/6 alone."""
    excess = []
    for A in lab.random_matrices(80):
        frame = matrices.energy_frame(A)
        spread = np.linalg.matrix_power(A - np.eye(len(A)), 2) / 6
        theta = np.linalg.eigvalsh(frame.inverse_root @ spread @ frame.inverse_root)[-1]
        excess.append(theta / (1 + theta) - cd.rpcd_rate(A))
    return min(excess)


def drawn_bracket():
    """The bracket's comparison with the rate of draws with replacement at both ends."""
    drawn, exact = cd.rcd_rate_invariant(10, 0.1), cd.rpcd_rate_invariant(10, 0.1)
    return exact - drawn, drawn - exact


def exchanged_example():
    A = np.eye(4)
    A[np.triu_indices(4, 1)] = (-0.783, 0.816, -0.754, -0.858, 0.771, -0.696)
    A = A + A.T - np.eye(4)
    return cd.rpcd_rate(A), cd.rate_bound(4, np.linalg.eigvalsh(A)[0]), cd.rcd_rate(A)


def drawn_log_ratio():
    """log rho_R - log B at the matrices of the class."""
    return max(np.log(cd.rcd_rate_invariant(n, s) / cd.rate_bound(n, s)) for n in (3, 4, 5, 6) for s in lab.SIGMAS)


CONTROLS = {
    "C1a": lambda: max(
        abs(cd.ccd_rate(cd.permutation_invariant(n, s)) - cd.rpcd_rate_invariant(n, s))
        for n in range(2, 7) for s in (0.05, 0.3, 0.7, 0.95)
    ),
    "C1b": lambda: [cd.rcd_rate_invariant(*s) for s in FOUR],
    "C1c": lambda: [(1 - 1 / n) ** n for n, _ in FOUR],
    "C1d": lambda: [cd.rpcd_rate_invariant(*s) for s in FOUR],
    "C2a": lambda: sum(
        cd.ccd_rate(cd.permutation_invariant(n, s)) >= cd.rate_bound(n, s) for n in (3, 10, 20) for s in (0.05, 0.3, 0.7)
    ),
    "C3a": lambda: np.log(some_rates().rpcd / some_rates().bound).min(),
    "C4a": lambda: (cd.rpcd_rate_invariant(100, 0.3), cd.rcd_rate_invariant(100, 0.3)),
    "C4b": lambda: (
        cd.rpcd_rate_invariant(1000, 0.3) - np.exp(-lab.limit_exponent(0.3)),
        cd.rcd_rate_invariant(1000, 0.3) - (1 - lab.limit_exponent(0.3)),
    ),
    "C5": drawn_scores,
    "C6d": lambda: random_starts(6)[0],
    "C6e": lambda: max(abs(r - cd.worst_block(6, s)[0]) for r, s in zip(random_starts(6)[0], lab.SIGMAS, strict=True)),
    "C6f": rank_one_of_starts,
    "C6g": drawn_log_ratio,
    "C6h": lambda: np.log(some_rates().rcd / some_rates().bound).max(),
    "C7a": lambda: [best_block(s) for s in (0.8, 0.85, 0.9)],
    "C8a": one_sign,
    "C9a": lambda: [
        rate(n, s)
        for n, s in ((10, 0.1), (50, 0.01), (100, 0.01))
        for rate in (cd.rpcd_rate_invariant, cd.rpcd_rate_invariant, cd.rcd_rate_invariant)
    ],
    "C9b": lambda: (
        SIZES, [np.log(cd.rpcd_rate_invariant(n, 0.01)) / np.log(cd.rcd_rate_invariant(n, 0.01)) for n in SIZES]
    ),
    "C9c": lambda: [np.log(cd.rpcd_rate_invariant(n, 0.01)) / np.log(cd.rcd_rate_invariant(n, 0.01)) for n in SIZES],
    "C10a": lambda: transient(np.full(9, 1 / 3)),
    "C11d": equicorrelated_signs,
    "C11e": lambda: [
        lab.epochs_to(lab.image_hessian(covariance(), ridge), "rcd") for ridge in (0.1, 0.01) for _ in range(2)
    ],
    "C12a": lambda: shuffled_peer().mean(),
    "C12b": lambda: exact_peer("rpcd"),
    "C12c": lambda: abs(lab.standard_scores(shuffled_peer()[:, None], exact_peer("rpcd"))[0]),
    "D1a": lambda: distance_from(cd.rpcd_rate_invariant, np.exp(-lab.limit_exponent(0.3, 1.5))),
    "D1b": lambda: distance_from(cd.rcd_rate_invariant, 1 - lab.limit_exponent(0.3, 1.5)),
    "D1c": lambda: [lab.best_relaxation(3, s) for s in (0.01, 0.1, 0.4)],
    "D1d": lambda: [lab.best_relaxation(3, s, cd.rcd_rate_invariant) for s in (0.01, 0.1, 0.4)],
    "D1e": unrelaxed_gap,
    "D2": lambda: random_starts(7)[0],
    "D3": lambda: cd.rcd_rate(cd.permutation_invariant(3, 0.4)),
    "D4": drawn_bracket,
    "D5a": lambda: worst_energy_factor("digits"),
    "D5b": lambda: worst_energy_factor("fashion-mnist-12k"),
    "D6a": wrong_energy_bounds,
    "D6b": lambda: cd.rpcd_rate_invariant(10, 0.1),
    "D7": exchanged_example,
    "D8a": lambda: np.log(cd.rcd_rate_invariant(1000, 1e-6) / cd.rate_bound(1000, 1e-6)) * 1000 / 2e-6,
    "D8b": lambda: (
        lambda ratios: (ratios.min(), ratios.max())
    )(lab.Gaps(swapped_grid()[0].sizes, swapped_grid()[0].sigmas, *swapped_grid()[1:]).small_sigma_ratios()),
    "D9": averaged_signs,
    "D10": ranking,
}  # fmt: skip


def test_every_check_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)


def test_expected_epochs_of_cyclic_descent_are_those_of_the_reference():
    for ridge in (0.1, 0.01):
        H = lab.image_hessian(covariance(), ridge)
        assert lab.epochs_to(H, "ccd", num_runs=None) == reference.cyclic_epochs_to(H, 1e-3)


def test_the_slope_of_a_run_may_fall_below_the_least_rate():
    """E f of RCD seen over some epochs is no estimate of its rate."""
    H = lab.image_hessian(covariance(), 0.01)
    bound = cd.rate_bound(49, np.linalg.eigvalsh(H)[0])
    assert lab.sampled_rate(H, "rcd", 100, 200) < bound <= cd.rcd_rate(H)
    assert rates.rate_bound(49, 0.5) < bound
