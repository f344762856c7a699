"""The samplers against closed forms and plain loops, the expansion against autograd; every claim against a wrong variant."""

import copy
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from experiments import sgmcmc as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import sgmcmc as reference
from torch import nn

from descentlab import data, networks, sgmcmc
from descentlab.sgmcmc import _gradients, chains, expansion, preconditioning
from descentlab.sgmcmc.layouts import merge_parameters, product

EXAMPLES = list(lab.EXAMPLES)
A = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


def quadratic(x, _):
    return 0.5 * x @ A @ x


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noises(count, seed=0):
    g = generator(seed)
    return [torch.randn(2, generator=g, dtype=torch.float64).numpy() for _ in range(count)]


def run(kernel, count, *, start=(1.0, -2.0), num_chains=1, seed=0):
    state, g = kernel.init(torch.tensor(start, dtype=torch.float64), num_chains=num_chains), generator(seed)
    for _ in range(count):
        state, info = kernel.step(state, None, g)
    return state, info


# -- the samplers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [sgmcmc.sgld, sgmcmc.psgld])
def test_without_inertia_friction_slows_time(build):
    slow, _ = run(build(quadratic, step_size=0.2, friction=4.0), 20)
    plain, _ = run(build(quadratic, step_size=0.05), 20)
    assert torch.equal(slow.params, plain.params)
    with pytest.raises(ValueError, match=r"friction=0"):
        build(quadratic, step_size=0.1, friction=0)


@pytest.mark.parametrize("friction", [None, 0.3])
def test_hmc_keeps_the_distribution_with_momenta_drawn_anew_or_in_part(friction):
    kernel = sgmcmc.hmc(quadratic, step_size=0.5, num_steps=2, friction=friction)
    state, g, squares = kernel.init(torch.zeros(2, dtype=torch.float64), num_chains=4000), generator(), []
    for k in range(400):
        state, info = kernel.step(state, None, g)
        if k >= 100:
            squares.append(state.params.T @ state.params / 4000)
    assert 0.3 < info.acceptance.mean() < 1
    torch.testing.assert_close(torch.stack(squares).mean(0), torch.linalg.inv(A), rtol=0.02, atol=0.01)


def test_kernels_are_the_papers():
    start, gradient = np.array([1.0, -2.0]), lambda x: A.numpy() @ x
    state, _ = run(sgmcmc.sghmc(quadratic, step_size=0.1, friction=2.0, temperature=0.7), 50)
    theta, r = reference.sghmc(start, gradient, noises(50), [0.1] * 50, 2.0, 0.7)[-1]
    np.testing.assert_allclose(state.params[0], theta, atol=1e-12)
    np.testing.assert_allclose(state.momentum[0], r, atol=1e-12)
    assert state.step == 50
    state, _ = run(sgmcmc.sgld(quadratic, step_size=0.05, temperature=0.7), 50)
    np.testing.assert_allclose(state.params[0], reference.sgld(start, gradient, noises(50), 0.05, 0.7), atol=1e-12)
    state, _ = run(sgmcmc.psgld(quadratic, step_size=0.05, memory=0.9, eps=1e-3), 50)
    expected = reference.psgld(start, gradient, noises(50), 0.05, 1.0, 0.9, 1e-3)
    np.testing.assert_allclose(state.params[0], expected, atol=1e-12)
    state, _ = run(sgmcmc.sgnht(quadratic, step_size=0.05, friction=1.5), 50)
    theta, xi = reference.sgnht(start, gradient, noises(50), 0.05, 1.5, 1.0)
    np.testing.assert_allclose(state.params[0], theta, atol=1e-12)
    np.testing.assert_allclose(state.thermostat, xi, atol=1e-12)


@pytest.mark.parametrize("case", EXAMPLES)
def test_closed_forms_are_the_lyapunov_solution(case):
    cov = reference.stationary_covariance(**case)
    found = lab.sghmc_moments(**case)
    np.testing.assert_allclose(found[:2], np.diag(cov), rtol=1e-10)
    if "noise" not in case and case["step_size"] * case["curvature"] < case["friction"]:
        cov = reference.stationary_covariance(**case, momentum_first=False)
        np.testing.assert_allclose(lab.explicit_euler_moments(**case)[:2], np.diag(cov), rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.1, 4), st.floats(0.1, 3), st.floats(0, 50), st.floats(0.1, 2))
def test_closed_forms_everywhere(h, curvature, friction, noise, temperature):
    case = dict(step_size=h, curvature=curvature, friction=friction, noise=noise, temperature=temperature)
    cov = reference.stationary_covariance(**case)
    np.testing.assert_allclose(lab.sghmc_moments(**case)[:2], np.diag(cov), rtol=1e-8)


def test_simulated_moments_are_the_closed_forms():
    found = lab.stationary(EXAMPLES, num_chains=3000, num_steps=600)
    np.testing.assert_allclose(
        found.position, [reference.stationary_covariance(**c)[0, 0] for c in EXAMPLES], rtol=0.015
    )
    euler = lab.stationary(EXAMPLES[:1], explicit=True, num_chains=3000, num_steps=600)
    assert euler.position[0] == pytest.approx(0.42101, rel=0.015)
    for kernel, expected in (
        (sgmcmc.hmc(lab.noisy_quadratic(4.0), step_size=0.1, num_steps=8, batched=True), 0.25),
        (sgmcmc.sgld(lab.noisy_quadratic(4.0), step_size=0.1, batched=True), 0.3125),
    ):
        moments = lab.measure_moments(kernel, num_chains=3000, num_steps=200, num_dropped=40)
        assert moments.position == pytest.approx(expected, rel=0.015)


def test_psgld_is_langevin_with_the_preconditioners_step():
    """With a long memory the preconditioner is nearly constant, 1/√E g²."""
    kernel = sgmcmc.psgld(lab.noisy_quadratic(4.0), step_size=0.05, memory=0.999, batched=True)
    found = lab.measure_moments(kernel, num_chains=1000, num_steps=4000, num_dropped=2000)
    eta = 0.025 / (4 * found.position**0.5)
    assert found.position == pytest.approx(lab.sgld_moments(step_size=eta, curvature=4.0).position, rel=0.02)


def test_layouts_of_parameters_and_energies_agree():
    """A tensor or a mapping, one chain or all at once, an energy or a log-posterior: the same chains."""
    case = {"step_size": 0.1, "friction": 1.0}
    one, _ = run(sgmcmc.sghmc(quadratic, **case), 5, num_chains=3)
    whole = sgmcmc.sghmc(lambda x, _: 0.5 * torch.einsum("ci,ij,cj->c", x, A, x), **case)
    all_at_once, info = run(whole, 5, num_chains=3)
    by_log, _ = run(sgmcmc.sghmc.build(log_posterior=lambda x, _: -quadratic(x, None), **case), 5, num_chains=3)
    torch.testing.assert_close(one.params, all_at_once.params)
    torch.testing.assert_close(one.params, by_log.params)
    assert info.energy.shape == info.kinetic_temperature.shape == (3,)
    named = sgmcmc.sghmc(lambda p, _: quadratic(torch.cat([p["a"], p["b"]]), None), **case)
    state = named.init({"a": torch.tensor([1.0]).double(), "b": torch.tensor([-2.0]).double()}, num_chains=1)
    single, _ = run(sgmcmc.sghmc(quadratic, **case), 5)
    g = generator()
    for _ in range(5):
        state, info = named.step(state, None, g)
    torch.testing.assert_close(torch.cat([state.params["a"], state.params["b"]], 1), single.params)
    assert set(info.kinetic_temperature) == {"a", "b"}


