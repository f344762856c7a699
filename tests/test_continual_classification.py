"""Training in turn against its definition, PyTorch, scikit-learn, cvxpy and closed forms; every claim against a wrong variant."""

import itertools
import warnings
from functools import cache

import cvxpy
import numpy as np
import pytest
import torch
from experiments import continual_classification as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from sklearn.linear_model import LogisticRegression
from tests.reference import continual_classification as reference

from descentlab import continual_classification as cc
from descentlab import data, geometry

PLANE = lab.plane_tasks()
SPACE = lab.space_tasks()
TRIO = lab.three_tasks()
OVERLAP = lab.overlapping_tasks()
POINTS = lab.clustered_points()
CLUSTERED = lab.split(POINTS, lab.CLUSTERED)
INTERLEAVED = lab.split(POINTS, lab.INTERLEAVED)
STEP = {"num_steps": 10, "learning_rate": 0.1}
TEN = {"num_steps": 10, "learning_rate": 0.05}
DECADES = [10**2, 10**3, 10**4, 10**5, 10**6]


def listed(tasks):
    return [tasks[m] for m in range(len(tasks))]


def random_tasks(seed, dim=3, separable=False):
    """Two to four tasks of one to three samples; flipped to the right side of a random direction where asked."""
    rng = np.random.default_rng(seed)
    tasks = [rng.standard_normal((rng.integers(1, 4), dim)) for _ in range(rng.integers(2, 5))]
    if separable:
        w = rng.standard_normal(dim)
        tasks = [X * np.where(X @ w > 0, 1, -1)[:, None] for X in tasks]
    return tasks


# -- the methods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["cyclic", "replacement", "reshuffled", [1, 0, 2], [2]])
@pytest.mark.parametrize("padding", [0, 20])
def test_sequential_gd_is_the_papers(order, padding):
    """With zeros as further features there are more features than samples: the loop then runs on inner products."""
    tasks = [np.pad(X, ((0, 0), (0, padding))) for X in listed(CLUSTERED)]
    w0 = np.random.default_rng(0).standard_normal(10 + padding)
    run = cc.sequential_gd(tasks, num_stages=100, order=order, seed=4, w0=w0, record=[0, 1, 50], **TEN)
    stages = cc.task_order(order, 3, 100, 4)
    np.testing.assert_allclose(run.weights, reference.sequential_gd(tasks, stages, w0=w0, **TEN)[run.steps], atol=1e-11)
    assert run.steps.tolist() == [0, 1, 50, 100]


def test_sequential_gd_agrees_with_torch():
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    for t in range(40):
        for _ in range(10):
            optimizer.zero_grad()
            torch.nn.functional.softplus(-(torch.as_tensor(PLANE[t % 2]) @ w)).sum().backward()
            optimizer.step()
    np.testing.assert_allclose(cc.sequential_gd(PLANE, num_stages=40, **STEP).weights[-1], w.detach(), atol=1e-12)


def test_labels_may_be_given_apart():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((3, 4, 2)), rng.choice([-1, 1], (3, 4))
    pairs = cc.sequential_gd(list(zip(X, y, strict=True)), num_stages=9, num_steps=2, learning_rate=0.1)
    folded = cc.sequential_gd(list(y[..., None] * X), num_stages=9, num_steps=2, learning_rate=0.1)
    assert np.array_equal(pairs.weights, folded.weights)


def test_a_step_for_each_stage():
    rates = 0.1 / np.arange(1, 41)
    run = cc.sequential_gd(PLANE, num_stages=40, num_steps=3, learning_rate=rates)
    w = np.zeros(2)
    for t in range(40):
        w = reference.sequential_gd(listed(PLANE), [t % 2], num_steps=3, learning_rate=rates[t], w0=w)[-1]
    np.testing.assert_allclose(run.weights[-1], w, atol=1e-13)


def test_orders():
    assert cc.task_order("cyclic", 3, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert cc.task_order([2, 0], 3, 5).tolist() == [2, 0, 2, 0, 2]
    shuffled = cc.task_order("reshuffled", 4, 400, 1).reshape(-1, 4)
    assert np.all(np.sort(shuffled) == np.arange(4)) and len(np.unique(shuffled, axis=0)) == 24
    drawn = np.bincount(cc.task_order("replacement", 4, 40_000, 1))
    assert np.abs(drawn - 10_000).max() < 5 * np.sqrt(40_000 * 3 / 16)
    for order in ("reshuffled", "replacement"):
        assert not np.array_equal(cc.task_order(order, 4, 400, 1), cc.task_order(order, 4, 400, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_stages": 0}, "num_stages=0"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": np.nan}, "learning_rate=nan"),
        ({"learning_rate": [0.1, 0.2]}, r"learning_rate has shape \(2,\)"),
        ({"order": "random"}, "order='random'; allowed are 'cyclic'"),
        ({"order": [0, 2]}, r"order=\[0, 2\]; a sequence must hold task numbers 0 … 1"),
        ({"order": [-1]}, r"order=\[-1\]"),
        ({"order": [0.5]}, r"order=\[0.5\]"),
        ({"w0": np.zeros(3)}, "w0 has shape"),
        ({"record": [11]}, "record"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cc.sequential_gd(PLANE, **{"num_stages": 10, "num_steps": 2, "learning_rate": 0.1, **arguments})


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "tasks is empty"),
        ([[[1.0, 0.0]], np.empty((0, 2))], r"tasks\[1\] has shape \(0, 2\)"),
        ([[[1.0, 0.0]], [[1.0, 0.0, 0.0]]], r"tasks\[1\] has 3 features and tasks\[0\] has 2"),
        ([[[1.0, np.nan]]], r"tasks\[0\]\[0, 1\] is nan"),
        ([[[1.0, 1.0], [0.0, 0.0]]], r"tasks\[0\]\[1\] is a row of zeros"),
        ([(np.ones((2, 2)), [0, 1])], r"tasks\[0\]: labels \[0. 1.\]"),
        ([(np.ones((2, 2)), [1, 1, 1])], r"tasks\[0\]: labels .* expected 2 labels"),
    ],
)
def test_bad_tasks_are_named(tasks, message):
    for method in (
        lambda: cc.sequential_gd(tasks, num_stages=2, num_steps=1, learning_rate=0.1),
        lambda: cc.cycle_averaged_forgetting(tasks, num_cycles=2, num_steps=1, learning_rate=0.1),
        lambda: cc.sequential_max_margin(tasks, num_stages=2),
        lambda: cc.alignment(tasks),
    ):
        with pytest.raises(ValueError, match=message):
            method()


