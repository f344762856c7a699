"""The optimizers against the paper's words, formulas against brute force; every claim against a wrong variant."""

import copy
import json
import math
import os
import pickle
import re
import socket
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import schedule_free as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom
from tests.reference import schedule_free as reference

from descentlab import data, training
from descentlab import schedule_free as sf
from descentlab.claims import Ledger
from descentlab.networks import Llama, seeded
from descentlab.schedule_free import _updates
from descentlab.training import load_checkpoint, save_checkpoint

G = lab.random_gradients(300, 12)
LAYOUTS = ("in-place", "reference")
quiet = pytest.mark.filterwarnings("ignore:decoupling_c")  # many tests take a large C without warmup


def rows(y, t):
    return G[t]


def run(optimizer, parameter, num_steps, first=1, between=lambda: None):
    """Feed rows of `G`; returns copies of the parameter after each step."""
    optimizer.train()
    path = []
    for t in range(first, first + num_steps):
        parameter.grad = torch.tensor(G[t], dtype=parameter.dtype)
        optimizer.step()
        path.append(parameter.detach().clone())
        between()
    return torch.stack(path).numpy()


def parameter(dtype=torch.float64):
    return torch.nn.Parameter(torch.tensor(G[0], dtype=dtype))


# -- the optimizers -----------------------------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("way", [("in-place", "fused"), ("in-place", "foreach"), ("reference", "auto")])
@pytest.mark.parametrize("beta", [0.1, 0.5, 0.95])
@pytest.mark.parametrize(("warmup", "c"), [(0, None), (50, None), (50, 7.0), (0, 40.0)])
def test_adamw_is_the_papers(way, beta, warmup, c):
    p, options = parameter(), {"lr": 0.01, "betas": (beta, 0.99), "weight_decay": 0.1, "warmup_steps": warmup}
    optimizer = sf.ScheduleFreeAdamW([p], layout=way[0], implementation=way[1], decoupling_c=c, **options)
    x, y = reference.adamw(G[0], rows, 300, c=c, **options)
    np.testing.assert_allclose(run(optimizer, p, 300), y, atol=1e-12)
    optimizer.eval()
    np.testing.assert_allclose(p.detach(), x[-1], atol=1e-12)


@quiet
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c", [None, 20.0])
def test_sgd_is_the_papers(layout, c):
    p, options = parameter(), {"lr": 0.1, "weight_decay": 0.2, "warmup_steps": 20}
    optimizer = sf.ScheduleFreeSGD([p], momentum=0.8, layout=layout, decoupling_c=c, **options)
    x, y = reference.sgd(G[0], rows, 300, beta=0.8, c=c, **options)
    np.testing.assert_allclose(run(optimizer, p, 300), y, atol=1e-12)
    np.testing.assert_allclose(optimizer.averages()[0], x[-1], atol=1e-12)


def test_without_averaging_of_gradients_the_reference_layout_still_averages():
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.01, betas=(0.0, 0.99), layout="reference", weight_decay=0.0)
    x, y = reference.adamw(G[0], rows, 100, lr=0.01, betas=(0.0, 0.99))
    np.testing.assert_allclose(run(optimizer, p, 100), y, atol=1e-12)
    np.testing.assert_allclose(optimizer.averages()[0], x[-1], atol=1e-12)


@pytest.mark.parametrize(
    ("method", "options", "name"),
    [
        (sf.ScheduleFreeAdamW, {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1, "warmup_steps": 100}, "AdamW"),
        (sf.ScheduleFreeSGD, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.2, "warmup_steps": 20}, "SGD"),
    ],
)
def test_it_is_the_public_packages(method, options, name):
    p, (y, x) = parameter(), reference.PUBLIC[name]
    optimizer = method([p], **options)
    np.testing.assert_allclose(run(optimizer, p, 300)[-1, :4], y, atol=1e-12)
    np.testing.assert_allclose(optimizer.averages()[0][:4], x, atol=1e-12)


@pytest.mark.parametrize("method", [sf.ScheduleFreeAdamW, sf.ScheduleFreeSGD])
def test_the_compiled_expressions_are_the_same_step(method, monkeypatch):
    monkeypatch.setattr(_updates, "_compiled", lambda: _updates._expressions)  # without the compiler
    p, q = parameter(), parameter()
    one, two = method([p], 0.01, implementation="compiled"), method([q], 0.01, implementation="foreach")
    np.testing.assert_allclose(run(one, p, 50), run(two, q, 50), atol=1e-13)


def test_fused_and_foreach_agree_on_any_memory_layout_and_on_threads(monkeypatch):
    monkeypatch.setattr(_updates, "CHUNK", 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    shapes = [torch.randn(20, 30, 3, 2).to(memory_format=torch.channels_last), torch.randn(40, 7).T, torch.randn(5, 6)]
    ends = []
    for way in ("fused", "foreach"):
        ps = [torch.nn.Parameter(t.clone(memory_format=torch.preserve_format)) for t in shapes]
        optimizer = sf.ScheduleFreeAdamW(ps, 0.1, implementation=way)
        optimizer.train()
        for step in range(5):
            for number, p in enumerate(ps):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * step + number))
            optimizer.step()
        ends.append([p.detach().clone() for p in ps])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_the_gradient_is_left_as_it_was():
    for way in ("fused", "foreach"):
        p = parameter()
        run(sf.ScheduleFreeAdamW([p], implementation=way), p, 1)
        np.testing.assert_array_equal(p.grad, G[1])


@quiet
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", [sf.ScheduleFreeAdamW, sf.ScheduleFreeSGD])
def test_evaluation_changes_no_bit_of_the_training(layout, method):
    ends = []
    for between in (lambda o: None, lambda o: (o.eval(), o.averages(), o.train())):
        p = parameter(torch.float32)
        optimizer = method([p], 0.02, layout=layout, decoupling_c=5.0)
        path = run(optimizer, p, 60, between=partial(between, optimizer))
        optimizer.eval()
        ends.append((path, p.detach().numpy().copy()))
    assert np.array_equal(ends[0][0], ends[1][0]) and np.array_equal(ends[0][1], ends[1][1])
    assert not np.allclose(ends[0][0][-1], ends[0][1])  # x is not y