def test_settings_by_chain_and_by_block():
    h = torch.tensor([0.1, 0.02], dtype=torch.float64)
    state, _ = run(sgmcmc.sghmc(quadratic, step_size=h, friction=torch.tensor([1.0, 3.0])), 1, num_chains=2)
    g = generator()
    n = torch.randn(4, generator=g, dtype=torch.float64).view(2, 2)
    for k, (size, friction) in enumerate(((0.1, 1.0), (0.02, 3.0))):
        alone = reference.sghmc(np.array([1.0, -2.0]), lambda x: A.numpy() @ x, [n[k].numpy()], [size], friction, 1.0)
        np.testing.assert_allclose(state.params[k], alone[-1][0], atol=1e-12)
    kernel = sgmcmc.sghmc(lambda p, _: p["w"].square().sum(), step_size=0.1, friction={"v": 1.0})
    with pytest.raises(ValueError, match="friction: no entry for the blocks 'w'"):
        kernel.step(kernel.init({"w": torch.zeros(2)}, num_chains=1), None, generator())


def test_states_are_not_changed_and_the_limit_of_zero_temperature_descends():
    kernel = sgmcmc.sghmc(quadratic, step_size=0.2, friction=2.0, temperature=0.0)
    state = kernel.init(torch.ones(2, dtype=torch.float64), num_chains=1)
    before = state.params.clone()
    kernel.step(state, None, generator())
    assert torch.equal(state.params, before)
    end, _ = run(kernel, 400)
    assert end.params.abs().max() < 1e-8  # the minimum, without noise


def test_hmc_rejects_what_it_should():
    """Far beyond the stable step every proposal is rejected, and the chain stays."""
    kernel = sgmcmc.hmc(quadratic, step_size=5.0, num_steps=20)
    state, info = run(kernel, 3, num_chains=4)
    assert (
        torch.equal(state.params, torch.tensor([[1.0, -2.0]] * 4, dtype=torch.float64)) and info.acceptance.max() < 1e-6
    )


def test_optimizer_is_the_sampler():
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = sgmcmc.SGHMC(
        [theta], 0.1, friction=2.0, temperature=0.7, num_samples=2.0, prior_variance=4.0, generator=generator()
    )
    for _ in range(20):
        optimizer.zero_grad()
        quadratic(theta, None).backward()
        optimizer.step()
    gradient = lambda x: 2 * A.numpy() @ x + x / 4  # noqa: E731
    expected = reference.sghmc(np.array([1.0, -2.0]), gradient, noises(20), [0.1] * 20, 2.0, 0.7)[-1][0]
    np.testing.assert_allclose(theta.detach(), expected, atol=1e-12)


def test_optimizer_follows_a_schedule_and_keeps_parameters_from_gradients_that_are_not_finite():
    schedule = sgmcmc.cyclical_schedule(0.1, cycle_length=5)
    theta = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = sgmcmc.SGHMC([theta], schedule, friction=2.0, temperature=0.7, generator=generator())
    for _ in range(7):
        optimizer.zero_grad()
        quadratic(theta, None).backward()
        optimizer.step()
    sizes = [schedule(k) for k in range(7)]
    expected = reference.sghmc(np.array([1.0, -2.0]), lambda x: A.numpy() @ x, noises(7), sizes, 2.0, 0.7)[-1][0]
    np.testing.assert_allclose(theta.detach(), expected, atol=1e-12)
    before = theta.detach().clone()
    theta.grad = torch.full_like(theta, torch.nan)
    with pytest.raises(sgmcmc.NonFiniteEnergy, match="chain 0 at step 7"):
        optimizer.step()
    assert torch.equal(theta.detach(), before)


def test_cyclical_schedule():
    schedule = sgmcmc.cyclical_schedule(0.3, cycle_length=10, min_step_size=0.1, explore_fraction=0.5)
    assert schedule(0) == schedule(10) == 0.3
    assert schedule(9) == pytest.approx(0.1 + 0.5 * (1 + np.cos(0.9 * np.pi)) * 0.2)
    assert [schedule.explores(u) for u in (0, 4, 5, 10)] == [True, True, False, True]
    assert schedule.ends_cycle(9) and not schedule.ends_cycle(10)
    kernel = sgmcmc.sghmc(quadratic, step_size=replace(schedule, explore_fraction=0.9))
    runs = [run(kernel, 8, seed=s)[0].params for s in (0, 1)]
    assert torch.equal(*runs)  # no noise while it explores
    assert not torch.equal(*[run(kernel, 10, seed=s)[0].params for s in (0, 1)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"step_size": 0.0}, "step_size=0.0"),
        ({"step_size": -0.1}, "step_size=-0.1"),
        ({"step_size": float("nan")}, "step_size=nan"),
        ({"friction": -1.0}, "friction=-1.0"),
        ({"friction": 20.0}, r"friction \* step_size must stay below 2, it reaches 2"),
        ({"curvature": 1000.0}, r"curvature=1000.0.*below 380"),
        ({"log_posterior": quadratic}, "either energy or log_posterior"),
    ],
)
def test_bad_arguments_of_samplers_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sgmcmc.sghmc(quadratic, **{"step_size": 0.1, "friction": 1.0, **arguments})


def test_bad_arguments_of_other_samplers():
    for build, bad in (
        (lambda: sgmcmc.sgld(quadratic, step_size=0.1, temperature=-1), "temperature"),
        (lambda: sgmcmc.sgld(quadratic, step_size=0.6, curvature=4.0), "curvature=4.0"),
        (lambda: sgmcmc.sgnht(quadratic, step_size=0.1, friction=30.0), "friction"),
        (lambda: sgmcmc.sgnht(quadratic, step_size=0.1, curvature=1000.0), "curvature=1000.0.*below 380"),
        (lambda: sgmcmc.hmc(quadratic, step_size=0.1, curvature=500.0), "curvature=500.0.*below 400"),
        (lambda: sgmcmc.sgld(quadratic, step_size="large"), "step_size='large' must be a number"),
        (lambda: sgmcmc.sghmc(quadratic, step_size=0.1, friction="low"), "friction='low' must be a number"),
        (lambda: sgmcmc.psgld(quadratic, step_size=0.1, memory=1.0), "memory=1.0"),
        (lambda: sgmcmc.hmc(quadratic, step_size=0.1, num_steps=0), "num_steps=0"),
        (lambda: sgmcmc.hmc(quadratic, step_size=0.1, temperature=0.0), "temperature"),
        (lambda: sgmcmc.cyclical_schedule(0.1, cycle_length=0), "cycle_length=0"),
        (lambda: sgmcmc.cyclical_schedule(0.1, cycle_length=5, min_step_size=0.2), "min_step_size=0.2"),
        (lambda: sgmcmc.sghmc(quadratic, step_size=0.1).init(torch.zeros(2), num_chains=0), "num_chains=0"),
        (lambda: sgmcmc.sghmc(quadratic, step_size=0.1).init({"a": "b"}, num_chains=1), "params"),
        (lambda: sgmcmc.SGHMC([torch.zeros(1, requires_grad=True)], -1.0), "step_size=-1.0"),
        (lambda: sgmcmc.SGHMC([torch.zeros(1, requires_grad=True)], 1.0, friction=2.0), "friction=2.0"),
        (lambda: lab.sghmc_moments(step_size=1.0, curvature=4.0, friction=1.0), "must stay below"),
    ):
        with pytest.raises(ValueError, match=bad):
            build()


def test_blocks_of_different_types_are_refused():
    kernel = sgmcmc.sghmc(quadratic, step_size=0.1)
    with pytest.raises(ValueError, match="same dtype"):
        kernel.init({"a": torch.zeros(2), "b": torch.zeros(2).double()}, num_chains=1)


def test_long_vectors_are_the_blocks():
    """Blocks that are views of one vector give it back; others are copied into one."""
    from descentlab.sgmcmc import _blocks

    whole = torch.arange(10.0)
    views = _blocks.parts(whole, [torch.zeros(2, 2), torch.zeros(2, 3)])
    assert _blocks.flat(views) is whole
    for others in (views[::-1], [views[0].T, views[1]], [views[0], views[1].clone()], views[:1]):
        assert torch.equal(_blocks.flat(others), torch.cat([v.reshape(-1) for v in others]))


