"""Exact second moments against all orders written out, closed forms, and simulation-free identities."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab import random_maps as rm

RNG = np.random.default_rng(0)
MAPS = RNG.standard_normal((5, 3, 3))
S = (lambda X: X @ X.T)(RNG.standard_normal((3, 3)))


def literal(maps, S, orders):
    """Mean of T S T' over orders, one at a time."""
    total = np.zeros_like(S)
    for order in orders:
        T = np.eye(len(S))
        for i in order:
            T = maps[i] @ T
        total += T @ S @ T.T
    return total / len(orders)


def close(actual, expected, tolerance=1e-12):
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("dim", [1, 2, 4])
def test_reshuffled_is_the_mean_over_all_orders(n, dim):
    rng = np.random.default_rng(n * 10 + dim)
    maps, X = rng.standard_normal((n, dim, dim)), rng.standard_normal((dim, dim))
    expected = literal(maps, X @ X.T, list(permutations(range(n))))
    close(rm.second_moment_epoch(maps, X @ X.T, order="reshuffled"), expected)
    close(rm.second_moments(maps, X @ X.T, num_epochs=1, order="reshuffled"), expected)
    close(rm.smat(rm.enumerate_orders(maps) @ rm.svec(X @ X.T)), expected)
    close(rm.epoch_operator(maps, order="reshuffled"), rm.enumerate_orders(maps))


def test_replacement_is_the_mean_over_all_sequences():
    maps = MAPS[:4]
    expected = literal(maps, S, list(product(range(4), repeat=4)))
    close(rm.second_moment_epoch(maps, S, order="replacement"), expected)
    close(rm.second_moments(maps, S, num_epochs=1, order="replacement"), expected)


@pytest.mark.parametrize("order", ["cyclic", [0, 1, 2, 3, 4], [3, 1, 0, 4, 2], np.array([4, 3, 2, 1, 0])])
def test_fixed_orders_are_products(order):
    sequence = range(5) if isinstance(order, str) else order
    expected = literal(MAPS, S, [sequence])
    close(rm.second_moment_epoch(MAPS, S, order=order), expected)
    close(rm.smat(rm.epoch_operator(MAPS, order=order) @ rm.svec(S)), expected)
    twice = literal(MAPS, S, [[*sequence, *sequence]])
    close(rm.second_moments(MAPS, S, num_epochs=2, order=order), twice)


@pytest.mark.parametrize("counts", [(1, 1), (3, 1), (2, 4), (2, 2, 2), (3, 1, 2)])
def test_equal_maps_are_counted(counts):
    maps = MAPS[: len(counts)]
    repeated = np.repeat(maps, counts, axis=0)
    mixed = repeated[np.random.default_rng(1).permutation(len(repeated))]
    expected = literal(repeated, S, list(permutations(range(len(repeated)))))
    close(rm.second_moment_epoch(maps, S, order="reshuffled", counts=counts), expected)
    close(rm.second_moment_epoch(mixed, S, order="reshuffled"), expected)
    close(rm.epoch_operator(mixed, order="reshuffled"), rm.enumerate_orders(repeated))
    for order in ("cyclic", "replacement"):
        with_counts = rm.second_moment_epoch(maps, S, order=order, counts=counts)
        close(with_counts, rm.second_moment_epoch(repeated, S, order=order))


def test_a_sequence_may_repeat_maps_as_often_as_counted():
    expected = literal(MAPS[:2], S, [[0, 1, 1, 0, 1]])
    close(rm.second_moment_epoch(MAPS[:2], S, order=[0, 1, 1, 0, 1], counts=[2, 3]), expected)


def test_two_kinds_of_scalars_have_a_closed_form():
    """Commuting maps: every order gives the same product."""
    maps, counts = np.array([[[0.999]], [[1.0005]]]), [700, 1300]
    after = rm.second_moment_epoch(maps, [[1.0]], order="reshuffled", counts=counts)
    assert after[0, 0] == pytest.approx(0.999**1400 * 1.0005**2600, rel=1e-12)
    drawn = rm.second_moment_epoch(maps, [[1.0]], order="replacement", counts=counts)
    assert drawn[0, 0] == pytest.approx((0.35 * 0.999**2 + 0.65 * 1.0005**2) ** 2000, rel=1e-10)