def test_averaged_is_a_block():
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.01)
    y = run(optimizer, p, 20)[-1]
    with optimizer.averaged():
        assert not optimizer.training
        np.testing.assert_array_equal(p.detach(), optimizer.averages()[0])
    assert optimizer.training and np.array_equal(p.detach(), y)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_set_at_evaluation_are_the_new_averages(layout):
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.01, betas=(0.9, 0.99), layout=layout)
    run(optimizer, p, 20)
    z = optimizer.state[p]["z"].clone()
    optimizer.eval()
    with torch.no_grad():
        p.fill_(3.0)
    optimizer.train()
    torch.testing.assert_close(p.detach(), 0.1 * z + 0.9 * 3.0)
    torch.testing.assert_close(optimizer.averages()[0], torch.full_like(p, 3.0))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_continues_bit_for_bit(tmp_path, mode, layout):
    p = parameter(torch.float32)
    optimizer = sf.ScheduleFreeAdamW([p], 0.02, warmup_steps=10, layout=layout)
    run(optimizer, p, 30)
    getattr(optimizer, mode)()
    save_checkpoint(tmp_path / "c", {"p": p.detach(), "o": optimizer.state_dict()})
    uninterrupted = run(optimizer, p, 20, first=31)
    state = load_checkpoint(tmp_path / "c")  # weights only: plain types
    q = torch.nn.Parameter(state["p"])
    resumed = sf.ScheduleFreeAdamW([q], 0.02, warmup_steps=10, layout=layout)
    resumed.load_state_dict(state["o"])
    assert resumed.training == (mode == "train")
    assert np.array_equal(run(resumed, q, 20, first=31), uninterrupted)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("layouts", [LAYOUTS, LAYOUTS[::-1]])
def test_checkpoints_fit_the_other_layout(mode, layouts):
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.02, layout=layouts[0])
    run(optimizer, p, 30)
    getattr(optimizer, mode)()
    q = torch.nn.Parameter(p.detach().clone())
    other = sf.ScheduleFreeAdamW([q], 0.02, layout=layouts[1])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    np.testing.assert_allclose(other.averages()[0], optimizer.averages()[0], atol=1e-13)
    np.testing.assert_allclose(run(other, q, 20, first=31), run(optimizer, p, 20, first=31), atol=1e-12)
    np.testing.assert_allclose(other.averages()[0], optimizer.averages()[0], atol=1e-12)
    assert ("x" in other.state[q]) == (layouts[1] == "reference")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_copies_and_pickles_go_on_alike(copied):
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.02, layout="reference")
    run(optimizer, p, 5)
    twin = copied(optimizer)
    (q,) = twin.param_groups[0]["params"]
    assert np.array_equal(run(twin, q, 5, first=6), run(optimizer, p, 5, first=6)) and q is not p


def test_forgotten_calls_are_errors_that_name_the_mend():
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.02)
    with pytest.raises(RuntimeError, match=r"call optimizer.train\(\)"):
        optimizer.step()
    run(optimizer, p, 3)
    optimizer.eval()
    with pytest.raises(RuntimeError, match=r"call optimizer.train\(\)"):
        optimizer.step()
    p.grad = torch.ones_like(p)  # a backward pass at the averages
    with pytest.raises(RuntimeError, match="gradient was computed at the averaged parameters"):
        optimizer.train()
    optimizer.zero_grad()
    optimizer.train()
    optimizer.step()


def test_a_gradient_from_before_the_evaluation_is_fine():
    p = parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.02)
    run(optimizer, p, 3)
    optimizer.eval()
    optimizer.train()
    p.grad.add_(0)  # touched again, but in training mode
    optimizer.step()


def test_a_watched_model_tells_of_either_forgotten_call():
    model = torch.nn.Linear(12, 1)
    optimizer = sf.ScheduleFreeAdamW(model.parameters())
    handle = optimizer.watch(model)
    inputs = torch.ones(1, 12)
    with pytest.raises(RuntimeError, match=r"call optimizer.train\(\) beside model.train\(\)"):
        model.train()(inputs)
    optimizer.train()
    model.train()(inputs)
    with pytest.raises(RuntimeError, match=r"optimizer.eval\(\) beside model.eval\(\)"):
        model.eval()(inputs)
    optimizer.eval()
    model.eval()(inputs)
    handle.remove()
    model.train()(inputs)


def test_a_closure_is_evaluated_at_the_gradient_points():
    p, q = parameter(), parameter()
    one, two = (sf.ScheduleFreeAdamW([w], 0.02) for w in (p, q))
    one.train(), two.train()
    for _ in range(5):

        def closure():
            one.zero_grad()
            loss = (p - 1).square().sum()
            loss.backward()
            return loss

        loss = one.step(closure)
        q.grad = 2 * (q.detach() - 1)
        assert loss.item() == pytest.approx((q - 1).square().sum().item())
        two.step()
    assert torch.equal(p, q)


def test_groups_have_their_own_settings_and_a_frozen_part_joins_later():
    p, q = parameter(), parameter()
    optimizer = sf.ScheduleFreeAdamW([p], 0.01, weight_decay=0.0)
    run(optimizer, p, 10)
    optimizer.add_param_group({"params": [q], "lr": 0.03, "betas": (0.5, 0.9)})
    for t in range(11, 41):
        p.grad, q.grad = torch.tensor(G[t]), torch.tensor(G[t - 10])
        optimizer.step()
    _, y = reference.adamw(G[0], rows, 30, lr=0.03, betas=(0.5, 0.9))
    np.testing.assert_allclose(q.detach(), y[-1], atol=1e-12)
    _, y = reference.adamw(G[0], rows, 40, lr=0.01, betas=(0.95, 0.99))
    np.testing.assert_allclose(p.detach(), y[-1], atol=1e-12)
    q.grad, before = None, q.detach().clone()
    optimizer.step()
    assert torch.equal(q, before)


def test_a_part_without_gradients_at_first_has_its_own_second_moment():
    p, q = parameter(), parameter()
    optimizer = sf.ScheduleFreeAdamW([p, q], 0.01, weight_decay=0.0)
    run(optimizer, p, 200)
    q.grad = torch.full_like(q, 5.0)
    z = q.detach().clone()
    optimizer.step()
    torch.testing.assert_close(optimizer.state[q]["z"], z - 0.01)  # a first step has the size of the learning rate