def test_energies_that_are_not_finite_name_chain_and_step():
    def cliff(x, _):
        return torch.where(x[..., 0] > 1.5, torch.nan, -x[..., 0]) + 0 * x.sum(-1)

    kernel = sgmcmc.sghmc(cliff, step_size=0.5, friction=1.0, temperature=0.0)
    state = kernel.init(torch.tensor([[-50.0, 0.0], [0.0, 0.0]], dtype=torch.float64))
    with pytest.raises(sgmcmc.NonFiniteEnergy, match=r"chain 1 at step 4 is nan") as caught:
        for _ in range(20):
            state, _ = kernel.step(state, None, generator())
    assert caught.value.chain == 1 and caught.value.step == 4
    assert torch.isfinite(caught.value.state.params).all()


def test_gradients_that_are_not_finite_are_caught_before_they_spoil_the_state():
    kernel = sgmcmc.sghmc(lambda x, _: x.abs().sqrt().sum(), step_size=0.1)
    state = kernel.init(torch.tensor([[1.0], [0.0]], dtype=torch.float64))
    with pytest.raises(sgmcmc.NonFiniteEnergy, match="gradient of chain 1 at step 0") as caught:
        kernel.step(state, None, generator())
    assert torch.isfinite(caught.value.state.params).all()


def test_a_run_beyond_the_limit_warns_with_the_limit():
    kernel = sgmcmc.sghmc(lambda x, _: 50 * x.square().sum(), step_size=0.21, friction=1.0)
    with pytest.warns(UserWarning, match=r"kinetic temperature .* curvature below"):
        run(kernel, 50)


# -- the expansion ----------------------------------------------------------------------------------------------------


def small_network():
    with networks.seeded(3):
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            networks.FRN(4),
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(4 * 9, 5),
        ).double()


def shaken(model, spread=0.1, seed=0):
    g = generator(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(spread * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return model


INPUTS = torch.randn(3, 2, 6, 6, generator=generator(1), dtype=torch.float64)


@pytest.mark.parametrize("left", [0, 1, 3])
@pytest.mark.parametrize("right", [0, 1, 2])
def test_expansion_keeps_the_function_and_merges_back(left, right):
    model = small_network()
    if left + right == 0:
        assert sgmcmc.count_added(sgmcmc.expand(model, left=0, right=0)) == 0
        return
    expanded = sgmcmc.expand(model, left=left, right=right)
    torch.testing.assert_close(expanded(INPUTS), model(INPUTS), rtol=0, atol=1e-14)
    shaken(expanded)
    merged = sgmcmc.merge(expanded)
    torch.testing.assert_close(merged(INPUTS), expanded(INPUTS), rtol=0, atol=1e-12)
    assert [n for n, _ in merged.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert [type(m) for m in merged.modules()] == [type(m) for m in model.modules()]
    assert not torch.equal(expanded(INPUTS), model(INPUTS))


def test_copies_of_an_expanded_network_are_independent():
    expanded = shaken(sgmcmc.expand(small_network()))
    twin = copy.deepcopy(expanded)
    before = expanded(INPUTS)
    shaken(twin, seed=1)
    sgmcmc.merge(twin)
    assert torch.equal(expanded(INPUTS), before)
    state = expanded.state_dict()
    other = sgmcmc.expand(small_network())
    other.load_state_dict(state)
    assert torch.equal(other(INPUTS), before)


def test_factors_stand_where_the_paper_has_them():
    expanded = sgmcmc.expand(networks.resnet20_frn())
    assert sgmcmc.count_added(expanded) == 109_056
    assert expansion.sides(expanded) == 2304  # half of it is the first value that the authors log
    groups = {g.layer: g for g in expansion.expansion_of(expanded).groups}
    assert (groups["body.0"].left, groups["body.0"].right) == (1, 0)
    assert (groups["head"].left, groups["head"].right) == (0, 1)
    assert groups["body.1"].vectors == ("scale", "bias", "threshold")
    lone = sgmcmc.expand(nn.Linear(4, 3))
    assert sgmcmc.count_added(lone) == 9 + 16


def test_convolution_product_is_the_sum_and_three_convolutions():
    rng = np.random.default_rng(0)
    p, v, q = rng.standard_normal((4, 4)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal((3, 3))
    found = product(torch.tensor(v), [torch.tensor(p)], [torch.tensor(q)], num_axes=4)
    np.testing.assert_allclose(found, reference.convolution_product(p, v, q), atol=1e-13)
    x = torch.randn(2, 3, 7, 7, generator=generator(), dtype=torch.float64)
    conv = torch.nn.functional.conv2d
    inner = conv(x, torch.tensor(q)[:, :, None, None])
    outer = conv(conv(inner, torch.tensor(v), stride=2, padding=1), torch.tensor(p)[:, :, None, None])
    torch.testing.assert_close(conv(x, found, stride=2, padding=1), outer, rtol=0, atol=1e-12)


def test_products_of_many_chains_are_those_of_each():
    expanded = shaken(sgmcmc.expand(small_network(), left=2, right=1))
    params = dict(expanded.named_parameters())
    twice = {k: torch.stack([p, 2 * p]) for k, p in params.items()}
    groups = expansion.expansion_of(expanded).groups
    both, one = merge_parameters(groups, twice), merge_parameters(groups, params)
    plain = dict(sgmcmc.merge(expanded).named_parameters())
    for name, value in one.items():
        torch.testing.assert_close(value, plain[name], rtol=0, atol=1e-13)
        torch.testing.assert_close(both[name][0], value, rtol=0, atol=1e-13)


@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize("right", [0, 1, 2])
@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(3, 2, (2, 1))], ids=["dense", "convolution"])
def test_preconditioner_is_the_jacobians(layer, left, right):
    if left + right == 0:
        return
    expanded = shaken(sgmcmc.expand(copy.deepcopy(layer).double(), left=left, right=right), 0.3)
    params = {k: p.detach() for k, p in expanded.named_parameters()}
    groups = expansion.expansion_of(expanded).groups

    def weight(p):
        w = merge_parameters(groups, p)["weight"]
        return w.reshape(len(w), -1).T.flatten()  # column-major

    jacobian = torch.func.jacrev(weight)(params)
    rows = torch.cat([j.flatten(1) for j in jacobian.values()], dim=1)
    found = sgmcmc.preconditioner(expanded)[""]
    torch.testing.assert_close(found, rows @ rows.T, rtol=0, atol=1e-12)
    assert sgmcmc.effective_step(expanded)[""] == pytest.approx(float(found.trace()) / len(found))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1000))
def test_preconditioner_of_factors(left, right, seed):
    factors = lab.random_factors(left, right, shape=(2, 3), seed=seed)
    matrix = sgmcmc.factors_preconditioner(factors)
    assert np.trace(matrix) == pytest.approx(sgmcmc.factors_trace(factors))
    assert np.linalg.eigvalsh(matrix).min() > -1e-9 and np.allclose(matrix, matrix.T)
    assert lab.flow_error(left, right, shape=(2, 3), seed=seed) < 1e-12


def test_log_priors():
    model = shaken(sgmcmc.expand(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), left=1, right=1).double())
    params = {k: p.detach() for k, p in model.named_parameters()}
    inside = sgmcmc.factor_names(model)
    squares = {k: float(p.square().sum()) for k, p in params.items()}
    others = sum(v for k, v in squares.items() if k not in inside)
    expected = -others / 0.04 - sum(v for k, v in squares.items() if k in inside)
    assert sgmcmc.log_prior(model).item() == pytest.approx(expected)
    plain = sgmcmc.merge(model)
    total = sum(p.square().sum().item() for p in plain.parameters())
    assert sgmcmc.log_prior(plain, prior_variance=0.3).item() == pytest.approx(-total / 0.6)
    exact = sgmcmc.expand(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), target="exact")
    exact.load_state_dict(model.state_dict())
    expected = -total / 0.1
    for key, power in (("0.parametrizations.weight.0.left.0", 3 + 1), ("2.parametrizations.weight.0.right.0", 2)):
        factor = params[key].numpy()
        expected += (power + 4) * np.log(abs(np.linalg.det(factor))) - 4 * np.sum(factor**2)
    assert sgmcmc.log_prior(exact).item() == pytest.approx(expected)
    stacked = {k: torch.stack([p, p]) for k, p in params.items()}
    assert sgmcmc.log_prior(exact, stacked).tolist() == pytest.approx([expected, expected])