def test_a_step_above_the_stable_one_is_warned_of():
    limit = min(8 / np.linalg.norm(X, 2) ** 2 for X in listed(PLANE))
    assert cc.largest_stable_step(PLANE) == pytest.approx(limit)
    cc.sequential_gd(PLANE, num_stages=2, num_steps=1, learning_rate=0.999 * limit)
    with pytest.warns(UserWarning, match=rf"is above {limit:.4g}"):
        cc.sequential_gd(PLANE, num_stages=2, num_steps=1, learning_rate=1.001 * limit)


# -- projections and minimisers ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_projection_is_the_nearest_point(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rng.integers(1, 6), 4))
    A *= np.where(A @ np.ones(4) > 0, 1, -1)[:, None]  # separable
    w = 3 * rng.standard_normal(4)
    nearest = cc.project(w, A)
    assert (A @ nearest).min() > 1 - 1e-8
    np.testing.assert_allclose(cc.project(nearest, A), nearest, atol=1e-6)
    # the move is a non-negative combination of the active rows: the optimality condition
    active = A[A @ nearest < 1 + 1e-7]
    if active.size:
        weights = np.linalg.lstsq(active.T, nearest - w, rcond=None)[0]
        np.testing.assert_allclose(weights @ active, nearest - w, atol=1e-6)
    else:
        np.testing.assert_array_equal(nearest, w)
    others = nearest + rng.standard_normal((200, 4))
    feasible = others[(others @ A.T).min(axis=1) >= 1]
    assert np.all(np.linalg.norm(feasible - w, axis=1) >= np.linalg.norm(nearest - w) - 1e-9)


def test_projection_agrees_with_cvxpy():
    rng = np.random.default_rng(5)
    A, w = rng.standard_normal((6, 8)), rng.standard_normal(8)
    u = cvxpy.Variable(8)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - w)), [A @ u >= 1]).solve(solver="CLARABEL")
    np.testing.assert_allclose(cc.project(w, A), u.value, atol=1e-5)


def test_projections_separate_all_tasks_and_their_first_is_the_tasks_own():
    weights = cc.sequential_max_margin(CLUSTERED, num_stages=300)
    assert weights.shape == (301, 10) and np.all(weights[0] == 0)
    own = geometry.l2_max_margin(CLUSTERED[0])
    np.testing.assert_allclose(weights[1], own.direction / own.margin, atol=1e-12)
    assert (CLUSTERED.X @ weights[-1]).min() > 1 - 1e-6


def test_the_joint_minimiser_agrees_with_scikit_learn():
    X = OVERLAP.X * np.where(np.arange(60) % 2, 1, -1)[:, None]  # labels apart again: two classes are needed
    y = np.where(np.arange(60) % 2, 1, -1)
    fit = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(cc.joint_minimizer(OVERLAP), fit.coef_[0], atol=1e-5)
    np.testing.assert_allclose(reference.gradient(OVERLAP.X, cc.joint_minimizer(OVERLAP)), 0, atol=1e-12)


def test_the_joint_minimiser_says_why_there_is_none():
    with pytest.raises(ValueError, match="separable together"):
        cc.joint_minimizer(PLANE)
    touching = [[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0]]]  # no direction separates, but the loss falls for ever
    with pytest.raises(ValueError, match="separable together"):
        cc.joint_minimizer(touching)
    with pytest.raises(ValueError, match="span 1 of 2 dimensions"):
        cc.joint_minimizer([[[1.0, 1.0]], [[-1.0, -1.0]]])


@pytest.mark.parametrize(
    "method",
    [
        lambda tasks: cc.sequential_max_margin(tasks, num_stages=3),
        lambda tasks: cc.forgetting_limit(tasks, num_steps=1, learning_rate=0.1),
        cc.joint_limit,
    ],
)
def test_tasks_that_contradict_each_other_are_refused_with_a_certificate(method):
    with pytest.raises(geometry.NotSeparableError) as error:
        method(OVERLAP)
    weights = error.value.certificate
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights @ OVERLAP.X, 0, atol=1e-10)
    with pytest.raises(geometry.NotSeparableError):
        method([[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 1.0]]])  # not even the first task
    with pytest.raises(geometry.NotSeparableError):
        cc.project([0.0, 0.0], [[1.0, 0.0], [-1.0, 0.0]])