def test_noise_of_a_reshuffled_epoch_has_a_closed_form():
    """x <- q x + g_i with tilts summing to zero: their covariance under shuffling is -1/(n - 1) of their variance."""
    n, q = 200, 0.99
    maps = np.stack([[[q, g], [0.0, 1.0]] for g in (1.0, -1.0)])
    after = rm.second_moment_epoch(maps, np.diag([0.0, 1.0]), order="reshuffled", counts=[n // 2, n // 2])
    w = q ** np.arange(n)
    assert after[0, 0] == pytest.approx(np.sum(w**2) - (w.sum() ** 2 - np.sum(w**2)) / (n - 1), rel=1e-11)
    assert after[1, 1] == pytest.approx(1)


def test_many_epochs_are_epochs_one_after_another():
    maps = 0.4 * MAPS
    for order in ("reshuffled", "replacement", "cyclic"):
        after = S
        for _ in range(5):
            after = rm.second_moment_epoch(maps, after, order=order)
        close(rm.second_moments(maps, S, num_epochs=5, order=order), after, 1e-11)
        close(rm.second_moments(maps, S, num_epochs=0, order=order), S)


@pytest.mark.parametrize("order", ["reshuffled", "replacement", "cyclic", [1, 0, 2]])
def test_batches_of_maps_and_of_moments(order):
    maps = np.stack([scale * MAPS[:3] for scale in (0.5, 1.0)])
    moments = np.stack([S, 2 * S + np.eye(3), np.eye(3)])[:, None]
    epoch = rm.second_moment_epoch(maps, moments, order=order)
    many = rm.second_moments(maps, moments, num_epochs=3, order=order)
    operators = rm.epoch_operator(maps, order=order)
    assert epoch.shape == many.shape == (3, 2, 3, 3) and operators.shape == (2, 6, 6)
    for i, j in product(range(3), range(2)):
        close(epoch[i, j], rm.second_moment_epoch(maps[j], moments[i, 0], order=order))
        close(many[i, j], rm.second_moments(maps[j], moments[i, 0], num_epochs=3, order=order))
        close(operators[j], rm.epoch_operator(maps[j], order=order))


def test_overflow_is_infinite():
    maps = np.stack([np.diag([1e100, 0.5]), np.diag([1e100, 0.25])])
    for order in ("reshuffled", "replacement", "cyclic"):
        assert np.all(np.isposinf(rm.second_moment_epoch(maps, np.eye(2), order=order)))
        assert np.all(np.isposinf(rm.second_moments(maps, np.eye(2), num_epochs=9, order=order)))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 4))
def test_moments_stay_moments(seed, n, dim):
    """Positive semidefinite in, positive semidefinite out; linear; blind to the numbering of the maps."""
    rng = np.random.default_rng(seed)
    maps, X = rng.standard_normal((n, dim, dim)), rng.standard_normal((dim, dim))
    after = rm.second_moment_epoch(maps, X @ X.T, order="reshuffled")
    assert np.linalg.eigvalsh(after)[0] >= -1e-10 * np.trace(after)
    close(rm.second_moment_epoch(maps[::-1], X @ X.T, order="reshuffled"), after, 1e-11)
    shifted = rm.second_moment_epoch(maps, X @ X.T + np.eye(dim), order="reshuffled")
    identity = rm.second_moment_epoch(maps, np.eye(dim), order="reshuffled")
    close(shifted, after + identity, 1e-11)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_svec_is_an_isometry(seed, dim):
    X, Y = np.random.default_rng(seed).standard_normal((2, dim, dim))
    X, Y = X + X.T, Y + Y.T
    assert rm.svec(X) @ rm.svec(Y) == pytest.approx(np.sum(X * Y), abs=1e-12)
    np.testing.assert_allclose(rm.smat(rm.svec(X)), X, atol=1e-14)


# -- spectral radii ---------------------------------------------------------------------------------------------------


def projections(n, seed):
    """Coordinate steps for a random positive definite matrix, self-adjoint in its energy."""
    G = np.random.default_rng(seed).standard_normal((n, n + 2))
    A = G @ G.T
    return A, np.stack([np.eye(n) - np.outer(np.eye(n)[i], A[i]) / A[i, i] for i in range(n)])


@pytest.mark.parametrize("n", [2, 4, 6])
def test_spectral_radius_is_that_of_the_dense_operator(n):
    A, maps = projections(n, n)
    dense = np.abs(np.linalg.eigvals(rm.enumerate_orders(maps))).max()
    assert rm.spectral_radius(maps, order="reshuffled", energy=A) == pytest.approx(dense, abs=1e-12)
    assert rm.spectral_radius(maps, order="reshuffled") == pytest.approx(dense, abs=1e-12)
    one = np.mean([np.kron(U, U) for U in maps], axis=0)
    drawn = np.abs(np.linalg.eigvals(one)).max() ** n
    assert rm.spectral_radius(maps, order="replacement", energy=A) == pytest.approx(drawn, abs=1e-12)
    cyclic = np.linalg.multi_dot([*maps[::-1], np.eye(n)])
    assert rm.spectral_radius(maps, order="cyclic") == pytest.approx(np.abs(np.linalg.eigvals(cyclic)).max() ** 2)
    backwards = rm.spectral_radius(maps, order=np.arange(n)[::-1], energy=A)
    assert backwards == pytest.approx(rm.spectral_radius(maps, order="cyclic"))  # the adjoint product