def test_the_jacobian_is_that_of_the_product():
    """|det| of vec V -> vec(P V Q) by automatic differentiation, for a layer with a bias and for a convolution."""
    for layer in (nn.Linear(3, 2), nn.Conv2d(3, 2, 2)):
        expanded = shaken(sgmcmc.expand(layer.double()), 0.3)
        groups = expansion.expansion_of(expanded).groups
        params = {k: p.detach() for k, p in expanded.named_parameters()}
        names = [n for n in params if n not in sgmcmc.factor_names(expanded)]

        def merged(flat, params=params, names=names, groups=groups):
            parts = flat.split([params[n].numel() for n in names])
            values = merge_parameters(
                groups, params | {n: x.view(params[n].shape) for n, x in zip(names, parts, strict=True)}
            )
            return torch.cat([values[k].flatten() for k in ("weight", "bias")])

        flat = torch.cat([params[n].flatten() for n in names])
        found = torch.linalg.slogdet(torch.func.jacrev(merged)(flat)).logabsdet
        (group,) = groups
        p, q = params[group.factors("left")[0]], params[group.factors("right")[0]]
        expected = group.columns * torch.linalg.slogdet(p)[1] + group.rows * torch.linalg.slogdet(q)[1]
        torch.testing.assert_close(found, expected)


def test_induced_prior_of_every_depth():
    for left, right in ((0, 1), (2, 0), (1, 2)):
        scales = (0.7, 0.4, 1.3)
        found = lab.sampled_prior((3, 2), left=left, right=right, scales=scales, num_draws=100_000)
        expected = sgmcmc.induced_prior((3, 2), left=left, right=right, scales=scales)
        assert found[0] == pytest.approx(expected.variance, rel=0.05)
    assert sgmcmc.induced_prior((2, 2), scales=(1, 1, 1)).kurtosis == pytest.approx(12)
    assert sgmcmc.induced_prior((64, 64, 3, 3), scales=(0.5**0.5, 0.5**0.5, 0.02**0.5)).variance == pytest.approx(20.48)


def test_bad_expansions_are_refused():
    model = small_network()
    expanded = sgmcmc.expand(model)
    for build, message in (
        (lambda: sgmcmc.expand(expanded), "expanded already"),
        (lambda: sgmcmc.merge(model), "was not expanded"),
        (lambda: sgmcmc.preconditioner(model), "was not expanded"),
        (lambda: sgmcmc.expand(model, left=-1), "left=-1"),
        (lambda: sgmcmc.expand(model, target="both"), "target='both'"),
        (lambda: sgmcmc.expand(model, prior_variance=0.0), "prior_variance=0.0"),
        (lambda: sgmcmc.expand(nn.ReLU()), "no layer"),
        (lambda: sgmcmc.expand("network"), "model=str: expected a torch.nn.Module"),
        (lambda: sgmcmc.expand(model, where={"9": (1, 1)}), "'9'"),
        (lambda: sgmcmc.expand(model, where={"3": (1, 1)}), "SiLU"),
        (lambda: sgmcmc.expand(model, target="exact", factor_density="identity"), "precision"),
        (lambda: sgmcmc.preconditioner(expanded, max_side=3), "max_side=3"),
        (lambda: sgmcmc.preconditioner(expanded, layers=["1"]), "'1' has no expanded weight"),
        (lambda: sgmcmc.induced_prior((3,), scales=(1, 1, 1)), "shape"),
        (lambda: sgmcmc.induced_prior((3, 3), scales=(1, 1)), "scales"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


def test_other_networks_can_be_expanded():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).double()
    x = torch.randn(2, 3, 8, generator=generator(), dtype=torch.float64)
    expanded = shaken(sgmcmc.expand(layer), 0.05)
    torch.testing.assert_close(sgmcmc.merge(expanded)(x), expanded(x))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    names = {g.layer for g in expansion.expansion_of(sgmcmc.expand(tied)).groups}
    assert names == {"2"}  # weights that are shared stay shared


# -- networks of many chains, ensembles -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["by hand", "vmap"])
def test_chains_are_evaluated_together(kind):
    build = (lambda: lab.normalised_mlp((5, 4), num_inputs=6)) if kind == "by hand" else small_network
    models = [shaken(build().double(), 0.5, seed) for seed in range(3)]
    x = torch.randn(3, 7, 6, generator=generator(), dtype=torch.float64) if kind == "by hand" else INPUTS[:, None]
    params = {k: torch.stack([dict(m.named_parameters())[k] for m in models]) for k, _ in models[0].named_parameters()}
    found = chains.chain_forward(models[0])(params, x)
    for k, model in enumerate(models):
        torch.testing.assert_close(found[k], model(x[k]))
        torch.testing.assert_close(chains.chain_forward(models[0])(params, x[:1])[k], model(x[0]))
    assert chains.is_batched_by_hand(models[0]) == (kind == "by hand")


def tiny_data(seed=0, n=40):
    g = generator(seed)
    inputs = torch.randn(n, 6, generator=g)
    return inputs, (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()


def tiny_network(_=0):
    return lab.normalised_mlp((5,), num_inputs=6, num_classes=4)


def test_posterior_energy_is_the_sum_over_the_data():
    inputs, targets = tiny_data()
    model = shaken(sgmcmc.expand(tiny_network(), target="exact"), 0.2)
    energy = sgmcmc.posterior_energy(model, 40)
    params = {k: p.detach()[None] for k, p in model.named_parameters()}
    found = energy(params, (inputs[None], targets[None]))
    expected = nn.functional.cross_entropy(model(inputs), targets, reduction="sum") - sgmcmc.log_prior(model)
    torch.testing.assert_close(found[0], expected.detach(), rtol=1e-5, atol=1e-3)
    half = energy(params, (inputs[None, :20], targets[None, :20])) + energy(
        params, (inputs[None, 20:], targets[None, 20:])
    )
    torch.testing.assert_close(half / 2, found, rtol=1e-5, atol=1e-3)


def sampled(**keywords):
    keywords = {
        "kernel": sgmcmc.sghmc,
        "step_size": 0.02,
        "friction": 5.0,
        "num_samples": 3,
        "steps_per_sample": 4,
    } | keywords
    return sgmcmc.sample_posterior(
        keywords.pop("model", tiny_network),
        tiny_data(),
        **{"num_chains": 2, "batch_size": 10, "progress": False} | keywords,
    )


@pytest.mark.parametrize("order", ["replacement", "reshuffled", "cyclic"])
def test_sampling_resumes_where_it_was_killed(tmp_path, order):
    path = tmp_path / "run.pt"
    whole = sampled(order=order, model=lambda s: sgmcmc.expand(tiny_network(s), target="exact"))
    build = lambda s: sgmcmc.expand(tiny_network(s), target="exact")  # noqa: E731
    sampled(order=order, model=build, checkpoint=path, num_samples=1)
    resumed = sampled(order=order, model=build, checkpoint=path)
    for name, samples in whole.samples.items():
        assert torch.equal(samples, resumed.samples[name])
    assert torch.equal(whole.energies, resumed.energies)
    with pytest.raises(ValueError, match="belongs to another run: seed"):
        sampled(order=order, model=build, checkpoint=path, seed=1)
    with pytest.raises(ValueError, match="belongs to another run: settings"):
        sampled(order=order, model=build, checkpoint=path, step_size=0.03)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not a checkpoint"):
        sampled(order=order, model=build, checkpoint=path)


def test_a_run_that_dies_in_the_middle_of_a_sample_resumes(tmp_path):
    """Killed in the third sample, after two were stored; the resumed run ends as one that was left alone."""
    done = 0

    def mortal(*args, **settings):
        kernel = sgmcmc.sghmc(*args, **settings)

        def step(*arguments):
            nonlocal done
            done += 1
            if done == 11:
                raise KeyboardInterrupt
            return kernel.step(*arguments)

        return replace(kernel, step=step)

    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        sampled(kernel=mortal, checkpoint=path)
    resumed, whole = sampled(checkpoint=path), sampled()
    assert torch.equal(resumed.energies, whole.energies)
    assert all(torch.equal(whole.samples[k], t) for k, t in resumed.samples.items())


def test_a_run_that_blows_up_keeps_its_last_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    with pytest.raises(sgmcmc.NonFiniteEnergy, match=r"chain . at step") as caught:
        sampled(step_size=lambda step: 0.02 if step < 4 else 1e15, checkpoint=path)  # in the second sample
    assert all(torch.isfinite(t).all() for t in caught.value.state.params.values())
    kept = sampled(checkpoint=path, num_samples=1, step_size=lambda _: 0.02)
    assert torch.equal(kept.energies, sampled(num_samples=1, step_size=lambda _: 0.02).energies)


def test_samples_of_a_large_network_are_evaluated_in_groups():
    data = torch.randn(6, 2, 6, 6, generator=generator()), torch.arange(6) % 5
    run = sgmcmc.sample_posterior(
        small_network().float(), data, kernel=sgmcmc.sgld, step_size=1e-4, num_samples=3, num_chains=2, progress=False
    )
    torch.testing.assert_close(run.logits(data[0], group_size=4, batch_size=5), run.logits(data[0]))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(5)])