# -- limits and forgetting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [PLANE, SPACE, TRIO, CLUSTERED], ids=["plane", "space", "trio", "clustered"])
def test_the_joint_limit_is_the_smallest_with_margin_one(tasks):
    limit = cc.joint_limit(tasks)
    w = cvxpy.Variable(tasks.X.shape[1])
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(w)), [tasks.X @ w >= 1]).solve(solver="CLARABEL")
    np.testing.assert_allclose(limit.solution, w.value, atol=1e-5)
    np.testing.assert_allclose(limit.dual @ tasks.X, limit.solution, atol=1e-12)
    np.testing.assert_allclose(limit.pulls.sum(axis=0), limit.solution, atol=1e-12)
    np.testing.assert_allclose((tasks.X @ limit.solution)[limit.dual > 0], 1, atol=1e-12)
    assert limit.margin == pytest.approx(1 / np.linalg.norm(limit.solution))
    support = limit.dual > 0
    system = tasks.X[support] @ tasks.X[support].T @ np.diag(limit.dual[support])
    eigenvalues = np.linalg.eigvals(system).real
    assert limit.rate == pytest.approx(min(limit.gap, eigenvalues.min()))
    assert np.abs(eigenvalues - 1).min() < 1e-9


def test_closed_values_of_the_plane():
    limit = cc.joint_limit(PLANE)
    np.testing.assert_allclose(limit.solution, [17 / 15, 7 / 5], atol=1e-14)
    np.testing.assert_allclose(limit.dual, [22 / 15, 0, 16 / 9, 0], atol=1e-14)
    pulls = np.array([22 / 15 * PLANE.X[0], 16 / 9 * PLANE.X[2]])
    assert cc.forgetting_limit(PLANE, **STEP) == pytest.approx(-pulls[0] @ pulls[1] / 2)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_forgetting_limits_by_task(order):
    pulls = cc.joint_limit(CLUSTERED).pulls
    expected = np.zeros(3)
    for place, m in enumerate(order):
        expected[m] = -pulls[m] @ sum((pulls[p] for p in order[place + 1 :]), start=np.zeros(10)) / 0.5
    limits = cc.limits.task_forgetting_limits(CLUSTERED, order=order, **TEN)
    np.testing.assert_allclose(limits, expected, atol=1e-12)
    assert limits.mean() == pytest.approx(cc.forgetting_limit(CLUSTERED, **TEN))


@pytest.mark.parametrize("seed", range(5))
def test_alignment_is_the_sum_over_pairs(seed):
    tasks = random_tasks(seed)
    for ours, theirs in zip(cc.alignment(tasks), reference.alignment(tasks), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("padding", [0, 20])
def test_forgetting_is_the_papers(order, padding):
    tasks = [np.pad(X, ((0, 0), (0, padding))) for X in listed(INTERLEAVED)]
    run = cc.cycle_averaged_forgetting(tasks, num_cycles=30, order=order, record=range(1, 31), **TEN)
    per_task, steepest = reference.cycle_averaged_forgetting(tasks, order, num_cycles=30, **TEN)
    np.testing.assert_allclose(run.per_task, per_task, atol=1e-13)
    np.testing.assert_allclose(run.values, per_task.mean(axis=1), atol=1e-13)
    positive, negative = (n.sum() - np.trace(n) for n in reference.alignment(tasks))
    np.testing.assert_allclose(run.lower, -0.5 * steepest**2 * positive / 3, rtol=1e-12)
    np.testing.assert_allclose(run.upper, -0.5 * steepest**2 * negative / 3, rtol=1e-12)
    weights = reference.sequential_gd(tasks, np.resize(order, 90), **TEN)
    np.testing.assert_allclose(run.weights, weights[3::3], atol=1e-12)
    np.testing.assert_allclose(run.moves[4][list(order)], np.diff(weights[12:16], axis=0), atol=1e-12)
    np.testing.assert_allclose(run.loss, [reference.loss(np.concatenate(tasks), w) for w in weights[3::3]], rtol=1e-12)
    assert np.all(run.per_task[:, order[-1]] == 0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.01, 1.0), st.booleans())
def test_forgetting_stays_between_half_its_bounds(seed, share, separable):
    """Convexity alone: separable or not, for any step."""
    tasks = random_tasks(seed, separable=separable)
    rate = share * cc.largest_stable_step(tasks)
    run = cc.cycle_averaged_forgetting(tasks, num_cycles=20, num_steps=3, learning_rate=rate)
    slack = 1e-12 * (1 + np.abs(run.values))
    assert np.all(0.5 * run.lower - slack <= run.values) and np.all(run.values <= 0.5 * run.upper + slack)


def test_forgetting_keeps_its_digits():
    """After 10^6 cycles the two losses agree to six digits and their difference is 10^-12: as written, it has few left."""
    run = cc.cycle_averaged_forgetting(PLANE, num_cycles=10**6, record=[10**6], **STEP)
    limit = cc.forgetting_limit(PLANE, **STEP)
    assert 1e12 * run.values[0] == pytest.approx(limit, rel=1e-4)


def test_orthogonal_tasks_forget_nothing():
    run = cc.cycle_averaged_forgetting([[[1.0, 0.0]], [[0.0, 2.0]]], num_cycles=20, num_steps=3, learning_rate=0.5)
    assert np.all(run.values == 0) and np.all(run.lower == 0) and np.all(run.upper == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "reshuffled"}, "order='reshuffled'; allowed are 'cyclic' and a permutation"),
        ({"order": [0, 0]}, r"order=\[0, 0\]"),
        ({"num_cycles": 0}, "num_cycles=0"),
        ({"record": [0]}, "cycles are counted from 1 to 4"),
        ({"num_steps": -1}, "num_steps=-1"),
    ],
)
def test_bad_arguments_of_forgetting_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cc.cycle_averaged_forgetting(PLANE, **{"num_cycles": 4, **STEP, **arguments})