def test_lanczos_and_arnoldi_agree_beyond_dense_sizes():
    A, maps = projections(8, 3)  # 36 coordinates: iterations, not a dense matrix
    operator = rm.epoch_operator(maps, order="reshuffled")
    dense = np.abs(np.linalg.eigvals(operator)).max()
    assert rm.spectral_radius(maps, order="reshuffled", energy=A) == pytest.approx(dense, abs=1e-11)
    assert rm.spectral_radius(maps, order="reshuffled") == pytest.approx(dense, abs=1e-10)


def test_nilpotent_maps_have_radius_zero():
    maps = np.stack([np.diag([0.0, 1.0]), np.diag([1.0, 0.0])])
    assert rm.spectral_radius(maps, order="reshuffled", energy=np.eye(2)) == 0
    assert rm.spectral_radius(maps, order="reshuffled") == 0


def test_leading_eigenpair_is_one():
    A, maps = projections(8, 4)
    values, vectors = np.linalg.eigh(A)
    root = vectors * np.sqrt(values) @ vectors.T
    symmetric = root @ maps @ np.linalg.inv(root)
    operator = rm.epoch_operator(symmetric, order="reshuffled")
    value, vector = rm.leading_eigenpair(lambda v: operator @ v, start=rm.svec(np.eye(8)))
    np.testing.assert_allclose(operator @ vector, value * vector, atol=1e-11)
    assert np.linalg.norm(vector) == pytest.approx(1) and np.linalg.eigvalsh(rm.smat(vector))[0] > -1e-10


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": np.ones((2, 3))}, "maps has shape"),
        ({"maps": np.ones((2, 3, 4))}, "maps has shape"),
        ({"maps": np.full((2, 3, 3), np.nan)}, "maps holds NaN"),
        ({"S": np.eye(2)}, "S has shape"),
        ({"S": np.triu(np.ones((3, 3)))}, "S is not symmetric"),
        ({"S": np.full((3, 3), np.inf)}, "S holds NaN or infinity"),
        ({"order": "random"}, "order='random'; allowed are 'cyclic', 'replacement', 'reshuffled'"),
        ({"order": [0, 1, 2, 3]}, "no order of an epoch"),
        ({"order": [0, 0, 1, 2, 3]}, "each of 0 … 4 once"),
        ({"order": [0, 1, 2, 3, 5]}, "no order of an epoch"),
        ({"order": [0.5, 1, 2, 3, 4]}, "no order of an epoch"),
        ({"counts": [1, 2]}, "counts"),
        ({"counts": [1, 1, 1, 1, 0]}, "counts"),
        ({"counts": [1, 1, 1, 1, 1.5]}, "counts"),
        ({"counts": [2, 1, 1, 1, 1], "order": [0, 1, 2, 3, 4]}, "as often as counts"),
        ({"maps": np.random.default_rng(0).standard_normal((15, 3, 3))}, "15 distinct maps.*limits are 14"),
        ({"counts": [100] * 5}, "states; the limits"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"maps": MAPS, "S": S, "order": "reshuffled", **change}
    with pytest.raises(ValueError, match=message):
        rm.second_moment_epoch(arguments.pop("maps"), arguments.pop("S"), **arguments)


def test_other_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_epochs=-1"):
        rm.second_moments(MAPS, S, num_epochs=-1, order="cyclic")
    with pytest.raises(ValueError, match=r"9! orders.*epoch_operator"):
        rm.enumerate_orders(np.ones((9, 2, 2)))
    with pytest.raises(ValueError, match="takes one set of maps"):
        rm.spectral_radius(MAPS[None], order="cyclic")
    with pytest.raises(ValueError, match="energy has shape"):
        rm.spectral_radius(MAPS, order="reshuffled", energy=np.eye(2))
    with pytest.raises(ValueError, match="must be positive definite"):
        rm.spectral_radius(MAPS, order="reshuffled", energy=-np.eye(3))
    with pytest.raises(ValueError, match="does not make the maps self-adjoint"):
        rm.spectral_radius(MAPS, order="reshuffled", energy=np.eye(3))
    with pytest.raises(ValueError, match="length D"):
        rm.smat(np.ones(4))


def test_fourteen_distinct_maps_are_within_reach():
    maps = np.random.default_rng(5).uniform(0.5, 1.0, (14, 1, 1))
    after = rm.second_moment_epoch(maps, [[1.0]], order="reshuffled")
    assert after[0, 0] == pytest.approx(np.prod(maps) ** 2, rel=1e-12)