def test_networks_that_chains_cannot_share_are_refused(layer):
    model = nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, 4))
    with pytest.raises(ValueError, match=r"'1' is a .* in training mode"):
        sampled(model=model)
    sampled(model=model.eval())


def test_an_ensemble_predicts_with_plain_weights():
    ensemble = sampled(model=lambda s: sgmcmc.expand(tiny_network(s)))
    inputs, targets = tiny_data(1)
    assert (ensemble.num_chains, ensemble.num_samples) == (2, 3)
    assert networks.count_parameters(ensemble.model) == networks.count_parameters(tiny_network())
    logits = []
    for c in range(2):
        for s in range(3):
            model = tiny_network()
            model.load_state_dict({k: t[c, s] for k, t in ensemble.samples.items()})
            logits.append(model(inputs).detach())
    logits = torch.stack(logits)
    torch.testing.assert_close(ensemble.logits(inputs).flatten(0, 1), logits)
    torch.testing.assert_close(ensemble.predict(inputs), logits.double().softmax(-1).mean(0))
    expected = reference.metrics(logits.double().numpy(), targets.numpy())
    found = ensemble.metrics(inputs, targets, ood_inputs=10 * inputs)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-10), key
    assert set(found) == {*expected, "ood_auroc"}
    by_chain = ensemble.metrics(inputs, targets, by_chain=True)
    assert by_chain["nll"].shape == (2,)
    assert by_chain["nll"][1] == pytest.approx(ensemble.chain(1).metrics(inputs, targets)["nll"])
    assert ensemble.drop(2).num_samples == 1
    assert set(ensemble.temperatures) == {"factors", "others"} and ensemble.effective_steps.min() > 1
    distance, unit = ensemble.distances()
    assert distance.shape == unit.shape == (2, 2)


def test_samples_of_a_regression_are_those_of_its_posterior():
    """Linear regression with known noise: mean and covariance in closed form, plain and with the exact target."""
    g = generator()
    x = torch.randn(50, 3, generator=g, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + torch.randn(50, generator=g, dtype=torch.float64)
    covariance = torch.linalg.inv(x.T @ x + torch.eye(3, dtype=torch.float64))
    mean = covariance @ x.T @ y

    def loss(outputs, targets):
        return 0.5 * (outputs.squeeze(-1) - targets).square()

    for expanded in (False, True):
        with networks.seeded(0):
            layer = nn.Linear(3, 1, bias=False).double()
        near = {"factor_power": 10.0}  # keeps the factors, and with them the effective steps, near orthogonal
        model = sgmcmc.expand(layer, target="exact", prior_variance=1.0, **near) if expanded else layer
        ensemble = sgmcmc.sample_posterior(
            model, (x, y), kernel=sgmcmc.hmc, step_size=0.04 if expanded else 0.1, num_steps=8, jitter=0.2,
            loss=loss, prior_variance=1.0, num_chains=200, num_samples=50, num_dropped=40, progress=False,
        )  # fmt: skip
        draws = ensemble.samples["weight"].reshape(200, 50, 3)
        by_chain = draws.mean(1)
        error = (by_chain.mean(0) - mean) / (by_chain.std(0) / 200**0.5)
        assert error.abs().max() < 4
        found = torch.cov(draws.reshape(-1, 3).T)
        assert (found - covariance).norm() / covariance.norm() < 0.08


def test_bad_posteriors_are_refused():
    for bad, message in (
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch_size": 41}, "batch_size=41"),
        ({"order": "random"}, "order='random'; allowed are"),
        ({"num_chains": 0}, "num_chains=0"),
        ({"prior_variance": -1.0}, "prior_variance=-1.0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"kernel": "sghmc"}, "kernel='sghmc' must be a builder"),
    ):
        with pytest.raises(ValueError, match=message):
            sampled(**bad)


def test_the_authors_run_in_small():
    model = small_network().float()
    data = torch.randn(12, 2, 6, 6, generator=generator()), torch.arange(12) % 5
    for constants in (lab.SGHMC, lab.PX_SGHMC):
        run = lab.sample_resnet(
            model, data, constants=constants, num_cycles=2, cycle_length=3, num_chains=2, batch_size=4, device="cpu"
        )
        assert run.num_samples == 2
        assert all(torch.isfinite(t).all() for t in run.samples.values())


def test_the_authors_run_on_cifar10_resumes(cifar10, tmp_path, monkeypatch):
    """A few steps of ResNet-20-FRN with the official constants on real images, stopped after the first cycle."""
    cifar10(50, 20)
    real = data.load("cifar10")
    train, validation, test = lab.splits(real)
    assert [len(t) for t in (*train, *validation, *test)] == [40, 40, 10, 10, 20, 20]  # 40 960 of the 50 000
    pixel = real.inputs[3, :, 5, 7].numpy()
    np.testing.assert_allclose(train[0][3, :, 5, 7], (pixel - (0.49, 0.48, 0.44)) / 0.2, atol=1e-5)
    few = {"cycle_length": 2, "num_chains": 2, "batch_size": 10, "device": "cpu"}
    whole = lab.run_on_cifar(real, num_cycles=2, **few)
    monkeypatch.setenv("DESCENTLAB_CHECKPOINTS", str(tmp_path))
    lab.run_on_cifar(real, num_cycles=1, **few)
    assert lab.run_on_cifar(real, num_cycles=2, **few) == whole
    assert [p.name for p in tmp_path.glob("*.pt")] == ["sgmcmc-px-0.pt"] and np.isfinite(whole["nll"])


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(0, 1000))
def test_ambiguity_needs_no_labels(samples, seed):
    g = generator(seed)
    logits = 3 * torch.randn(samples, 20, 4, generator=g)
    targets = torch.randint(4, (20,), generator=g)
    found = sgmcmc.ensemble_metrics(logits, targets)
    shuffled = sgmcmc.ensemble_metrics(logits, targets[torch.randperm(20, generator=g)])
    assert found["ambiguity"] == pytest.approx(shuffled["ambiguity"]) and found["ambiguity"] >= 0
    expected = reference.metrics(logits.double().numpy(), targets.numpy())
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9), key