def test_schedulers_and_grad_scalers_work():
    p = parameter(torch.float32)
    optimizer = sf.ScheduleFreeAdamW([p], 0.1, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    optimizer.train()
    x = z = y = G[0]
    v, squares = np.zeros(12), 0.0
    for t in range(1, 21):
        optimizer.zero_grad()
        scaler.scale((p * torch.tensor(G[t], dtype=p.dtype)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        rate = 0.1 / t
        v = 0.99 * v + 0.01 * G[t] ** 2
        z = z - rate * G[t] / np.sqrt(v / (1 - 0.99**t))
        squares += rate**2
        x = x + rate**2 / squares * (z - x)
        y = 0.05 * z + 0.95 * x
    np.testing.assert_allclose(p.detach(), y, atol=1e-5)
    before = p.detach().clone()
    p.grad = torch.full_like(p, math.inf)
    scaler.step(optimizer)
    assert torch.equal(p, before) and optimizer.param_groups[0]["num_steps"] == 20


def test_batch_norm_is_refreshed_at_the_averages():
    with seeded(0):
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        inputs = torch.randn(64, 3)
    optimizer = sf.ScheduleFreeAdamW(model.parameters(), 0.3)
    optimizer.train()
    for _ in range(20):
        optimizer.zero_grad()
        (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean().backward()
        optimizer.step()
    with pytest.raises(RuntimeError, match=r"call optimizer.eval\(\)"):
        sf.refresh_batch_norm(model, optimizer, [inputs])
    optimizer.eval()
    stale = model.eval()(inputs).detach()
    sf.refresh_batch_norm(model, optimizer, [inputs])
    hidden = model[0](inputs)
    torch.testing.assert_close(model[1].running_mean, hidden.mean(dim=0).detach())
    torch.testing.assert_close(model[1].running_var, hidden.var(dim=0).detach())
    assert not torch.allclose(model(inputs), stale, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (1.0, 0.99)}, r"betas=\(1.0, 0.99\): allowed are values in \[0, 1\)"),
        ({"betas": (0.9, -0.1)}, "betas"),
        ({"betas": (0.9,)}, "expected a pair"),
        ({"betas": (0.0, 0.99)}, "use layout='reference'"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"warmup_steps": 0.5}, "warmup_steps=0.5"),
        ({"decoupling_c": 0.5}, "decoupling_c=0.5"),
        ({"decoupling_c": math.nan}, "decoupling_c=nan"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": math.inf}, "lr=inf"),
        ({"eps": -1e-8}, "eps"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"layout": "sparse"}, "layout='sparse'; allowed are 'in-place' and 'reference'"),
        ({"implementation": "fast"}, "implementation='fast'"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        sf.ScheduleFreeAdamW([parameter()], **options)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="complex"):
        sf.ScheduleFreeAdamW([torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))])
    with pytest.raises(ValueError, match="different devices"):
        sf.ScheduleFreeAdamW([parameter(), torch.nn.Parameter(torch.zeros(2, device="meta"))])
    with pytest.raises(ValueError, match="sparse"):
        sf.ScheduleFreeAdamW([torch.eye(2).to_sparse().requires_grad_()])
    with pytest.raises(ValueError, match=r"momentum=0.0.*layout='reference'"):
        sf.ScheduleFreeSGD([parameter()], momentum=0.0)
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = sf.ScheduleFreeAdamW(table.parameters())
    optimizer.train()
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="sparse gradient"):
        optimizer.step()


def test_a_refused_group_is_not_kept():
    optimizer = sf.ScheduleFreeAdamW([parameter()])
    with pytest.raises(ValueError, match="different devices"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(2, device="meta"))]})
    assert len(optimizer.param_groups) == 1


def test_warnings_where_early_steps_are_long_or_numbers_short():
    with pytest.warns(UserWarning, match=r"16\.9 times.*warmup_steps of at least 600"):
        sf.ScheduleFreeAdamW([parameter()], betas=(0.98, 0.99), decoupling_c=200, warmup_steps=37)
    with pytest.warns(UserWarning, match="many times"):
        sf.ScheduleFreeSGD([parameter()], decoupling_c=20)
    with pytest.warns(UserWarning, match="low precision"):
        sf.ScheduleFreeAdamW([torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.ScheduleFreeAdamW([parameter()], decoupling_c=sf.max_decoupling_c(300), warmup_steps=300)
        sf.ScheduleFreeAdamW([parameter()], betas=(0.9, 0.99), decoupling_c=10)  # vanilla


# -- theory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [None, 1.0, 7.0, 60.0, 1e6])
@pytest.mark.parametrize("beta", [0.0, 0.3, 0.95])
def test_weights_are_those_of_the_iteration(beta, c):
    weights = sf.averaging_weights(200, beta=beta, decoupling_c=c)
    np.testing.assert_allclose(weights, reference.weights(200, beta=beta, c=c), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400), st.floats(0, 0.99), st.none() | st.floats(1, 1e4))
def test_weights_are_a_distribution(num_steps, beta, c):
    weights = sf.averaging_weights(num_steps, beta=beta, decoupling_c=c)
    assert weights.shape == (num_steps,) and np.all(weights >= 0) and weights.sum() == pytest.approx(1, abs=1e-12)
    age = sf.mean_age(num_steps, beta=beta, decoupling_c=c)
    assert 0 <= age <= num_steps - 1
    if c is None:
        window = 1 / (1 - beta)
        assert age == pytest.approx((num_steps - 1) / (window + 1), rel=1e-9, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 10), st.floats(0, 0.99), st.integers(1, 10**6), st.floats(0, 1))
def test_thresholds(rate, beta, step, decay):
    limit = sf.stability_threshold(rate, beta=beta)
    assert limit == pytest.approx(2 / ((1 - beta) * rate))
    now = sf.stability_threshold(rate, beta=beta, step=step)
    c = 1 / step
    matrix = sf.step_matrix(now, rate, beta=beta, c=c)
    assert np.abs(np.linalg.eigvals(matrix)).max() == pytest.approx(1, abs=1e-6)
    assert now <= limit * (1 + 1e-12)
    assert sf.stability_threshold(rate, beta=beta, weight_decay=decay) == pytest.approx(limit - decay)


