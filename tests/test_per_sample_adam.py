"""The compiled methods against the paper's words, PyTorch and closed forms; the limits against long runs."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tests.reference import per_sample_adam as reference

from descentlab import geometry
from descentlab import per_sample_adam as psa

X = np.random.default_rng(0).standard_normal((10, 50))
LABELS = np.random.default_rng(3).choice([-1, 1], 10)
L2 = geometry.l2_max_margin(X).direction
LINF = geometry.linf_max_margin(X)


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
    rates = np.diff(margins) / np.diff(0.2 * np.sqrt(run.steps))  # the sum of step sizes 0.1 / sqrt(t)
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


# -- what a critical reader tried -------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 3])
def test_equal_rows_have_equal_shares_and_the_runs_agree(copies):
    repeated = np.vstack([X, *[X[:1]] * copies])
    point = psa.adam_fixed_point(repeated)
    assert np.ptp(point.dual[[0, *range(10, 10 + copies)]]) == 0
    assert point.unique
    run = psa.adam_proxy(repeated, num_steps=200_000).increment()
    assert geometry.misalignment(run, point.direction) < 1e-12
    limit = psa.adam_limit(repeated, betas=(0.9, 0.95))
    run = psa.adam(repeated, num_steps=1_000_000).increment()
    assert geometry.misalignment(run, limit.direction) < 1e-6 < geometry.misalignment(run, point.direction)


def test_shares_that_are_not_unique_are_said():
    square = np.array([[1.0, 1.0, 0.3], [1.0, -1.0, 0.3], [1.0, 1.0, -0.3], [1.0, -1.0, -0.3]])  # of rank three
    with pytest.warns(UserWarning, match="not unique"):
        assert not psa.adam_fixed_point(square).unique
    with pytest.warns(UserWarning, match="not unique"):
        psa.adam_limit(square, betas=(0.0, 0.0))


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e200])
@pytest.mark.parametrize("method", [psa.adam, psa.adam_proxy])
def test_any_scale_of_the_data(method, scale):
    """Margins of tiny or huge data stay at zero or leave the exponential at once: either way the limit law is known."""
    run = method(scale * X, num_steps=2000, record=[1, 1000])
    assert np.isfinite(run.weights).all() and np.all(np.abs(run.weights[-1]) > 0)
    twin = method(np.ldexp(scale * X, 8), num_steps=2000, record=[1, 1000])  # a power of two more, not seen by Adam
    first = slice(0, 1)
    np.testing.assert_array_equal(run.weights[first], twin.weights[first])
    direction = psa.adam_fixed_point(scale * X).direction
    assert geometry.misalignment(direction, psa.adam_fixed_point(X).direction) < 1e-25


def test_extreme_instances_are_right_or_refused():
    refused = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(3, 21))
        shape = (n, int(rng.integers(n, 61)))
        rows = (
            rng.standard_normal(shape)
            * np.exp(3 * rng.standard_normal(shape[1]))
            * np.exp(2 * rng.standard_normal((n, 1)))
        )
        try:
            point = psa.adam_fixed_point(rows)
        except RuntimeError as error:
            assert "gains differ" in str(error)
            refused += 1
            continue
        gains = rows @ ((point.dual @ rows) / np.sqrt(point.dual**2 @ rows**2))
        level = point.dual @ gains
        assert np.abs(gains[point.dual > 1e-9] / level - 1).max() < 1e-6
        assert gains.min() > level * (1 - 1e-6)
    assert refused < 5


def test_a_long_run_can_be_interrupted():
    code = """
import numpy as np
from descentlab import per_sample_adam as psa
X = np.random.default_rng(0).standard_normal((10, 50))
psa.adam(X, num_steps=10)
print("ready", flush=True)
psa.adam(X, num_steps=10**15)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, message = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode != 0
    assert "KeyboardInterrupt" in message
    assert time.monotonic() - start < 20  # a second where nothing else runs


@pytest.mark.parametrize("method", [psa.adam, psa.signum, psa.adam_proxy, psa.gradient_descent])
def test_labels_beside_rows_are_labels_folded_in(method):
    folded = method(LABELS[:, None] * X, num_steps=200).weights
    np.testing.assert_array_equal(method(X, LABELS, num_steps=200).weights, folded)


def test_limits_take_labels_too():
    folded = psa.adam_fixed_point(LABELS[:, None] * X).direction
    np.testing.assert_array_equal(psa.adam_fixed_point(X, LABELS).direction, folded)
    folded = psa.adam_limit(LABELS[:, None] * X, betas=(0.5, 0.9)).direction
    np.testing.assert_array_equal(psa.adam_limit(X, LABELS, betas=(0.5, 0.9)).direction, folded)


@pytest.mark.parametrize("bad", [LABELS[:4], np.zeros(10), (LABELS + 1) // 2])
@pytest.mark.parametrize("call", [lambda y: psa.adam(X, y, num_steps=10), lambda y: psa.adam_fixed_point(X, y)])
def test_bad_labels_are_named(call, bad):
    with pytest.raises(ValueError, match=r"y has shape .* 10 labels \+1 and -1"):
        call(bad)