def test_auroc_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    g = generator()
    positive, negative = (torch.randint(0, 9, (n,), generator=g).double() for n in (30, 50))
    labels = np.repeat([1, 0], [30, 50])
    assert sgmcmc.auroc(positive, negative) == pytest.approx(
        sklearn.roc_auc_score(labels, torch.cat([positive, negative]))
    )


def test_convergence_with_arviz():
    with pytest.raises(ValueError, match="at least 2 and 4"):
        sgmcmc.convergence(np.zeros((1, 10)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        pytest.importorskip("arviz")
    draws = np.random.default_rng(0).standard_normal((4, 200, 2))
    draws[0, :, 1] += 5
    found = sgmcmc.convergence(draws)
    assert found.rhat[0] < 1.02 < 1.5 < found.rhat[1] and found.ess[0] > 400 > found.ess[1]


def test_toys_agree_with_independent_values():
    masses = lab.gaussian_masses()
    np.testing.assert_allclose(masses[[4, 1, 0]], (0.743, 0.0438, 0.0205), atol=5e-4)
    norms = lab.predicted_norms()
    np.testing.assert_allclose(list(norms.values()), (2062, 117.1, 27_264, 137_021), rtol=1e-3)
    assert lab.cycles_to_reach("nll", 0.4212) == pytest.approx(45, abs=2)
    assert lab.cycles_to_reach("error", 0.1343) == pytest.approx(38, abs=4)
    with pytest.raises(ValueError, match="kind='slow'"):
        lab.visit_modes("slow", num_steps=100)


@cache
def clothes():
    found = data.load("fashion-mnist-12k")
    return reference.small_images(found.inputs, found.targets, found.test_inputs, found.test_targets)


def test_images_of_the_comparison_are_pooled_and_standardised():
    loaded = lab.load_images("fashion-mnist-12k", num_samples=1000)
    names = ("inputs", "targets", "test_inputs", "test_targets")
    for name, expected in zip(names, clothes(), strict=True):
        torch.testing.assert_close(getattr(loaded, name), expected)


@pytest.mark.parametrize("method", lab.METHODS[2:], ids=lambda method: method.name)
def test_posteriors_of_the_comparison_are_the_literal_ones(method):
    """Differences of the energy between chains of perturbed weights: a density is known up to a constant."""
    kind = reference.METHODS[method.name][0]
    p = reference.first_weights(3, kind, generator())
    p = {
        name: (t + 0.1 * torch.randn(t.shape, generator=generator(k))).double() for k, (name, t) in enumerate(p.items())
    }
    model = lab.network(method, (32, 32)).double()
    where = {"V": "weight", "b": "bias", "P": "left", "Q": "right"}

    def literal(name):
        layer, *rest = name.split(".")
        if layer in ("1", "4"):
            return f"s{int(layer) // 3}"
        kind_of = next(short for short, part in where.items() if part in rest and not (short in "Vb" and "0" in rest))
        return f"{kind_of}{int(layer) // 3}"

    params = {name: p[literal(name)] for name, _ in model.named_parameters()}
    x, y, *_ = clothes()
    energy = sgmcmc.posterior_energy(model, 1000, prior_variance=method.prior_variance)(
        params, (x[None].double(), y[None])
    )
    expected = reference.energy(p, kind, x[None].double(), y[None])
    torch.testing.assert_close(energy - energy[0], expected - expected[0], rtol=1e-8, atol=1e-7)


def test_expected_values_of_the_comparison():
    """Of SGHMC at the longest step, by loops that share nothing with the package; the others take minutes."""
    problem = clothes()
    method = reference.METHODS["SGHMC, h = 8e-3"]
    found = reference.scores(reference.sghmc_ensembles(problem, *method, num_chains=2, seed=31), problem[3])
    claims = lab.statements.checks
    for key, value in zip(("C9a", "C9b", "C9c"), found, strict=True):
        assert value == pytest.approx(claims[key].expected[3], abs=claims[key].tolerance)


# -- every claim fails for a wrong variant ----------------------------------------------------------------------------

BASE, DOUBLE, TUNED, PX, PAPER = lab.METHODS
SMALL = {"widths": (16, 16), "num_chains": 3, "num_cycles": 3, "cycle_length": 60, "num_dropped": 1}
SHORT = {"widths": (8, 8), "num_chains": 1, "num_cycles": 3, "cycle_length": 2, "num_dropped": 1}


@cache
def digits():
    return lab.load_images("digits", num_samples=200, num_validation=100, num_test=200)


@cache
def ensemble(method, **changes):
    return lab.run_methods([method], digits(), **{**SMALL, **changes})[method.name]


@cache
def gold():
    return lab.run_hmc(digits(), widths=(16, 16), num_samples=12, num_dropped=6, num_steps=30)


def scored(run):
    return lab.score(run, digits(), reference=gold().predict(digits().test_inputs))


def hardly_moved(key, methods, with_hmc=True):
    frozen = [lab.run_methods([replace(m, step_size=1e-7)], digits(), **SHORT)[m.name] for m in methods]
    still = lab.run_hmc(
        digits(), widths=(8, 8), num_chains=1, num_samples=4, num_dropped=1, num_steps=1, step_size=1e-7
    )
    return [lab.score(run, digits()).mean(key) for run in ([still] if with_hmc else []) + frozen]


def on_both_sides(key, *, ratio):
    """SGHMC against itself, each chain."""
    a, b = (scored(lab.run_methods([BASE], digits(), **SMALL)[BASE.name]).metrics[key] for _ in range(2))
    return a / b if ratio else a - b


def slow_sghmc():
    return scored(ensemble(replace(BASE, step_size=1e-5)))


@cache
def unexpanded_depths():
    """No factors at four depths: the same run each time."""
    same = lab.compare_depths(digits(), "exact", [(0, 0)], num_cycles=2, num_dropped=1, num_chains=1)[0, 0]
    return {str(k): same for k in ((0, 0), (1, 0), (1, 1), (2, 2))}


def pair(first, second, run):
    """A chain of two samples."""
    samples = {k: torch.stack([t[first], t[second]])[None] for k, t in run.samples.items()}
    return sgmcmc.Ensemble(run.model, samples, torch.zeros(1, 2))


def across_chains():
    """Solutions of different chains, trained until they fit."""
    run = ensemble(replace(BASE, step_size=4e-3, friction=10.0), cycle_length=300)
    return lab.barrier(pair((0, -1), (1, -1), run), digits(), apart=1)[1].mean()


def transposed_preconditioner():
    factors = lab.random_factors(1, 1, shape=(3, 3))
    parts = preconditioning._neighbours(factors)
    wrong = sum(np.kron(after @ after.T, before.T @ before) for before, after in parts)
    right = sgmcmc.factors_preconditioner(factors)
    return np.abs(wrong - right).max() / np.abs(right).max()


def exchanged_spectrum():
    factors = lab.random_factors(2, 1, spread=0.0)
    squares = np.linalg.svd(factors[2], compute_uv=False) ** 2
    right, left = np.append(squares, 0.0), squares
    wrong = np.sort((1 + right[:, None] + 2 * left[None, :]).ravel())
    return np.abs(wrong - np.linalg.eigvalsh(sgmcmc.factors_preconditioner(factors))).max()


def moves():
    return [lab.langevin_move(k, j, num_draws=20_000) for k, j in ((0, 0), (1, 0), (1, 1), (2, 2), (3, 3))]


def exact_identities():
    shallow, deep = (lab.random_factors(k, k, spread=0.0) for k in (2, 3))
    return sgmcmc.factors_trace(deep) / sgmcmc.factors_trace(shallow)


def stationary(**keywords):
    return lab.stationary(EXAMPLES[: keywords.pop("count", 3)], num_chains=1000, num_steps=600, **keywords)


def fixed_friction():
    cases = [{"step_size": 0.05, "curvature": 2.0, "friction": 1.0, "noise": v} for v in (0.0, 80.0)]
    found = lab.stationary(cases, num_chains=1000, num_steps=600)
    return np.divide([*found.position, 1.0, 1.0], (0.48715, 0.45910, 1.0277, 3.2717))


def unbiased_variance():
    kernel = sgmcmc.hmc(lab.noisy_quadratic(4.0), step_size=0.1, num_steps=8, batched=True)
    return lab.measure_moments(kernel, num_steps=150, num_dropped=40).position / 0.3125


@cache
def visited(kind):
    return lab.visit_modes(kind).counts.mean()


@cache
def nine(kind, step_size=0.05, iterations=100):
    return lab.mix_nine(kind, step_size=step_size, num_iterations=iterations, num_dropped=20)


def exact_scalar():
    by_chain = lab.sample_product(1.0, "exact", num_iterations=250).mean(1)
    return abs(float(by_chain.mean()) - 0.616773) / float(by_chain.std() / len(by_chain) ** 0.5)


@cache
def without_determinant():
    return lab.gaussian_matrix("no determinant", num_iterations=150)


def plain_norms():
    model = networks.resnet20_frn()
    layers = {n: (1, 1) for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and n != "body.0"}
    expanded = sgmcmc.expand(model, where=layers | {"body.0": (1, 0), "head": (0, 1)})
    return 0, sgmcmc.count_added(expanded)


def larger_batches():
    expanded = replace(PAPER, name="")
    counts = [lab.count_operations(m, batch_size=400) for m in (expanded, replace(expanded, expanded=None))]
    return counts[0] / counts[1]


def cold(method):
    cases = [replace(method, step_size=1e-7, temperature=t) for t in (1.0, 0.1, 0.01)]
    return [scored(lab.run_methods([m], digits(), **SHORT)[m.name]).mean("nll") for m in cases]


def noisy_difference():
    levels, targets = (0.1, 0.2, 0.4), digits().test_targets
    runs = [ensemble(BASE).metrics(lab.noisy(digits(), s), targets, by_chain=True)["nll"] for s in levels]
    return np.subtract(runs, runs).mean(axis=0)


def cool_factors():
    temperatures = ensemble(PAPER).temperatures
    return [float(temperatures[k].mean()) for k in ("factors", "others")]


SCALES = ((8**-0.5, 6**-0.5, 0.2**0.5), (0.5**0.5, 0.5**0.5, 0.2**0.5))
IN_TWO = (0.25266, 1.0909, 0.56882)
CONTROLS = {
    "C1a": transposed_preconditioner,
    "C1b": exchanged_spectrum,
    "C1c": lambda: lab.conserved_flow(decay=0.1, num_steps=500).drift,
    "C2a": lambda: [m.simulated / (2e-4 * 12) for m in moves()],
    "C2b": lambda: min((2e-4 * 12) ** 0.5 / m.simulated**0.5 for m in moves()),
    "C2c": exact_identities,
    "C3a": lambda: stationary(explicit=True).position / IN_TWO,
    "C3b": lambda: stationary(explicit=True, count=2).momentum / (1.0638, 1.4545),
    "C3c": lambda: stationary(count=1).position[0] / 0.42101,
    "C3d": fixed_friction,
    "C3e": unbiased_variance,
    "C4a": lambda: visited("constant"),
    "C4b": lambda: visited("decaying"),
    "C4c": lambda: visited("decaying"),
    "C5a": lambda: [nine("plain").switch_rate / nine("plain").switch_rate] * 2,
    "C5b": lambda: nine("both", 0.1).masses[4],
    "C5c": lambda: nine("gaussian", 0.1, 150).total_variation,
    "C5d": lambda: nine("plain").switch_rate / nine("plain", 0.3).switch_rate,
    "C6a": lambda: [lab.predicted_norms(factor_precision=1.0)[k] / v for k, v in lab.LOGGED.items()],
    "C6b": lambda: lab.sampled_prior((3, 4), left=0, scales=(1.0, 0.5, 0.3), num_draws=20_000)[0] / 0.27,
    "C6c": lambda: lab.sampled_prior((3, 4), left=0, right=0, scales=(1.0, 0.5, 0.3), num_draws=20_000)[1],
    "C6d": lambda: [0.8, 0.2, 1.6, 0.2],  # y / (1 + 1/4) and (1/4) / (1 + 1/4)
    "C6e": exact_scalar,
    "C7a": lambda: [without_determinant().mean_errors] * 2,
    "C7b": lambda: [without_determinant().covariance_error] * 2,
    "C7c": lambda: [*without_determinant().factor_sizes] * 2,
    "C8": lambda: [lab.CURVES["SGHMC"][k][-1] for k in ("error", "nll", "ambiguity")],
    "C9a": lambda: hardly_moved("nll", lab.METHODS),
    "C9b": lambda: hardly_moved("ambiguity", lab.METHODS),
    "C9c": lambda: hardly_moved("error", lab.METHODS),
    "C9d": lambda: on_both_sides("ambiguity", ratio=True),
    "C9e": lambda: on_both_sides("ambiguity", ratio=True),
    "C9f": lambda: on_both_sides("nll", ratio=False),
    "C9g": lambda: on_both_sides("nll", ratio=False),
    "C9h": lambda: [abs(scored(ensemble(PX)).mean(k) - slow_sghmc().mean(k)) for k in ("nll", "ambiguity")],
    "C9i": lambda: scored(ensemble(PX)).metrics["total_variation"] - slow_sghmc().metrics["total_variation"],
    "C9j": lambda: scored(gold()).metrics["single_nll"] - scored(gold()).mean("single_nll"),
    "C10a": lambda: hardly_moved("nll", lab.LARGER_METHODS, with_hmc=False),
    "C10b": lambda: hardly_moved("ambiguity", lab.LARGER_METHODS, with_hmc=False),
    "C11a": lambda: {k: d.scores.mean("ambiguity") for k, d in unexpanded_depths().items()},
    "C11b": lambda: 1.0 if unexpanded_depths()["(2, 2)"] is unexpanded_depths()["(0, 0)"] else np.nan,
    "C11c": lambda: {k: d.largest for k, d in unexpanded_depths().items()},
    "C11d": lambda: {k: d.smallest for k, d in unexpanded_depths().items()},
    "C12a": lambda: dict.fromkeys(
        ("SGHMC", "PX exact", "PX paper", "HMC"), lab.barrier(ensemble(BASE), digits(), apart=1)[1].mean()
    ),
    "C12b": across_chains,
    "C12c": lambda: lab.barrier(pair((0, -1), (0, -1), gold()), digits(), apart=1)[1].mean(),
    "C13a": lambda: on_both_sides("ood_auroc", ratio=False),
    "C13b": noisy_difference,
    "C14a": lambda: cold(DOUBLE),
    "C14b": lambda: cold(PAPER),
    "C15a": plain_norms,
    "C15b": larger_batches,
    "D1": lambda: float(ensemble(BASE).effective_steps.mean()),
    "D2": lambda: [
        lab.sampled_prior((8, 6), left=e, right=e, scales=SCALES[1], num_draws=5000)[0] / 0.2 for e in (1, 2)
    ],
    "D3": cool_factors,
}


def test_every_claim_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)


# -- gradients written out --------------------------------------------------------------------------------------------


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def compare(energy, params, batch, tolerance=1e-12):
    """`value_and_grad` against the energy's own value and its gradient by reverse mode."""
    leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
    value = energy(leaves, batch)
    expected = torch.autograd.grad(value.sum(), list(leaves.values()))
    out = {k: torch.full_like(p, torch.nan) for k, p in params.items()}
    torch.testing.assert_close(
        energy.value_and_grad(params, batch, out), value.detach(), rtol=tolerance, atol=tolerance
    )
    for found, wanted in zip(out.values(), expected, strict=True):
        scale = float(wanted.abs().max()) + 1.0
        torch.testing.assert_close(found / scale, wanted / scale, rtol=tolerance, atol=tolerance)


def perturbed(model, chains, seed=0):
    named = model.named_parameters()
    return {k: p.detach() + 0.1 * normal(chains, *p.shape, seed=seed + j) for j, (k, p) in enumerate(named)}


def batch(chains, inputs=6):
    return normal(chains, 9, inputs, seed=5), torch.randint(3, (chains, 9), generator=generator(6))


def small():
    return lab.normalised_mlp((5, 4), num_inputs=6, num_classes=3).double()


@pytest.mark.parametrize("shared", [False, True], ids=["own batches", "one batch for all"])
@pytest.mark.parametrize("target", [None, "paper", "exact"])
@given(left=st.integers(0, 2), right=st.integers(0, 2), seed=st.integers(0, 100))
@settings(max_examples=6, deadline=None)
def test_the_gradient_of_a_posterior_is_that_of_reverse_mode(target, shared, left, right, seed):
    model = (
        small()
        if target is None or left + right == 0
        else sgmcmc.expand(small(), left=left, right=right, target=target)
    )
    energy = sgmcmc.posterior_energy(model, 50, prior_variance=0.3)
    compare(energy, perturbed(model, 3, seed), batch(1 if shared else 3))


def test_the_gradient_with_factors_around_the_identity():
    model = sgmcmc.expand(small(), target="exact", factor_density="identity", factor_precision=7.0)
    compare(sgmcmc.posterior_energy(model, 50), perturbed(model, 2), batch(2))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.SiLU, nn.Identity])