def test_limits_need_positive_steps():
    with pytest.raises(ValueError, match="learning_rate=0"):
        cc.forgetting_limit(PLANE, num_steps=1, learning_rate=0)
    with pytest.raises(ValueError, match=r"decay=0\.5"):
        cc.cycle_bias(OVERLAP, num_steps=1, decay=0.5)


def test_the_bias_is_the_fixed_points_of_a_small_step():
    """The fixed point of one cycle's map, by Newton's method on finite differences."""
    minimiser, rate = cc.joint_minimizer(OVERLAP), 1e-5
    w = minimiser.copy()

    def move(v):
        return reference.sequential_gd(listed(OVERLAP), [0, 1, 2], num_steps=4, learning_rate=rate, w0=v)[-1] - v

    for _ in range(3):
        jacobian = np.column_stack([(move(w + 1e-4 * e) - move(w - 1e-4 * e)) / 2e-4 for e in np.eye(5)])
        w = w - np.linalg.solve(jacobian, move(w))
    np.testing.assert_allclose((w - minimiser) / rate, cc.cycle_bias(OVERLAP, num_steps=4), rtol=2e-3, atol=2e-3)


# -- any PyTorch model ------------------------------------------------------------------------------------------------


def summed(outputs, labels):
    """Sums over samples, so that the linear code and the network's agree."""
    return torch.nn.functional.softplus(-outputs[:, 0] * labels).sum()