def test_thresholds_of_many_steps_and_with_a_window():
    many = sf.stability_threshold(0.1, beta=0.9, step=[1, 10, 10**9], decoupling_c=50)
    assert many[:1] == pytest.approx(20) and many[2] == pytest.approx(200) and np.all(np.diff(many) > 0)


@pytest.mark.parametrize("objective", [lab.river_toy(), lab.Funnel(0.3)])
def test_gradients_and_hessians(objective):
    rng = np.random.default_rng(0)
    for w in rng.uniform(-1.5, 2.5, (5, 2)):
        for i in range(2):
            e = 1e-5 * np.eye(2)[i]
            assert objective.gradient(w)[i] == pytest.approx((objective(w + e) - objective(w - e)) / 2e-5, abs=1e-7)
            slope = (objective.gradient(w + e) - objective.gradient(w - e)) / 2e-5
            np.testing.assert_allclose(objective.hessian(w)[i], slope, atol=1e-7)
            rise = (sf.sharpness(objective, w + e) - sf.sharpness(objective, w - e)) / 2e-5
            assert sf.sharpness_gradient(objective, w)[i] == pytest.approx(rise, rel=1e-4, abs=1e-5)
    many = rng.uniform(-1, 1, (3, 4, 2))
    assert objective.hessian(many).shape == (3, 4, 2, 2) and objective.gradient(many).shape == (3, 4, 2)
    np.testing.assert_allclose(objective.gradient(many)[1, 2], objective.gradient(many[1, 2]))


def test_the_flow_of_the_funnel_ends_at_its_closed_form():
    flow = sf.central_flow(
        lab.Funnel(1e-3), (3.0, 0.0), learning_rate=0.1, beta=0.5, num_steps=20_000, method="sgd", time_step=5
    )
    assert flow.sharpness[-1] == pytest.approx(40, rel=1e-6)
    assert flow.variance[-1] == pytest.approx(2e-3 / 40, rel=1e-4)
    early = flow.sharpness < 38
    assert np.all(flow.variance[early] == 0)  # a stable valley: plain gradient flow, u' = eta epsilon
    np.testing.assert_allclose(flow.points[early][:, 0], 3 + 0.05 * 1e-3 * flow.times[early], atol=1e-9)


def test_a_run_follows_the_flow():
    flow = sf.central_flow(lab.river_toy(), (2.0, 0.5), learning_rate=0.02, beta=0.5, num_steps=3000, time_step=0.5)
    run = lab.run_schedule_free(
        lab.river_toy(), learning_rate=0.02, beta=0.5, num_steps=3000, method="scalar_adam", start=(2.0, 0.5)
    )
    assert run.y[0, -100:, 0].mean() == pytest.approx(flow.points[-1, 0], rel=0.12)
    assert flow.sharpness[-1] == pytest.approx(200, rel=1e-5)
    at_end = sf.oscillation_variance(lab.river_toy(), flow.points[-1], learning_rate=0.02, beta=0.5)
    assert flow.variance[-1] == pytest.approx(at_end, rel=1e-3)


def test_where_runs_rest_is_where_the_two_pushes_cancel():
    for rate, beta in ((0.02, 0.1), (0.1, 0.9)):
        w, sigma = float(sf.stall_point(rate, beta=beta)), (1 - beta) * rate / 2
        assert math.exp(-w) == pytest.approx(sigma**2 * w, rel=1e-9)


@quiet
@pytest.mark.parametrize("c", [None, 20.0])
def test_the_loop_on_the_toy_is_the_optimizer(c):
    toy, w = lab.river_toy(), torch.nn.Parameter(torch.tensor([2.0, 2.0], dtype=torch.float64))
    optimizer = sf.ScheduleFreeAdamW([w], 0.02, betas=(0.5, 0.99), weight_decay=0.0, decoupling_c=c)
    optimizer.train()
    points = []
    for _ in range(200):
        points.append(w.detach().numpy().copy())
        w.grad = torch.tensor(toy.gradient(w.detach().numpy()))
        optimizer.step()
    loop = lab.run_schedule_free(toy, learning_rate=0.02, beta=0.5, num_steps=200, decoupling_c=c)
    np.testing.assert_allclose(loop.y[0], points, atol=1e-9)
    np.testing.assert_allclose(loop.x[0, -1], optimizer.averages()[0], atol=1e-9)


def test_adamw_on_the_toy_is_torchs():
    toy, w = lab.river_toy(), torch.nn.Parameter(torch.tensor([2.0, 2.0], dtype=torch.float64))
    optimizer = torch.optim.AdamW([w], lr=0.02, betas=(0.9, 0.95), weight_decay=0.0)
    for t in range(100):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, (100 - t) / 20)
        w.grad = torch.tensor(toy.gradient(w.detach().numpy()))
        optimizer.step()
    loop = lab.run_adamw(learning_rate=0.02, num_steps=100, decay_fraction=0.2)
    np.testing.assert_allclose(loop.x[0, -1], w.detach(), atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sf.averaging_weights(0, beta=0.5), "num_steps=0"),
        (lambda: sf.averaging_weights(5, beta=1.0), "beta=1.0"),
        (lambda: sf.mean_age(5, beta=0.5, decoupling_c=0.5), "decoupling_c=0.5"),
        (lambda: sf.stability_threshold(-1.0, beta=0.5), "learning_rate=-1.0"),
        (lambda: sf.stability_threshold(0.1, beta=0.5, step=0), "step=0"),
        (lambda: sf.river_lag(2.0, decoupling_c=2.0), "power=2.0"),
        (
            lambda: sf.central_flow(lab.river_toy(), (2, 2), learning_rate=0.1, beta=0.5, num_steps=5, method="adam"),
            "method",
        ),
        (
            lambda: sf.central_flow(lab.river_toy(), (2, 2), learning_rate=0.1, beta=0.5, num_steps=5, time_step=0),
            "time_step=0",
        ),
        (lambda: lab.run_schedule_free(lab.river_toy(), learning_rate=0.1, beta=0.5, num_steps=0), "num_steps=0"),
        (
            lambda: lab.run_schedule_free(lab.river_toy(), learning_rate=0.1, beta=0.5, num_steps=5, start=(1, 2, 3)),
            "start",
        ),
        (lambda: lab.run_adamw(learning_rate=0.1, num_steps=5, decay_fraction=1.0), "decay_fraction=1.0"),
        (lambda: lab.run_adamw(learning_rate=0.1, num_steps=5, noise=-1.0), "noise=-1.0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_lines_of_the_readme_train_a_model():
    readme = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "ScheduleFreeAdamW" in block
    )
    digits = data.load("digits")
    with seeded(0):
        model = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        )
    draw = torch.Generator().manual_seed(0)
    rows = torch.utils.data.TensorDataset(digits.inputs, digits.targets)
    loader = torch.utils.data.DataLoader(rows, batch_size=32, shuffle=True, generator=draw)
    names = {
        "model": model,
        "loader": [batch for _ in range(3) for batch in loader],
        "loss_fn": torch.nn.CrossEntropyLoss(),
    }
    exec(code, names)
    with torch.no_grad():
        accuracy = (model(digits.test_inputs).argmax(1) == digits.test_targets).float().mean()
    assert accuracy > 0.9 and not names["optimizer"].training