def test_the_gradient_of_other_layers_and_losses(activation):
    flat, norm = nn.Flatten(), nn.RMSNorm(5, elementwise_affine=False)
    model = nn.Sequential(
        flat, nn.Linear(6, 5, bias=False), norm, nn.Sequential(activation(), nn.Linear(5, 3))
    ).double()

    def squares(outputs, targets):
        return (outputs - nn.functional.one_hot(targets, 3)).square().sum(-1)

    x, y = batch(2)
    for loss in ({}, {"loss": squares}):
        compare(sgmcmc.posterior_energy(model, 50, **loss), perturbed(model, 2), (x.unflatten(2, (2, 3)), y))


def test_networks_with_other_layers_are_left_to_automatic_differentiation():
    shared = nn.Linear(3, 3)
    for model in (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()),
        nn.Sequential(nn.Linear(3, 3), nn.GELU()),
        nn.Sequential(shared, nn.ReLU(), shared),
    ):
        assert not hasattr(sgmcmc.posterior_energy(model, 50), "value_and_grad")


@pytest.mark.parametrize("build", [sgmcmc.sgld, sgmcmc.psgld, sgmcmc.sghmc, sgmcmc.sgnht, sgmcmc.hmc])
def test_samplers_take_the_same_steps_with_an_energys_own_gradient(build):
    model = sgmcmc.expand(small(), target="exact")
    own = sgmcmc.posterior_energy(model, 50)
    ends = []
    for energy in (own, own.__call__):  # a bound method has no gradient of its own
        kernel = build(energy, step_size=1e-3, batched=True)
        state, g, kept = kernel.init(perturbed(model, 3)), generator(), []
        for _ in range(4):
            state, _ = kernel.step(state, batch(3), g)
            kept.append({k: p.clone() for k, p in state.params.items()})
        ends.append((state, kept))
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        for name, found in a.items():
            torch.testing.assert_close(found, b[name], rtol=1e-9, atol=1e-11)


