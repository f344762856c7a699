"""The compiled methods against the paper's words, PyTorch, closed forms; every claim against a wrong variant."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from tests.reference import per_sample_adam as reference

from descentlab import data, geometry
from descentlab import per_sample_adam as psa

X = psa.gaussian_data(0)
ALL = np.arange(10)
L2 = geometry.l2_max_margin(X).direction
LINF = geometry.linf_max_margin(X)
RADEMACHER = psa.scaled_rademacher_data(0)
DIAGONAL = psa.shifted_diagonal_data(np.linspace(1, 2, 10), 0.1)
TRIANGLE = psa.shifted_diagonal_data((1.0, 1.25, 1.5), 0.2)


# -- the methods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.0, 0.5), (0.5, 0.999), (0.0, 0.0)])
def test_adam_is_the_papers(batch_size, betas):
    orders = reference.cyclic(10, batch_size, 2000)
    run = psa.adam(X, num_steps=2000, batch_size=batch_size, betas=betas, record=[0, 1, 100])
    np.testing.assert_allclose(run.weights, reference.adam(X, orders, betas=betas)[run.steps], atol=1e-9)


def test_adam_agrees_with_torch():
    w = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.0, betas=(0.9, 0.95), eps=0.0)
    rows = torch.as_tensor(X)
    for t in range(200):
        optimizer.zero_grad()
        torch.nn.functional.softplus(-(rows[t % 10] @ w)).backward()
        correction = (1 - 0.9 ** (t + 1)) / np.sqrt(1 - 0.95 ** (t + 1))  # torch divides its moments by these
        optimizer.param_groups[0]["lr"] = 0.1 * (t + 2) ** -0.5 * correction
        optimizer.step()
    np.testing.assert_allclose(psa.adam(X, num_steps=200).weights[-1], w.detach(), atol=1e-9)


def test_epsilon_signum_proxy_and_gradient_descent_are_the_papers():
    orders = reference.cyclic(10, 2, 1000)
    with_eps = reference.adam(X, orders, betas=(0.9, 0.95), eps=1e-3)[-1]
    np.testing.assert_allclose(psa.adam(X, num_steps=1000, batch_size=2, eps=1e-3).weights[-1], with_eps, atol=1e-9)
    signs = reference.signum(X, orders, beta=0.9)[-1]
    np.testing.assert_allclose(psa.signum(X, num_steps=1000, batch_size=2).weights[-1], signs, atol=1e-9)
    np.testing.assert_allclose(
        psa.adam_proxy(X, num_steps=1000).weights[-1], reference.adam_proxy(X, 1000)[-1], atol=1e-9
    )
    w = np.zeros(50)
    for _ in range(100):
        w = w - 0.1 * reference.gradients(X, w).mean(axis=0)
    np.testing.assert_allclose(psa.gradient_descent(X, num_steps=100).weights[-1], w, atol=1e-12)


def test_margins_beyond_the_range_of_squares():
    """At margin 700 the squared gradients are 1e-608; plain Adam stands still from margin 374 on."""
    run = psa.adam(X, num_steps=200_000, batch_size=10, record=[100_000, 150_000])
    margins = (run.weights @ X.T).min(axis=1)
    assert margins[0] > 500 and np.all(np.diff(margins) > 80)
    rates = np.diff(margins) / np.diff(psa.elapsed(run.steps))
    assert rates == pytest.approx([LINF.margin, LINF.margin], rel=0.05)  # the closed form of sign descent


def test_methods_do_not_see_the_scale_of_the_loss():
    """Far out, logistic and exponential losses agree, so starts with margins of 40 and of 4000 lead the same way."""
    near, far = (psa.adam(X, num_steps=1000, w0=s * L2, loss="exponential").weights[-1] - s * L2 for s in (20, 2000))
    assert np.isfinite(far).all() and geometry.cosine(near, far) > 0.9


def test_signum_without_momentum_adds_up_signs():
    run = psa.signum(X, num_steps=10_000, beta=0.0)
    assert geometry.cosine(run.increment(), np.sign(X).sum(axis=0)) == pytest.approx(1, abs=1e-6)


def test_full_batch_ignores_the_order_and_seeds_repeat():
    cyclic = psa.adam(X, num_steps=500, batch_size=10).weights
    shuffled = psa.adam(X, num_steps=500, batch_size=10, order="reshuffled", seed=3).weights
    np.testing.assert_allclose(cyclic, shuffled, atol=1e-8)
    runs = [psa.adam(X, num_steps=500, order="reshuffled", seed=s).weights[-1] for s in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1]) and not np.allclose(runs[0], runs[2])


def test_a_coordinate_without_gradient_stays():
    Z = np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    weights = psa.adam(Z, num_steps=100, batch_size=2).weights
    assert np.all(weights[:, 1:] == 0) and weights[-1, 0] > 0  # cancelling gradients: 0/0 is 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"betas": (1.0, 0.9)}, r"betas=\(1.0, 0.9\)"),
        ({"betas": (0.9, -0.1)}, "betas"),
        ({"batch_size": 3}, r"batch_size=3 does not divide the 10 samples; allowed are \[1, 2, 5, 10\]"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": -0.1}, "learning_rate=-0.1"),
        ({"learning_rate": np.nan}, "learning_rate=nan"),
        ({"decay": -1.0}, "decay"),
        ({"order": "random"}, "order='random'; allowed are 'cyclic'"),
        ({"loss": "hinge"}, "loss='hinge'"),
        ({"eps": -1.0}, "eps"),
        ({"w0": np.zeros(3)}, "w0"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"record": [11]}, "record"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        psa.adam(X, **{"num_steps": 10, **arguments})


@pytest.mark.parametrize("method", [psa.adam, psa.signum, psa.adam_proxy, psa.gradient_descent])
@pytest.mark.parametrize("bad", [np.empty((0, 2)), np.array([[np.inf, 1.0]]), np.array([[1.0, 1.0], [0.0, 0.0]])])
def test_bad_data_are_refused(method, bad):
    with pytest.raises(ValueError, match="X"):
        method(bad, num_steps=10)


def test_unbounded_updates_are_warned_of():
    with pytest.warns(UserWarning, match="unbounded"):
        psa.adam(X, num_steps=10, betas=(0.95, 0.5))


# -- the limits -------------------------------------------------------------------------------------------------------


def test_fixed_point_is_a_fixed_point_and_solves_its_problem():
    point = psa.adam_fixed_point(X)
    scale = np.sqrt(point.dual**2 @ X**2)
    best = geometry.mahalanobis_max_margin(X, scale)
    np.testing.assert_allclose(best.dual, point.dual, atol=1e-10)
    assert geometry.misalignment(best.direction, point.direction) < 1e-15


def test_finite_limit_has_equal_gains_and_tends_to_the_fixed_point():
    point = psa.adam_fixed_point(X)
    for betas in [(0.9, 0.95), (0.0, 0.5), (0.5, 0.9)]:
        limit = psa.adam_limit(X, betas=betas)
        gains = X @ limit.direction
        np.testing.assert_allclose(gains[limit.dual > 0], gains.min(), rtol=1e-10)
    assert geometry.misalignment(psa.adam_limit(X, betas=(0.9, 1 - 1e-6)).direction, point.direction) < 1e-13


def test_full_batch_limits_are_the_linf_direction():
    for limit in (psa.adam_fixed_point(X, batch_size=10), psa.adam_limit(X, betas=(0.9, 0.95), batch_size=10)):
        assert geometry.misalignment(limit.direction, LINF.direction) < 1e-15


@pytest.mark.parametrize("solver", [psa.adam_fixed_point, lambda Z, **k: psa.adam_limit(Z, betas=(0.9, 0.95), **k)])
def test_limits_refuse_bad_input(solver):
    with pytest.raises(ValueError, match="batch_size=3"):
        solver(X, batch_size=3)
    with pytest.raises(ValueError, match="start"):
        solver(X, start=-np.ones(10))
    with pytest.raises(geometry.NotSeparableError):
        solver(np.vstack([X[:1], -X[:1]]))
    with pytest.raises(RuntimeError, match="max_iterations=2"):
        solver(X, max_iterations=2)


def test_predicted_limits_agree_with_runs():
    run = psa.adam(X, num_steps=300_000, betas=(0.5, 0.9))
    assert geometry.misalignment(run.increment(), psa.adam_limit(X, betas=(0.5, 0.9)).direction) < 1e-6


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------


@cache
def increment(method="adam", steps=200_000, **arguments):
    return getattr(psa, method)(X, num_steps=steps, **arguments).increment()


def to(direction, *increments):
    return [geometry.cosine(w, direction) for w in increments]


def to_linf_by_seed(order):
    """Full batch on the ten data sets: its cosine to the l-infinity direction."""
    sets = [psa.gaussian_data(s) for s in range(10)]
    runs = [psa.adam(Z, num_steps=10_000, batch_size=10, order=order).increment() for Z in sets]
    return np.array(
        [geometry.cosine(w, geometry.linf_max_margin(Z).direction) for w, Z in zip(runs, sets, strict=True)]
    )


def rademacher_gap(**arguments):
    run = psa.adam(RADEMACHER, num_steps=50_000, **arguments)
    return geometry.misalignment(run.increment(), geometry.l2_max_margin(RADEMACHER).direction)


def linf_ratio(Z, w):
    return geometry.margin(Z, w, np.inf) / geometry.linf_max_margin(Z).margin


def l2_ratio(Z, w):
    return geometry.margin(Z, w) / geometry.l2_max_margin(Z).margin


def wrong_sign_slope():
    """The same distance for single samples, whose steps are no signs."""
    times = np.unique(np.geomspace(1000, 50_000, 20).astype(int))
    run = psa.adam(X, num_steps=50_001, decay=0.8, record=np.concatenate([times, times + 1]))
    steps = np.searchsorted(run.steps, np.stack([times, times + 1]))
    step = (run.weights[steps[1]] - run.weights[steps[0]]) / (0.1 * (times + 2.0) ** -0.8)[:, None]
    weights = 1 / (1 + np.exp(run.weights[steps[0]] @ X.T - (run.weights[steps[0]] @ X.T).min(axis=1, keepdims=True)))
    return np.polyfit(np.log(times), np.log(np.median(np.abs(step - np.sign(weights @ X)), axis=1)), 1)[0]


def wrong_recurrence(constant=1.0, reverse=False, decay=0.5):
    """Residuals of the recurrence with a wrong constant, or with ages counted from the oldest sample."""
    epochs, n, (b1, b2) = np.unique(np.geomspace(1000, 20_000, 20).astype(int)), 10, (0.9, 0.95)
    run = psa.adam(X, num_steps=200_010, decay=decay, record=np.concatenate([epochs * n, epochs * n + n]))
    at = np.searchsorted(run.steps, np.stack([epochs * n, epochs * n + n]))
    step = (run.weights[at[1]] - run.weights[at[0]]) / (0.1 * (epochs * n + 2.0) ** -decay)[:, None]
    logs = -np.logaddexp(0, run.weights[at[0]] @ X.T)
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    ages = np.subtract.outer(np.arange(n), np.arange(n)) % n
    ages = n - 1 - ages if reverse else ages
    first = np.einsum("ij,rj,jd->rid", b1**ages, shares, X)
    second = np.einsum("ij,rj,jd->rid", b2**ages, shares**2, X**2)
    right = (1 - b1) / (1 - b1**n) * np.sqrt((1 - b2**n) / (1 - b2))
    return epochs, np.abs(step - constant * right * (first / np.sqrt(second)).sum(axis=1)).max(axis=1)


def wrong_gap_table():
    run = psa.adam(X, num_steps=10**6, batch_size=10, decay=0.8, record=[10**3, 10**4, 10**5, 10**6])
    return 1 - geometry.margin(X, run.weights, np.inf) / LINF.margin


def angles_to_l2():
    limits = [psa.adam_limit(X, betas=(0.9, b)).direction for b in (0.95, 0.99, 0.999)]
    return np.array([0.05, 0.01, 0.001]), np.arccos(to(L2, *limits))


def logistic_against_replicator():
    z = X @ psa.adam_proxy(X, num_steps=100, learning_rate=0.01, decay=0.0).weights[-1]
    return np.abs(np.exp(-z) / np.exp(-z).sum() - psa.replicator(X, num_steps=100, learning_rate=0.01)).max()


def descent_rate():
    run = psa.gradient_descent(X, num_steps=100_000, record=[10_000])
    slope = np.diff(geometry.log_loss(X, run.weights)) / np.diff(psa.elapsed(run.steps, decay=0.0))
    return slope[0] / psa.proxy_run(X, num_steps=10).loss_rate


def one_iteration():
    uniform = np.full(10, 0.1)
    return geometry.mahalanobis_max_margin(X, np.sqrt(uniform**2 @ X**2)).dual


def euclidean_margins():
    run = psa.adam_proxy(X, num_steps=10**6, record=[10**3, 10**4, 10**5, 10**6])
    return geometry.margin(X, run.weights) / geometry.l2_max_margin(X).margin


def spread_of_two_limits():
    ends = [psa.adam_fixed_point(TRIANGLE, start=s).dual for s in ([1, 0, 0], [0.1, 0.9, 0])]
    return np.abs(ends[0] - ends[1]).sum()


def shifted(method, **arguments):
    return method(DIAGONAL, num_steps=100_000, **arguments)


def signum_ratio(beta, **arguments):
    run = psa.signum(X, num_steps=400_000, beta=beta, learning_rate=min(0.1, 1 - beta), **arguments)
    return linf_ratio(X, run.increment())


def by_batch_size(direction, order):
    return to(direction, *[increment(batch_size=b, order=order) for b in (1, 2, 5, 10)])


def exploding_gap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        run = psa.adam(RADEMACHER, num_steps=200, betas=(0.95, 0.5))
    return [geometry.misalignment(run.increment(), geometry.l2_max_margin(RADEMACHER).direction)]


def gap_against_steps(decay=0.5):
    steps = np.unique(np.geomspace(10_000, 100_000, 30).astype(int) // 10 * 10)
    run = psa.adam(RADEMACHER, num_steps=100_000, decay=decay, record=steps)
    return run.steps, geometry.misalignment(run.weights, geometry.l2_max_margin(RADEMACHER).direction)


def image_rows(name):
    classes = (3, 8) if name == "digits" else ("Pullover", "Coat")
    return data.binary_rows(data.load(name), classes=classes, num_samples=40)


def image_power_to_l2(name):
    rows = image_rows(name)
    return psa.step_size_power(rows, geometry.l2_max_margin(rows).direction, num_steps=50_000)


def single_sample_image_ratio(name):
    rows = image_rows(name)
    return linf_ratio(rows, psa.adam(rows, num_steps=50_000).increment())


def finite_time_constants(eps):
    cosines, margins = psa.epsilon_table(X, eps=eps, steps=[10**3, 10**4, 10**5])
    return cosines, margins


CONTROLS = {
    "C1a": lambda: to(LINF.direction, increment()),
    "C1b": lambda: to(L2, increment(batch_size=10))[0],
    "C1c": lambda: np.abs(np.subtract(*to(L2, increment(batch_size=10), increment()))),
    "C1d": lambda: to(L2, increment("gradient_descent", steps=100_000)),
    "C1e": lambda: [to_linf_by_seed(order).mean() for order in ("cyclic", "reshuffled", "replacement")],
    "C2a": wrong_sign_slope,
    "C2b": wrong_gap_table,
    "C3a": lambda: wrong_recurrence(constant=1.1),
    "C3b": lambda: wrong_recurrence(reverse=True, decay=0.8),
    "C4a": lambda: rademacher_gap(batch_size=10),
    "C4b": lambda: rademacher_gap(batch_size=10, order="reshuffled"),
    "C4c": lambda: rademacher_gap(batch_size=10),
    "C4d": lambda: linf_ratio(RADEMACHER, psa.adam(RADEMACHER, num_steps=50_000).increment()),
    "C4e": lambda: l2_ratio(RADEMACHER, psa.adam(RADEMACHER, num_steps=50_000).increment()),
    "C5a": angles_to_l2,
    "C5b": lambda: {
        str(b): psa.proxy_residuals(X, epochs=[5000], betas=(0.9, 1.89 - b), decay=0.8).largest[0]
        for b in (0.9, 0.95, 0.99)
    },
    "C5c": logistic_against_replicator,
    "C6": descent_rate,
    "C7a": one_iteration,
    "C7b": lambda: geometry.misalignment(psa.adam_proxy(X, num_steps=100_000).weights[-1], L2),
    "C7c": lambda: geometry.misalignment(increment(betas=(0.0, 0.5)), psa.adam_fixed_point(X).direction),
    "C7d": euclidean_margins,
    "C7e": spread_of_two_limits,
    "C8a": lambda: geometry.misalignment(psa.adam_fixed_point(X).direction, L2),
    "C8b": lambda: geometry.misalignment(psa.adam_fixed_point(DIAGONAL, start=np.eye(10)[1]).direction, np.ones(10)),
    "C8c": lambda: geometry.misalignment(shifted(psa.gradient_descent).weights[-1], np.ones(10)),
    "C8d": lambda: geometry.cosine(shifted(psa.adam).weights[-1], np.ones(10)),
    "C9a": lambda: [signum_ratio(beta, order="replacement") for beta in psa.SIGNUM_BETAS],
    "C9b": lambda: np.diff([signum_ratio(beta) for beta in (0.99, 0.9, 0.5, 0.0)]).min(),
    "C9c": lambda: signum_ratio(0.9),
    "C10a": lambda: by_batch_size(L2, "reshuffled"),
    "C10b": lambda: by_batch_size(LINF.direction, "replacement"),
    "C10c": lambda: by_batch_size(L2, "cyclic"),
    "C11a": lambda: np.abs(psa.adam(RADEMACHER, num_steps=100, betas=(0.5, 0.5)).weights[-1]).max(),
    "C11b": exploding_gap,
    "C11c": gap_against_steps,
    "C11d": lambda: gap_against_steps(decay=0.8),
    "C11e": lambda: (psa.offset_time(*gap_against_steps()), gap_against_steps()[1]),
    "C12a": lambda: dict(
        zip(("0.0", "1e-08", "0.0001", "0.01"), finite_time_constants([0.0] * 4)[0][:, -1], strict=True)
    ),
    "C12b": lambda: finite_time_constants([0.0])[1][0],
    "D1": lambda: [
        psa.step_size_power(X, psa.adam_fixed_point(X).direction, betas=b, num_steps=200_000)
        for b in [(0.9, 0.95), (0.0, 0.5), (0.5, 0.9)]
    ],
    "D2": lambda: [
        geometry.misalignment(
            increment(betas=(0.9, 0.999), batch_size=b, steps=500_000), psa.adam_fixed_point(X).direction
        )
        for b in (2, 5)
    ],
    "D3a": lambda: psa.adam_fixed_point(TRIANGLE, start=[1, 0, 0]).dual,
    "D3b": lambda: linf_ratio(TRIANGLE, psa.adam_fixed_point(TRIANGLE, start=[1, 0, 0]).direction),
    "D3c": lambda: np.bincount(
        psa.basins(
            TRIANGLE,
            [psa.adam_fixed_point(TRIANGLE, start=s) for s in ([1, 0, 0], [0.1, 0.9, 0])],
            psa.SMOKE,
            spread=0.0,
        ).nearest,
        minlength=2,
    ).min(),
    "D4a": lambda: image_power_to_l2("digits"),
    "D4b": lambda: single_sample_image_ratio("digits"),
    "D5a": lambda: image_power_to_l2("fashion-mnist-12k"),
    "D5b": lambda: single_sample_image_ratio("fashion-mnist-12k"),
}


def test_every_claim_has_a_control():
    assert list(CONTROLS) == [claim.key for claim in psa.CLAIMS]
    assert all(claim.controls for claim in psa.CLAIMS)


@pytest.mark.parametrize("claim", psa.CLAIMS, ids=lambda claim: claim.key)
def test_the_check_fails_for_a_wrong_variant(claim):
    wrong = CONTROLS[claim.key]()
    if claim.kind == "approx":
        assert np.shape(wrong) == np.shape(claim.expected)
    assert not claim.holds(wrong)