# -- language models --------------------------------------------------------------------------------------------------------

TOKENS = torch.tensor([(i * i + i // 7) % 13 for i in range(4000)], dtype=torch.uint8)
TEXT = (TOKENS[:3500], TOKENS[3500:])


def tiny(dtype=torch.float32):
    with seeded(0):
        return Llama(13, context=16, dim=16, num_layers=1, num_heads=2).to(dtype)


def fit(model, **options):
    free = partial(sf.ScheduleFreeAdamW, lr=0.02, warmup_steps=5)
    defaults = {
        "optimizer": free,
        "num_steps": 30,
        "batch_size": 8,
        "context": 16,
        "num_windows": 32,
        "progress": False,
    }
    return training.fit_language_model(model, TEXT, **{**defaults, **options})


def test_a_language_model_learns_and_is_measured_at_every_average():
    result = fit(tiny(), num_steps=120, ema=0.9, ema_start=5, evaluate_every=60)
    curves = result.curves
    assert list(curves["step"]) == [60, 120] and result.final("loss") < curves["loss"][0]
    assert result.final("x") < math.log(13) - 0.3 and len({result.final(n) for n in ("x", "y", "ema_x", "ema_y")}) == 4
    with result.optimizer.averaged():
        at_x = training.validation_loss(result.model, TEXT[1], context=16, num_windows=32)
    assert at_x == pytest.approx(result.final("x"), abs=1e-6)
    assert result.num_tokens == 120 * 8 * 16


def test_measuring_changes_no_bit_of_the_training():
    seldom, often = fit(tiny()), fit(tiny(), evaluate_every=3, ema=0.9)
    for p, q in zip(seldom.model.parameters(), often.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_parts_add_up_to_the_batch():
    whole, parts = fit(tiny(torch.float64)), fit(tiny(torch.float64), accumulate=4)
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-7, rtol=0)
    assert whole.final("loss") == pytest.approx(parts.final("loss"), rel=1e-6)


def test_a_killed_run_continues_bit_for_bit(tmp_path):
    options = {"ema": 0.9, "evaluate_every": 10, "schedule": lambda t: 1 / (1 + t / 50)}
    plain = fit(tiny(), **options)

    def kill(step):
        if step == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), checkpoint=tmp_path / "c", callback=kill, **options)
    resumed = fit(tiny(), checkpoint=tmp_path / "c", **options)
    for p, q in zip(plain.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(p, q)
    for name, curve in plain.curves.items():
        np.testing.assert_array_equal(curve, resumed.curves[name])
    with pytest.raises(ValueError, match="another run"):
        fit(tiny(), checkpoint=tmp_path / "c", seed=1, **options)


def test_a_branch_goes_on_with_the_batches_of_its_trunk():
    trunk = fit(tiny(), num_steps=20)
    branch = fit(trunk.model, optimizer=trunk.optimizer, num_steps=10, first_step=20)
    whole = fit(tiny(), num_steps=30)
    for p, q in zip(branch.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(p, q)


SCRIPT = """
import sys, torch
from functools import partial
from descentlab import schedule_free as sf, training
from descentlab.networks import Llama, seeded
from descentlab.training import rank
torch.set_num_threads(1)
tokens = torch.tensor([(i * i + i // 7) % 13 for i in range(4000)], dtype=torch.uint8)
with seeded(0):
    model = Llama(13, context=16, dim=16, num_layers=1, num_heads=2).double()
result = training.fit_language_model(
    model, (tokens[:3500], tokens[3500:]), optimizer=partial(sf.ScheduleFreeAdamW, lr=0.02, warmup_steps=5),
    num_steps=30, batch_size=8, context=16, num_windows=32, accumulate=2, progress=False, device="cpu",
)
if rank() == 0:
    torch.save({"model": model.state_dict(), "loss": result.final("loss")}, sys.argv[1])
torch.distributed.destroy_process_group()
"""


def test_two_processes_train_as_one(tmp_path):
    """As ``torchrun --nproc-per-node=2`` starts them: it sets these environment variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    common |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "two")]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **common, "RANK": r, "LOCAL_RANK": r}, stderr=subprocess.PIPE)
        for r in "01"
    ]
    messages = [process.communicate(timeout=120)[1].decode() for process in ranks]
    assert all(process.returncode == 0 for process in ranks), messages
    two, one = load_checkpoint(tmp_path / "two"), fit(tiny(torch.float64))
    for name, tensor in one.model.state_dict().items():
        torch.testing.assert_close(two["model"][name], tensor, atol=1e-7, rtol=0)
    assert two["loss"] == pytest.approx(one.final("loss"), rel=1e-6)


def test_validation_keeps_mode_and_interpolation_keeps_the_model():
    model = tiny()
    ends = [p.detach().clone() for p in model.parameters()], [p.detach() + 0.1 for p in model.parameters()]
    losses = training.interpolate(model, ends, TEXT[1], (0.0, 0.5, 1.0), context=16, num_windows=8)
    assert losses[0] == pytest.approx(training.validation_loss(model, TEXT[1], context=16, num_windows=8), abs=1e-7)
    assert losses.shape == (3,) and losses[2] != losses[0] and model.training
    for p, q in zip(model.parameters(), ends[0], strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"accumulate": 3}, "batch_size=8 must be divisible by accumulate=3"),
        ({"context": 600}, "more than context=600"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"precision": "half"}, "precision='half'"),
        ({"num_windows": 0}, "num_windows=0"),
    ],
)
def test_bad_arguments_of_a_training_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(tiny(), **options)


def test_a_run_that_explodes_says_so():
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        fit(tiny(), optimizer=partial(torch.optim.SGD, lr=1e12), num_steps=10)


@pytest.mark.parametrize("setting", [lab.ADAMW, lab.Setting(0.9), lab.Setting(0.5, 2)], ids=lambda s: s.name)
def test_a_study_run_measures_everything(setting, tmp_path):
    (tmp_path / "t.txt").write_text("the river is long and the hills are steep. " * 60)
    text = data.load_text(tmp_path / "t.txt")
    config = lab.LanguageConfig(10, 4, 16, 3, 4, 8, 16, 1, 2, 8)
    run = lab.language_run(text, setting, config, num_points=3)
    assert len(run.segment) == 3 and len(run.steps) == len(run.x_curve) == 5
    values = (run.x, run.y, run.ema_x, run.ema_y, run.short, run.longer)
    assert np.all(np.isfinite(values)) and run.segment[-1] == pytest.approx(run.x, abs=1e-6)
    if setting.beta is None:
        assert run.x == run.y and run.decay != run.x and run.decay_segment[0] == run.segment[0]
    else:
        assert run.x != run.y and math.isnan(run.decay)


def test_tables_come_back_as_they_were_stored(tmp_path):
    runs = [lab.LanguageRun(0, 1.234567, 2.0, decay=0.5, segment=[1.000004, 2.0]), lab.LanguageRun(1, 1.0, 2.0)]
    lab.write_table(tmp_path / "t.json", {"AdamW": runs}, {"seeds": [0, 1]})
    first, second = lab.read_table(tmp_path / "t.json")["AdamW"]
    assert (first.x, first.segment, first.decay) == (1.23457, [1.0, 2.0], 0.5)
    assert second.seed == 1 and math.isnan(second.decay) and not len(second.steps)
    for damaged in ("", "[]", '{"runs": {"AdamW": [{"seed": 0}]}}', '{"runs": {"AdamW": 3}}'):
        (tmp_path / "t.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"t\.json is not a recorded table"):
            lab.read_table(tmp_path / "t.json")


# -- claims -----------------------------------------------------------------------------------------------------------------

BOOK = Path(__file__).parents[1] / "book"


@cache
def stored(name):
    return lab.read_table(BOOK / "cpu" / f"schedule_free_{name}.json")


def language_runs(changes=None):
    """The recorded runs; `changes` puts some in others' places."""
    return {name: stored("language")[(changes or {}).get(name, name)] for name in stored("language")}


def large_runs(changes):
    return {name: stored("large_batch")[changes.get(name, name)] for name in stored("large_batch")}


def test_the_independent_tables_meet_the_claims():
    table, large = (
        {
            name: [lab.LanguageRun(seed, **{"y": math.nan} | run) for seed, run in enumerate(runs)]
            for name, runs in t.items()
        }
        for t in (reference.LANGUAGE, reference.LARGE_BATCH)
    )
    values = lab.language_claims(table) | lab.large_batch_claims(large)
    assert [c.key for c in lab.statements.checks.values() if c.key in values and not c.holds(values[c.key])] == []
    assert set(values) == {c.key for c in lab.statements.checks.values() if c.across == "paired"}


def changed(key, **changes):
    """A claim's quantity with runs exchanged: ``adamw="SF 0.9"`` puts Schedule-Free at 0.9 in AdamW's place."""
    names = {"adamw": "AdamW 0.005", "free": "SF 0.9", "low": "SF 0.1", "half": "SF 0.5", "high": "SF 0.95"}
    names |= {
        "low_c": "SF 0.1, C=50",
        "high_c": "SF 0.95, C=50",
        "half_c20": "SF 0.5, C=20",
        "fast": "SF 0.95, lr=0.04",
    }
    return lab.language_claims(language_runs({names[k]: v for k, v in changes.items()}))[key]


def gains(run, other="decay"):
    return [r.x - (r.short if other == "decay" else r.ema_x) for r in language_runs()[run]]


def adamw():
    return language_runs()["AdamW 0.005"]


@cache
def noisy():
    return lab.noisy_river(256)


def logs(values, *names):
    return np.log10([values[name] for name in names])


@cache
def residuals(beta, c=None):
    return lab.late_residuals(beta, c)


def each(key, c=None):
    return [residuals(b, c)[key] for b in (0.1, 0.5, 0.9)]


def late_coefficients(beta):
    """Largest differences from a run that numbers the average's coefficients one step later."""
    ours, wrong = (
        f(lab.random_gradients(500), beta=beta, **o)
        for f, o in ((lab.optimizer_run, {}), (lab.three_sequences, {"first": 2}))
    )
    return max(np.abs(a - b).max() for a, b in zip(ours, wrong, strict=True))


def layout_gap(beta, way_back=None, last=False):
    g = lab.random_gradients(500)
    options = {"beta": beta, "dtype": torch.float32}
    y, x = lab.optimizer_run(g, **options)
    _, right = lab.optimizer_run(g, layout="reference", **options)
    if last:
        return np.abs(y - right).max()
    return np.abs(y + (x - y) * beta / way_back - right).max()


def no_decay():
    y, x = lab.optimizer_run(lab.random_gradients(), beta=0.95, weight_decay=0.0)
    return [*y[:2], *x[:2]]


def l1(weights, window):
    return np.abs(weights - sf.power_law_weights(1000, decoupling_c=window)).sum()


def ends_of_power_laws(extra=1):
    t, found = np.arange(1.0, 20_001), []
    for p, c in ((0.5, 2), (1, 5), (0.5, 10)):
        alpha = sf.averaging_weights(20_000, beta=0.1, decoupling_c=c + extra)
        found.append((alpha @ t**p, alpha @ t**-p, t[-1] ** p))
    return found


def descent_growth():
    paths = [
        lab.quadratic_run(1.0, learning_rate=A / (1 - b), beta=0.0, num_steps=100)[:, 0]
        for b in (0.5, 0.9)
        for A in (2.02, 2.1)
    ]
    return [abs(path[-1] / path[-2]) for path in paths]


def limit_radii():
    radii = [np.abs(np.linalg.eigvals(sf.step_matrix(2 / (0.1 * 0.3), 0.3, beta=0.9, c=c))).max() for c in (0.01, 0.5)]
    return np.abs(np.array(radii) - 1).max()


def flow_ratios(beta_in_flow=None):
    ratios = []
    for end in (4000, 5800):
        for beta in (0.1, 0.5, 0.9):
            f = lab.river_toy()
            run = lab.run_schedule_free(f, learning_rate=0.02, beta=beta, num_steps=end + 1, method="scalar_adam")
            size, middle = lab.measured_variance(run, f, end=end)
            ratios.append(size / sf.oscillation_variance(f, middle, learning_rate=0.02, beta=beta_in_flow or 0.0))
    return ratios


def oscillation_of_z():
    """That of the base iterates, z = (y - beta x) / (1 - beta), which beta does not damp."""
    f, sizes = lab.river_toy(), {}
    for beta in (0.1, 0.5, 0.9):
        run = lab.run_schedule_free(f, learning_rate=0.02, beta=beta, num_steps=4001, method="scalar_adam")
        z = (run.y[:, 1:] - beta * run.x[:, :-1]) / (1 - beta)
        sizes[str(beta)] = lab.measured_variance(replace(run, y=z), f, end=3999)[0]
    return sizes


def funnel_of_descent():
    run = lab.run_schedule_free(
        lab.Funnel(), learning_rate=0.1, beta=0.5, num_steps=20_000, method="sgd", start=(3.6, 0.01)
    )
    v = run.y[0, -5000:]
    return [(v[:, 1] ** 2).mean() / 1e-4, np.exp(v[:, 0]).mean() / 20]  # eta = gamma, without 1 - beta


@cache
def edge(max_steps=200):
    inputs, targets = lab.small_images(200)
    return lab.edge_of_stability(
        inputs, targets, learning_rate=0.002, beta=0.95, adaptive=True, stop_loss=0.0, max_steps=max_steps
    )


def descents_threshold(size):
    plateau = edge().plateau * edge().threshold / (2 / 0.002)
    return plateau if size is None else [plateau] * size


def reference_layout():
    p, q = parameter(), parameter()
    ours, adamw = sf.ScheduleFreeAdamW([p], layout="reference"), torch.optim.AdamW([q])
    run(ours, p, 1)
    q.grad = p.grad
    adamw.step()
    return [lab.buffers(ours, [p]), lab.buffers(adamw, [q]), lab.buffers(adamw, [q]) + 1]


def sharpness_over_the_limit():
    f, steps = lab.river_toy(), 6001
    run = lab.run_schedule_free(f, learning_rate=0.02, beta=0.9, num_steps=steps, decoupling_c=200)
    root = np.sqrt(run.scale[0, -200:])
    tops = np.linalg.eigvalsh(f.hessian(run.y[0, -200:]) / root[:, :, None] / root[:, None, :])[:, -1]
    return (tops / sf.stability_threshold(0.02, beta=0.9)).mean()


def one_too_many():
    g, gaps = lab.random_gradients(), []
    for beta, c in ((0.9, 40), (0.5, 20), (0.1, 10), (0.95, 200)):
        options = {"beta": beta, "warmup_steps": 0, "weight_decay": 0.0}
        target = lab.three_sequences(g, decoupling_c=c, **options)[1]
        power = lab.three_sequences(g, power=(1 - beta) * c, **options)[1]
        gaps.append(np.linalg.norm(power - target) / np.linalg.norm(lab.three_sequences(g, **options)[1] - target))
    return gaps


SMALL = ("SF 0.9", "SF 0.95", "SF 0.1, C=20", "SF 0.5, C=20", "SF 0.9, C=50")
ORDER = ("SF 0.9", "AdamW, decayed", "AdamW, constant", "SF 0.5", "SF 0.1")
PAIRS = ((0.02, 0.1), (0.02, 0.5), (0.05, 0.1), (0.05, 0.5), (0.1, 0.5), (0.1, 0.9))
CONTROLS = {
    "C1a": lambda: [late_coefficients(b) for b in (0.1, 0.5, 0.9, 0.95)],
    "C1b": no_decay,
    "C1c": lambda: layout_gap(0.1, way_back=0.11),
    "C1d": lambda: [layout_gap(b, last=True) for b in (0.5, 0.9, 0.95)],
    "C2": lambda: [lab.momentum_gap(beta=b, averaged=False) for b in (0.1, 0.5, 0.9, 0.95)],
    "C3a": lambda: [
        lab.average_gap(beta=b, decoupling_c=c, weights=sf.power_law_weights(1000, decoupling_c=c or 1 / (1 - b)))
        for b in (0.1, 0.5, 0.9)
        for c in (None, 20)
    ],
    "C3b": lambda: [l1(sf.averaging_weights(1000, beta=b), 1.0) for b in (0.1, 0.5, 0.9)],
    "C3c": lambda: [l1(sf.averaging_weights(1000, beta=0.1), c) * 2000 / c for c in (5, 20, 50, 200)],
    "C3d": lambda: [sf.mean_age(1000, beta=b) for b in (0.1, 0.95)],
    "C4a": lambda: [
        np.abs(
            np.array(lab.optimizer_run(lab.random_gradients(300), beta=b, decoupling_c=20))
            - lab.optimizer_run(lab.random_gradients(300), beta=b)
        ).max()
        for b in (0.1, 0.5, 0.9)
    ],
    "C4b": lambda: np.abs(np.subtract(*lab.optimizer_run(lab.random_gradients(300), beta=0.9, decoupling_c=50))).max(),
    "C5a": descent_growth,
    "C5b": lambda: [
        abs(np.divide(*lab.quadratic_run(1.0, learning_rate=2.02 / (1 - b), beta=b, num_steps=4000)[[-1, 0], 0]))
        for b in (0.5, 0.9)
    ],
    "C5c": lambda: lab.growth_power(beta=0.4, num_steps=5000),
    "C5d": lambda: lab.growth_power(beta=0.89, num_steps=5000),
    "C5e": limit_radii,
    "C6a": lambda: [lab.preconditioned_growth(factor=10.0, beta=0.9, seed=s, num_steps=50) for s in range(5)],
    "C6b": lambda: [lab.preconditioned_growth(factor=0.97, beta=0.9, seed=s) for s in range(5)],
    "C6c": lambda: lab.reparametrisation_gap(root=False),
    "C7a": lambda: each("x", 20),
    "C7b": lambda: each("x"),
    "C7c": lambda: np.abs(each("x")),
    "C7d": lambda: each("x"),
    "C7e": lambda: np.log10([*each("loss", 20), *each("loss")]),
    "C7f": lambda: dict(zip(("0.1", "0.5", "0.9"), each("x", 20), strict=True)),
    "C7g": lambda: [x1 * x2 - 1 for x1, x2, _ in ends_of_power_laws()],
    "C7h": lambda: [x1 / y1 for x1, _, y1 in ends_of_power_laws()],
    "C8": lambda: [
        lab.toy_sharpness(g, b, num_steps=5000)[-200:].mean() / (1 - b) for g in (0.02, 0.05) for b in (0.1, 0.5, 0.9)
    ],
    "C9a": lambda: descents_threshold(None),
    "C9b": lambda: descents_threshold(3),
    "C9c": lambda: [edge().plateau] * 4,
    "C10a": flow_ratios,
    "C10b": lambda: lab.resting_places(PAIRS, num_steps=3000),
    "C10c": oscillation_of_z,
    "C10d": lambda: (lab.variance_ratios(end=4000)[1] - 1)[1:] / (lab.variance_ratios(end=4000)[1] - 1)[1:],
    "C10e": funnel_of_descent,
    "C11a": lambda: gains("SF 0.9"),
    "C11b": lambda: gains("SF 0.9", "average"),
    "C11c": lambda: gains("AdamW 0.005", "average"),
    "C11d": lambda: gains("AdamW 0.005"),
    "C11e": lambda: changed("C11e", free="SF 0.1"),
    "C11f": lambda: changed("C11f", free="SF 0.1", fast="SF 0.1"),
    "C11g": lambda: gains("AdamW 0.005"),
    "C12a": lambda: [min(r.decay_segment[0], r.decay_segment[-1]) - min(r.decay_segment) for r in adamw()],
    "C12b": lambda: [np.diff(r.segment).max() for r in adamw()],
    "C12c": lambda: [1.0 for _ in adamw()],
    "C12d": lambda: 1.0,
    "C13a": lambda: changed("C13a", low="SF 0.95"),
    "C13b": lambda: changed("C13b", half="SF 0.95"),
    "C13c": lambda: changed("C13c", high="SF 0.1"),
    "C13d": lambda: changed("C13a", low="SF 0.95"),
    "C14a": lambda: changed("C14a", low="SF 0.9"),
    "C14b": lambda: [
        max(r.ema_x - min(r.x, r.y) for r in runs)
        for runs in zip(*(language_runs()[f"SF {b}"] for b in (0.1, 0.5, 0.9, 0.95)), strict=True)
    ],
    "C14c": lambda: changed("C14a", low="SF 0.9"),
    "C15a": lambda: changed("C15a", low="SF 0.95"),
    "C15b": lambda: changed("C15b", half="SF 0.95"),
    "C15c": lambda: changed("C15c", high="SF 0.9"),
    "C15d": lambda: changed("C15d", low_c="SF 0.1"),
    "C15e": lambda: changed("C15e", half_c20="SF 0.5"),
    "C15f": lambda: 0.0,
    "C16a": lambda: lab.large_batch_claims(large_runs({"SF 0.98, lr=0.03": "SF 0.98, C=100, lr=0.03"}))["C16a"],
    "C16b": lambda: lab.large_batch_claims(large_runs({"SF 0.98, C=200, lr=0.03": "AdamW 0.005 cosine"}))["C16b"],
    "C16c": lambda: lab.large_batch_claims(large_runs({"SF 0.98, C=100, lr=0.03": "SF 0.98, lr=0.03"}))["C16c"],
    "C16d": lambda: 0.0,
    "C17": lambda: math.log(26.09 / 23.88),  # perplexities at 2 million tokens a batch: vanilla 0.98 over its best C
    "C18": reference_layout,
    "C19a": lambda: logs(noisy().hill_y, "AdamW, constant", "AdamW, decayed", "SF 0.1", "SF 0.5"),
    "C19b": lambda: logs(noisy().hill_x, "SF 0.1", "SF 0.5", "SF 0.9"),
    "C19c": lambda: list(noisy().river.values())[::-1],
    "C19d": lambda: logs(noisy().hill_y, *SMALL),
    "C19e": lambda: {name: noisy().hill_y[name] for name in ORDER},
    "C19f": lambda: abs(noisy().loss["SF 0.95"] - noisy().loss["AdamW, decayed"]),
    "D1": sharpness_over_the_limit,
    "D2": lambda: [1 + b * c / w for b, c, w in ((0.95, 200, 250), (0.98, 200, 180), (0.95, 50, 150))],
    "D3": lambda: [
        np.abs(sf.averaging_weights(1000, beta=b) - betabinom.pmf(np.arange(1000), 999, b / (1 - b), 1)).max()
        for b in (0.1, 0.5, 0.9)
    ],
    "D4": one_too_many,
}


def test_every_claim_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)


def test_what_the_ledger_reads_is_what_the_recorded_runs_show():
    values = lab.language_claims(stored("language")) | lab.large_batch_claims(stored("large_batch"))
    measured = json.loads((BOOK / "cpu" / "schedule_free.json").read_text(encoding="utf-8"))["measured"]
    assert list(measured) == list(values)
    for key, value in values.items():
        np.testing.assert_allclose(measured[key], value, atol=1e-5)  # stored in five decimals
    ledger = Ledger(lab.statements)
    assert all(ledger.read_recorded(key, folder=BOOK) for key in values)