def test_a_step_leaves_earlier_states_as_they_were():
    model = small()
    kernel = sgmcmc.sghmc(
        sgmcmc.posterior_energy(model, 50), step_size=torch.tensor([1e-3, 2e-3]), friction=5.0, batched=True
    )
    states, g = [kernel.init(perturbed(model, 2))], generator()
    copies = []
    for _ in range(4):
        copies.append([t.clone() for s in (states[-1].params, states[-1].momentum) for t in s.values()])
        states.append(kernel.step(states[-1], batch(2), g)[0])
    for state, before in zip(states, copies, strict=False):
        for t, c in zip([*state.params.values(), *state.momentum.values()], before, strict=True):
            assert torch.equal(t, c)
    again = kernel.step(states[0], batch(2), generator())[0]  # pure: the same state, batch and draws, the same end
    assert all(torch.equal(again.params[k], t) for k, t in states[1].params.items())


def test_a_gradient_of_ones_own_is_used_by_the_kernels():
    class Steep:
        def __call__(self, x, _):
            raise AssertionError("the energy alone is not asked for")

        def value_and_grad(self, x, _, out):
            out.copy_(3 * x)
            return 1.5 * x.square().sum(-1)

    kernel = sgmcmc.sghmc(Steep(), step_size=0.1, friction=1.0, temperature=0.0, batched=True)
    state, info = kernel.step(kernel.init(torch.ones(2, dtype=torch.float64), num_chains=2), None)
    torch.testing.assert_close(state.params, torch.full((2, 2), 1 - 0.1**2 * 3, dtype=torch.float64))
    torch.testing.assert_close(info.energy, torch.full((2,), 3.0, dtype=torch.float64))


@pytest.mark.parametrize("kind", lab.KINDS)
def test_the_gradient_of_nine_gaussians(kind):
    energy = lab.NineEnergy(kind)
    compare(energy, {k: t + 0.3 * normal(8, *t.shape) for k, t in energy.start().items()}, None, 1e-10)


def test_a_path_through_a_singular_matrix_has_an_infinite_energy_and_no_error():
    energy = lab.NineEnergy("left")
    params = {"v": torch.ones(1, 2, dtype=torch.float64), "P": torch.zeros(1, 2, 2, dtype=torch.float64)}
    out = {k: torch.empty_like(t) for k, t in params.items()}
    assert float(energy.value_and_grad(params, None, out)) == float("inf")


def test_the_gradient_of_a_gaussian_matrix_and_of_quadratics():
    layer = sgmcmc.expand(nn.Linear(3, 2, bias=False, dtype=torch.float64), target="exact")
    root = normal(6, 6)
    energy = lab.FactoredGaussian(layer, normal(6), root @ root.T)
    params = perturbed(layer, 4)
    out = {k: torch.empty_like(p) for k, p in params.items()}
    value = energy.value_and_grad(params, None, out)
    direction = {k: normal(*p.shape, seed=3) for k, p in params.items()}
    ahead, behind = (energy({k: p + s * direction[k] for k, p in params.items()}, None) for s in (1e-5, -1e-5))
    slope = sum((out[k] * direction[k]).flatten(1).sum(1) for k in params)
    torch.testing.assert_close((ahead - behind) / 2e-5, slope, rtol=1e-6, atol=1e-6)
    w = params[next(k for k in params if "original" in k)]
    plain = sgmcmc.log_prior(layer, params, prior_variance=1e12)  # the factors' terms: the prior of W is flat
    p, q = (params[next(k for k in params if side in k)] for side in ("left", "right"))
    off = (p @ w @ q).flatten(1) - energy.mean
    torch.testing.assert_close(value, 0.5 * torch.einsum("ci,ij,cj->c", off, energy.precision, off) - plain)
    x, noise = normal(5, 3), normal(5, 3, seed=1)
    quadratic = lab.noisy_quadratic(2.0, 3.0)
    for given_noise in (None, noise):
        out = torch.empty_like(x)
        values = quadratic.value_and_grad(x, given_noise, out)
        torch.testing.assert_close(values, quadratic(x, given_noise))
        torch.testing.assert_close(out, 2 * x if given_noise is None else 2 * x + 3**0.5 * noise)


@given(size=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_transposed_inverses_and_log_determinants(size, seed):
    matrices = normal(2, 4, size, size, seed=seed) + 2 * torch.eye(size, dtype=torch.float64)
    inverses, logs = _gradients.transposed_inverse(matrices)
    conditions = float(torch.linalg.cond(matrices).max())
    torch.testing.assert_close(
        inverses.mT, torch.linalg.inv(matrices), rtol=1e-12 * conditions, atol=1e-13 * conditions**2
    )
    torch.testing.assert_close(logs, torch.linalg.slogdet(matrices).logabsdet, rtol=1e-12, atol=1e-12 * conditions)