def linear_model(dim):
    model = torch.nn.Linear(dim, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    return model


def test_forgetting_of_a_linear_model_is_the_papers():
    loaders = [(torch.as_tensor(X), torch.ones(len(X), dtype=torch.float64)) for X in listed(INTERLEAVED)]
    model = linear_model(10)
    run = lab.forgetting(
        model, loaders, num_cycles=12, num_steps=10, learning_rate=0.05, loss_function=summed, record=range(1, 13)
    )
    ours = cc.cycle_averaged_forgetting(INTERLEAVED, num_cycles=12, record=range(1, 13), **TEN)
    np.testing.assert_allclose(run.per_task, ours.per_task, atol=1e-12)
    np.testing.assert_allclose(run.values, ours.values, atol=1e-12)
    np.testing.assert_allclose(run.losses.sum(axis=1), ours.loss, atol=1e-12)
    np.testing.assert_allclose(model.weight.detach()[0], ours.weights[-1], atol=1e-12)


def test_batches_follow_one_another_and_any_optimizer_does():
    rng = np.random.default_rng(0)
    batches = [[(torch.as_tensor(rng.standard_normal((n, 3))), torch.ones(n, dtype=torch.float64)) for n in (2, 1)]] * 2
    model = torch.nn.Sequential(torch.nn.Dropout(0.0), linear_model(3))
    run = lab.forgetting(
        model, batches, num_cycles=3, num_steps=3, loss_function=lab.logistic_loss, record=[1, 3],
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )  # fmt: skip
    w = np.zeros(3)
    places = [0, 0]
    for _ in range(3):
        for m in range(2):
            for _ in range(3):
                X = batches[m][places[m] % 2][0].numpy()
                places[m] += 1
                w = w - 0.1 * reference.gradient(X, w) / len(X)
    np.testing.assert_allclose(model[1].weight.detach()[0], w, atol=1e-13)
    everything = np.concatenate([X.numpy() for X, _ in batches[0]])
    assert run.losses[-1, 0] == pytest.approx(reference.loss(everything, w) / 3)
    assert run.cycles.tolist() == [1, 3] and model.training


def test_bad_loaders_are_named():
    model, pair = linear_model(2), (torch.ones((1, 2), dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    common = {"num_cycles": 2, "num_steps": 1, "loss_function": lab.logistic_loss}
    with pytest.raises(ValueError, match="task_loaders is empty"):
        lab.forgetting(model, [], learning_rate=0.1, **common)
    with pytest.raises(ValueError, match="exactly one"):
        lab.forgetting(model, [pair], **common)
    with pytest.raises(ValueError, match=r"task_loaders\[1\] yields no batch"):
        lab.forgetting(model, [pair, []], learning_rate=0.1, **common)
    with pytest.raises(ValueError, match="counted from 1"):
        lab.forgetting(model, [pair], learning_rate=0.1, record=[0], **common)
    with pytest.raises(ValueError, match="num_steps=0"):
        lab.forgetting(model, [pair], learning_rate=0.1, **{**common, "num_steps": 0})


def test_images_become_tasks():
    digits = data.load("digits")
    tasks = lab.image_tasks(digits, per_class=5)
    assert [X.shape for X in listed(tasks)] == [(10, 64)] * 3
    np.testing.assert_allclose(np.linalg.norm(tasks.X, axis=1), 1)
    first = digits.inputs[(digits.targets == 1).nonzero()[0, 0]].numpy().ravel().astype(float)
    np.testing.assert_allclose(tasks[0][5], -first / np.linalg.norm(first), atol=1e-7)
    with pytest.raises(ValueError, match="per_class=10000: class 0 has only"):
        lab.image_tasks(digits, per_class=10_000)
    run = lab.network_run(digits, num_cycles=2, per_class=20, num_steps=3, width=8)
    assert run.accuracy.shape == (3,) and np.all(run.forgetting.losses > 0)


# -- expected values that are computed here, independently -------------------------------------------------------------


def test_gradient_flow_gives_the_increment_error_of_a_small_step():
    """The expected value of C3c, to which the run's step of 2e-4 adds two parts in a thousand."""
    solution = np.array([17 / 15, 7 / 5])
    flow = solve_ivp(
        lambda s, w: PLANE.X.T @ (1 / (1 + np.exp(PLANE.X @ w))), (0, 2000), np.zeros(2), method="DOP853",
        rtol=1e-12, atol=1e-12, t_eval=[1000, 2000],
    ).y  # fmt: skip
    error = np.linalg.norm((flow[:, 1] - flow[:, 0]) / np.log(2) - solution) / np.linalg.norm(solution)
    assert error == pytest.approx(claim("C3c").expected, abs=1e-6)


def test_the_slow_mode_of_three_tasks():
    """The expected slope of D1a."""
    X = TRIO.X[::2]  # the three support vectors
    dual = np.linalg.solve(X @ X.T, np.ones(3))
    assert dual.min() > 0
    slowest = np.linalg.eigvals(X @ X.T @ np.diag(dual)).real.min()
    assert -slowest == pytest.approx(claim("D1a").expected, abs=1e-5)


def test_network_is_the_literal_one():
    """Accuracy after a few steps, from the same weights."""
    few = {"num_cycles": 3, "num_steps": 5, "learning_rate": 0.5}
    train, test = image_pairs(30), image_pairs(2000, test=True)
    layers = [p.detach().double().numpy() for p in lab.small_network(784, width=16, seed=1).parameters()]
    literal = reference.network_accuracy(train, test, [layers[0], layers[1], layers[2][0], layers[3][0]], **few)
    run = lab.network_run(fashion(), per_class=30, width=16, seed=1, **few)
    np.testing.assert_allclose(run.accuracy, literal, atol=1.5 / 400)  # an image may sit on the border in float32
    assert np.ptp(literal) > 0.01


def test_the_networks_accuracy():
    """The expected value of C14c, the mean of eight such initialisations, which scatter by 0.003."""
    start = reference.network_weights(784, 128, np.random.default_rng(1000))
    single = reference.network_accuracy(
        image_pairs(200, np.float32), image_pairs(2000, np.float32, test=True), start,
        num_cycles=100, num_steps=20, learning_rate=0.05,
    )  # fmt: skip
    np.testing.assert_allclose(single, claim("C14c").expected, atol=0.01)


def image_pairs(per_class, dtype=float, test=False):
    """Rows and labels ±1 of the first images of each class, put together apart from the package."""
    inputs, targets = (fashion().test_inputs, fashion().test_targets) if test else (fashion().inputs, fashion().targets)
    rows, tasks = inputs.numpy().reshape(len(inputs), -1).astype(dtype), []
    for pair in lab.PAIRS:
        chosen = [np.flatnonzero(targets.numpy() == number)[:per_class] for number in pair]
        labels = np.repeat([1, -1], [len(found) for found in chosen]).astype(dtype)
        tasks.append((rows[np.concatenate(chosen)], labels))
    return tasks


def claim(key):
    return lab.statements.checks[key]


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------


def completed(key, values):
    """Values of a short run, and where it ends the expected ones: only what was run can make the check fail."""
    return [*values, *claim(key).expected[len(values) :]]


def alone(tasks, num_stages=2000, learning_rate=0.1):
    """Task 0 alone, at every stage: end, and half-way."""
    return cc.sequential_gd(
        tasks, num_stages=num_stages, num_steps=10, learning_rate=learning_rate, order=[0],
        record=[num_stages // 10, num_stages // 2],
    ).weights  # fmt: skip


def alone_error(tasks, learning_rate=0.1):
    weights = alone(tasks, learning_rate=learning_rate)
    return cc.increment_error(tasks, weights[-1], weights[1])


def space_ends():
    return {name: run.weights[-1] for name, run in lab.paths(SPACE, num_stages=200).items()}


@cache
def averaged(tasks, num_cycles=1000, num_steps=10, learning_rate=0.1):
    """Losses averaged over a task's samples, all tasks of one size: the step is divided by it."""
    rate = learning_rate / len(tasks[0])
    return cc.cycle_averaged_forgetting(
        tasks, num_cycles=num_cycles, num_steps=num_steps, learning_rate=rate, record=np.minimum(DECADES, num_cycles)
    )


@cache
def contradicted():
    """The plane's tasks with a flipped sample."""
    return cc.cycle_averaged_forgetting(lab.flipped(PLANE), num_cycles=2000, record=range(200, 2000, 100), **STEP)


def spare_with_means(tasks, share=1.0, **step):
    """Bounds with the mean instead of the sum of inner products."""
    run = cc.cycle_averaged_forgetting(tasks, num_cycles=1000, **step)
    pairs = sum(len(tasks[p]) * len(tasks[q]) for p, q in itertools.permutations(range(len(tasks)), 2))
    lower, upper = share * run.lower / pairs, share * run.upper / pairs
    return (np.minimum(run.values - lower, upper - run.values) / (upper - lower)).min()


def all_spares(share=1.0):
    return [
        spare_with_means(PLANE, share, num_steps=10, learning_rate=0.01),
        spare_with_means(PLANE, share, **STEP),
        spare_with_means(CLUSTERED, share, **TEN),
        spare_with_means(INTERLEAVED, share, **TEN),
    ]


def against_the_start(rate):
    """Loss at the end of the first cycle minus that at its start."""
    w = cc.cycle_averaged_forgetting(PLANE, num_cycles=1, num_steps=10, learning_rate=rate).weights[0]
    return np.mean([reference.loss(X, w) - reference.loss(X, np.zeros(2)) for X in listed(PLANE)])


def off_diagonal(tasks):
    return [n.sum() - np.trace(n) for n in cc.alignment(tasks)]


def early(tasks, table, cycles=(1, 3, 10, 30, 100), rate=0.05):
    run = cc.cycle_averaged_forgetting(tasks, num_cycles=100, num_steps=10, learning_rate=rate, record=cycles)
    return run.values / table


def late(tasks, rate, num_cycles=10**5):
    run = cc.cycle_averaged_forgetting(
        tasks, num_cycles=num_cycles, num_steps=10, learning_rate=rate, record=[num_cycles]
    )
    return num_cycles**2 * run.values[0]


def raw_alignment(tasks):
    return -sum(off_diagonal(tasks)) / (2 * 3 * 0.5)


def own_cosines(*splits):
    own = np.concatenate([lab.own_directions(tasks) for tasks in splits])
    return geometry.cosine(own, geometry.l2_max_margin(POINTS).direction)


def few_points():
    best = geometry.l2_max_margin(POINTS[:8])
    return [best.margin, np.count_nonzero(best.dual)]


def bounds_of_task_0():
    sigma, margin = np.linalg.norm(PLANE[0], 2), cc.joint_limit(PLANE).margin
    first = 1 / (2 * 2 * 10 * 0.25 * sigma**2)
    second = margin**2 / (4 * 10 * 0.25 * sigma**3 * (2 * margin + sigma))
    return np.divide([first, second, 2 * margin**2 / (0.25 * sigma**4)], lab.STEP_BOUNDS)


def large_steps(*rates):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return lab.increment_errors(PLANE, rates, num_stages=100_000)


def unbalanced():
    """Task 0 nine times out of ten."""
    runs = [
        cc.sequential_gd(PLANE, num_stages=100_000, order=[0] * 9 + [1], w0=[s, 0.0], **STEP).weights[-1]
        for s in range(3)
    ]
    return [np.abs(cc.margin_residuals(PLANE, w, num_stages=100_000, **STEP)).max() for w in runs]


def drawn_error():
    run = cc.sequential_gd(PLANE, num_stages=10**6, order="replacement", record=[10**5], **STEP)
    return cc.increment_error(PLANE, run.weights[-1], run.weights[0], 10)


def projections(order="cyclic", num_stages=104):
    return cc.sequential_max_margin(lab.stopping_tasks(), num_stages=num_stages, order=order)


def stopped(order):
    w = projections(order)[4]
    return [*w, geometry.cosine(w, [1, 0])]


def descent_moves():
    run = cc.sequential_gd(lab.stopping_tasks(), num_stages=104, num_steps=5, learning_rate=0.5, record=[4])
    return np.linalg.norm(run.weights[1] - run.weights[0])


def thirty_stages():
    solution = cc.joint_limit(CLUSTERED).solution
    runs = [
        cc.sequential_gd(CLUSTERED, num_stages=30, num_steps=K, learning_rate=0.05) for K in (1, 10, 100, 1000, 10_000)
    ]
    return [geometry.cosine(run.weights[-1], solution) for run in runs]


def curvatures_at_the_origin():
    hessians = [X.T @ X / 4 for X in listed(OVERLAP)]
    squares = [np.linalg.norm(X, 2) ** 2 / 4 for X in listed(OVERLAP)]
    return [np.linalg.eigvalsh(sum(hessians))[0], sum(squares), np.mean(squares)]


def random_horizons():
    cycles = np.array([300, 1000, 3000])
    values = lab.horizon_runs(OVERLAP, cycles, order="replacement") * cycles**2 / np.log(cycles) ** 2
    return completed("C12c", values)


@cache
def fashion():
    return data.load("fashion-mnist-12k")


@cache
def images():
    return lab.image_tasks(fashion(), per_class=50)


def raw_images():
    dataset, rows = fashion(), []
    for pair in lab.PAIRS:
        chosen = [dataset.inputs[(dataset.targets == c).nonzero()[:50, 0]].numpy().reshape(50, -1) for c in pair]
        rows.append(np.concatenate([chosen[0], -chosen[1]]).astype(float))
    return [100 * geometry.l2_max_margin(np.concatenate(rows)).margin, *(np.linalg.norm(X, 2) for X in rows)]


def image_run(tasks, num_cycles, record):
    rate = 2 / max(np.linalg.norm(X, 2) for X in listed(tasks)) ** 2
    return rate, cc.cycle_averaged_forgetting(
        tasks, num_cycles=num_cycles, num_steps=10, learning_rate=rate, record=record
    )


def shuffled_images():
    """Labels shuffled within each task, against the true joint direction."""
    rng = np.random.default_rng(0)
    tasks = [X * rng.permutation(np.repeat([1, -1], 50))[:, None] for X in listed(images())]
    _, run = image_run(cc.as_tasks(tasks), 100, [1, 10])
    return completed("C13c", geometry.cosine(run.weights, cc.joint_limit(images()).solution))


def image_task_0_alone():
    w = cc.sequential_gd(images(), num_stages=500, num_steps=10, learning_rate=0.02, order=[0]).weights[-1]
    own = lab.own_directions(images())
    return [*geometry.cosine(w, own), *geometry.cosine(own, cc.joint_limit(images()).solution)]


def fewer_cycles(num_cycles=1000):
    rate, run = image_run(images(), num_cycles, [num_cycles // 2])
    limit = cc.joint_limit(images())
    return [
        geometry.margin(images().X, run.weights[-1]) / limit.margin,
        limit.margin**2 * rate * 10 * num_cycles * run.loss[-1],
        geometry.cosine(run.weights[-1] - run.weights[0], limit.solution),
    ]


def summed_image_forgetting():
    _, run = image_run(images(), 100, [1, 10])
    return completed("C13f", run.per_task.sum(axis=1) / lab.IMAGE_FORGETTING[:3])


def constant_without_tasks():
    """The closed form times the number of tasks, against a run of 10^4 cycles."""
    rate, run = image_run(images(), 10_000, [10_000])
    return 10_000**2 * run.values[0] / (3 * cc.forgetting_limit(images(), num_steps=10, learning_rate=rate))


@cache
def at_once():
    """The network trained on all tasks in each stage of a cycle; few cycles show it."""
    train = lab.pair_tensors(fashion(), per_class=200)
    everything = tuple(torch.cat(parts) for parts in zip(*train, strict=True))
    model = lab.small_network(784)
    run = lab.forgetting(
        model, [everything] * 3, num_cycles=5, num_steps=20, learning_rate=0.05, loss_function=lab.logistic_loss,
        record=[1, 2],
    )  # fmt: skip
    return completed("C14a", run.values), completed("C14b", run.losses.sum(axis=1) / lab.NETWORK_LOSS[:3])


def shuffled_accuracy():
    rng = np.random.default_rng(0)
    tasks = [(X, y[torch.as_tensor(rng.permutation(len(y)))]) for X, y in lab.pair_tensors(fashion(), per_class=200)]
    model = lab.small_network(784)
    lab.forgetting(
        model, tasks, num_cycles=3, num_steps=20, learning_rate=0.05, loss_function=lab.logistic_loss, record=[3]
    )
    test = lab.pair_tensors(fashion(), per_class=2000, test=True)
    with torch.no_grad():
        return [float((model(X)[:, 0] * y > 0).float().mean()) for X, y in test]


def before_the_loss_falls():
    run = lab.network_run(fashion(), num_cycles=20, record=[5, 20])
    return run.forgetting.values[1] / run.forgetting.values[0]


def wrong_clock():
    """Law A without the number of tasks."""
    cycles = [1000, 3000, 10_000]
    run = cc.cycle_averaged_forgetting(TRIO, num_cycles=10_000, num_steps=7, learning_rate=0.2, record=cycles)
    residuals = [
        np.abs(cc.margin_residuals(TRIO, w, num_stages=9 * J, num_steps=7, learning_rate=0.2)).max()
        for J, w in zip(cycles, run.weights, strict=True)
    ]
    return cycles, residuals


def earlier_for_later():
    """For the middle task, the closed form of the reversed cycle, in which later tasks are earlier ones."""
    wrong = cc.limits.task_forgetting_limits(CLUSTERED, order=[2, 1, 0], **TEN)
    run = cc.cycle_averaged_forgetting(CLUSTERED, num_cycles=10**4, record=[10**4], **TEN)
    return completed("D2a", 1e8 * run.per_task[0, 1:2] / wrong[1:2])


def task_0_by_order():
    total = cc.forgetting_limit(CLUSTERED, **TEN)
    runs = lab.forgetting_by_order(CLUSTERED, list(itertools.permutations(range(3))), num_cycles=10**4, **TEN)
    return [1e8 * run.per_task[0, 0] / total for run in runs]


def zigzag_of_joint_training():
    """All tasks in every stage, for a third of the steps: all stages of a cycle move alike."""
    joint = cc.sequential_gd([CLUSTERED.X], num_stages=10**4, num_steps=10, learning_rate=0.05, record=[10**4 - 1])
    third = np.linalg.norm(joint.weights[1] - joint.weights[0]) / 3
    return 1e4 * third / np.linalg.norm(cc.joint_limit(CLUSTERED).pulls, axis=1)


def one_step_bias(rates):
    return lab.constant_step_bias(OVERLAP, rates, num_cycles=20_000, num_steps=1)


def slow_decay():
    mu, _, smooth = cc.curvatures(OVERLAP)
    cycles, distance = lab.falling_step_run(
        OVERLAP, num_cycles=10_000, decay=0.5, strong_convexity=mu, largest=1 / (2 * np.sqrt(2) * 10 * smooth)
    )
    return cycles[cycles >= 100], distance[cycles >= 100]


def constant_of_a_fixed_step():
    mu, _, smooth = cc.curvatures(OVERLAP)
    cycles, distance = lab.falling_step_run(
        OVERLAP, num_cycles=10_000, decay=2.0, strong_convexity=mu, largest=1 / (2 * np.sqrt(2) * 10 * smooth)
    )
    fixed = np.linalg.norm(cc.cycle_bias(OVERLAP, num_steps=10)) * 2 / (mu * 10)
    return cycles[-1] * distance[-1] / fixed


FLIPPED_LOSS = lambda: (contradicted().cycles, contradicted().loss)  # noqa: E731

CONTROLS = {
    "C1a": lambda: [geometry.cosine(space_ends()[n], np.ones(3)) for n in ("together", "in turn")],
    "C1b": lambda: [geometry.cosine(space_ends()[f"task {m} alone"], np.ones(3)) for m in range(2)],
    "C1c": lambda: geometry.cosine(space_ends()["task 0 alone"], space_ends()["together"]),
    "C2a": lambda: completed("C2a", cc.joint_limit(PLANE).margin ** 2 * averaged(PLANE).cycles * averaged(PLANE).loss),
    "C2b": lambda: (PLANE.X @ (alone(PLANE)[-1] - alone(PLANE)[0])).min(),
    "C2c": lambda: (contradicted().cycles, np.sum(contradicted().moves ** 2, axis=(1, 2))),
    "C3a": lambda: geometry.cosine(alone(PLANE)[-1], cc.joint_limit(PLANE).solution),
    "C3b": lambda: [alone_error(PLANE), alone_error(PLANE, 0.5)],
    "C3c": lambda: lab.increment_errors(PLANE, [1e-4], num_stages=2 * 10**6)[0],
    "C3d": lambda: np.abs(
        cc.margin_residuals(
            PLANE, cc.sequential_gd(PLANE, num_stages=20_000, **STEP).weights[-1], num_stages=40_000, **STEP
        )
    ).max(),
    "C4": FLIPPED_LOSS,
    "C5a": all_spares,
    "C5b": lambda: [n.sum() for n in cc.alignment(PLANE)],
    "C5c": lambda: [against_the_start(0.1), against_the_start(0.01)],
    "C6a": lambda: completed("C6a", averaged(PLANE).cycles ** 2 * averaged(PLANE).values),
    "C6b": lambda: (contradicted().cycles, np.abs(contradicted().values)),
    "C6c": lambda: 2 * late(PLANE, 0.01, 10**6),
    "C6d": lambda: (contradicted().cycles, np.abs(contradicted().values) / contradicted().loss),
    "C7a": lambda: off_diagonal(lab.split(POINTS, [range(k, 12, 3) for k in range(3)])) * 2,
    "C7b": lambda: early(INTERLEAVED, lab.CLUSTERED_FORGETTING),
    "C7c": lambda: early(CLUSTERED, lab.INTERLEAVED_FORGETTING),
    "C7d": lambda: [late(CLUSTERED, 0.06), late(INTERLEAVED, 0.06)],
    "C7e": lambda: [raw_alignment(CLUSTERED), raw_alignment(INTERLEAVED)],
    "C7f": lambda: own_cosines(INTERLEAVED, CLUSTERED),
    "C7g": few_points,
    "C7h": lambda: early(lab.acute_tasks(), lab.ACUTE_FORGETTING, (1, 2, 5, 10, 100), 0.06),
    "C7i": lambda: [
        cc.forgetting_limit(lab.acute_tasks(), num_steps=10, learning_rate=0.06),
        late(lab.acute_tasks(), 0.06, 10_000),
    ],
    "C8a": bounds_of_task_0,
    "C8b": lambda: large_steps(20.0, 10.0, 15.0),
    "C8c": lambda: large_steps(5.0)[0],
    "C9a": lambda: [geometry.cosine(alone(PLANE)[k], cc.joint_limit(PLANE).solution) for k in range(3)],
    "C9b": unbalanced,
    "C9c": lambda: [cc.increment_error(PLANE, alone(PLANE)[-1], alone(PLANE)[0], 10)] * 3,
    "C9d": drawn_error,
    "C10a": lambda: stopped([1, 0]),
    "C10b": descent_moves,
    "C10c": lambda: projections()[-1],
    "C10d": lambda: np.linalg.norm(projections("cyclic")[-1] - [2, 0]),
    "C10e": lambda: geometry.misalignment(projections()[-1], [1, 0]),
    "C11": thirty_stages,
    "C12a": curvatures_at_the_origin,
    "C12b": lambda: one_step_bias(1e-2 / 2.0 ** np.arange(5)),
    "C12c": random_horizons,
    "C13a": raw_images,
    "C13b": lambda: np.count_nonzero(geometry.l2_max_margin(images()[0]).dual),
    "C13c": shuffled_images,
    "C13d": image_task_0_alone,
    "C13e": fewer_cycles,
    "C13f": summed_image_forgetting,
    "C13g": constant_without_tasks,
    "C14a": lambda: at_once()[0],
    "C14b": lambda: at_once()[1],
    "C14c": shuffled_accuracy,
    "C14d": before_the_loss_falls,
    "D1a": wrong_clock,
    "D1b": lambda: cc.joint_limit(TRIO).margin ** 2 * 1.4 * 10**5 * averaged(TRIO, 10**5, 7, 0.2).loss[-1],
    "D1c": lambda: (
        10**6 * averaged(TRIO, 1000, 7, 0.2).values[-1] / cc.forgetting_limit(TRIO, num_steps=7, learning_rate=0.2)
    ),
    "D1d": lambda: alone_error(TRIO),
    "D2a": earlier_for_later,
    "D2b": task_0_by_order,
    "D3": lambda: all_spares(share=0.5),
    "D4": zigzag_of_joint_training,
    "D5a": lambda: (one_step_bias([1.25e-3, 6.25e-4]) @ [-1, 2]) / np.linalg.norm(cc.cycle_bias(OVERLAP, num_steps=10)),
    "D5b": slow_decay,
    "D5c": constant_of_a_fixed_step,
}


def test_every_claim_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)
