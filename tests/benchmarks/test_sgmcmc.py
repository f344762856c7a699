"""SGHMC beside `posteriors` and JAX, with and without the expansion, and the bias of other libraries, in one run.

The peers are optional: what is not installed is left out, and said so.
"""

import importlib
import time
import warnings
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from experiments import sgmcmc as lab

from descentlab import sgmcmc

WIDTHS, BATCH, DATA = (64, 64), 100, 4000
CHAINS = (1, 4, 16)
STEP, FRICTION, VARIANCE = 1e-3, 30.0, 0.2
PX = lab.Method("PX", STEP, FRICTION, 0.3, "paper", 0.1, 2.0)
SP = lab.Method("SP", STEP, FRICTION)


def best(rounds=60, warm=5, **steps):
    """Shortest time of each call; the calls take turns, so that a busy machine slows all of them alike."""
    times = {name: float("inf") for name in steps}
    for k in range(warm + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if k >= warm:
                times[name] = min(times[name], time.perf_counter() - start)
    return times


def peer(name):
    """A peer's module; what it or its dependencies announce of their future when imported is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def batch(chains):
    g = torch.Generator().manual_seed(0)
    return torch.randn(chains, BATCH, 196, generator=g), torch.randint(10, (chains, BATCH), generator=g)


def ours(method, chains):
    model = lab.network(method, WIDTHS)
    energy = sgmcmc.posterior_energy(model, DATA, prior_variance=method.prior_variance)
    kernel = sgmcmc.sghmc(energy, step_size=STEP, friction=FRICTION, batched=True)
    params = {k: p.detach() for k, p in model.named_parameters()}
    state, data, g = kernel.init(params, num_chains=chains), batch(chains), torch.Generator().manual_seed(0)

    def step():
        nonlocal state
        state, _ = kernel.step(state, data, g)

    return step


def with_posteriors(chains):
    """One transform under `vmap`, as its users batch chains."""
    theirs = peer("posteriors.sgmcmc")
    model = lab.network(SP, WIDTHS)
    params = {k: p.detach() for k, p in model.named_parameters()}

    def log_posterior(p, data):
        x, y = data
        logits = torch.func.functional_call(model, p, (x,))
        fit = -torch.nn.functional.cross_entropy(logits, y)
        return fit - sum(v.square().sum() for v in p.values()) / (2 * VARIANCE * DATA), torch.tensor([])

    build = theirs.sghmc.build(log_posterior, lr=STEP, alpha=FRICTION, temperature=1 / DATA)
    many = {k: p.expand(chains, *p.shape).clone() for k, p in params.items()}
    state, data = torch.vmap(build.init, randomness="different")(many), batch(chains)
    update = torch.vmap(partial(build.update, inplace=False), randomness="different")

    def step():
        nonlocal state
        state = update(state, data)[0]

    return step


def with_jax(chains, length=50):
    """The same step in JAX, compiled, chains by vmap, `length` steps a call by scan."""
    jax, jnp = peer("jax"), peer("jax.numpy")
    shapes = {k: tuple(p.shape) for k, p in lab.network(SP, WIDTHS).named_parameters()}
    inputs, targets = (jnp.asarray(t.numpy()) for t in batch(chains))

    def energy(p, x, y):
        for layer in (0, 3):
            x = x @ p[f"{layer}.weight"].T + p[f"{layer}.bias"]
            x = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6) * p[f"{layer + 1}.weight"]
            x = jax.nn.silu(x)
        logits = x @ p["6.weight"].T + p["6.bias"]
        fit = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)) * DATA
        return fit + sum(jnp.sum(v**2) for v in p.values()) / (2 * VARIANCE)

    def one(carry, key):
        p, r = carry
        g = jax.vmap(jax.grad(energy))(p, inputs, targets)
        alpha, keys = STEP * FRICTION, jax.random.split(key, len(p))
        for k, name in zip(keys, p, strict=True):
            noise = jax.random.normal(k, p[name].shape)
            r[name] = (1 - alpha) * r[name] - STEP * g[name] + (2 * alpha) ** 0.5 * noise
            p[name] = p[name] + STEP * r[name]
        return (p, r), None

    @jax.jit
    def many(p, r, key):
        return jax.lax.scan(one, (p, r), jax.random.split(key, length))[0]

    p = {k: 0.1 * jnp.ones((chains, *s)) for k, s in shapes.items()}
    r, key = {k: jnp.zeros_like(v) for k, v in p.items()}, jax.random.PRNGKey(0)

    def step():
        nonlocal p, r, key
        key, now = jax.random.split(key)
        p, r = jax.block_until_ready(many(p, r, now))

    return step, length


def report(capsys, text):
    with capsys.disabled():
        print("\n" + text)


@pytest.mark.benchmark(group="SGHMC step, MLP 196-64-64-10, batch 100")
@pytest.mark.parametrize("chains", CHAINS)
def test_sgmcmc_step(benchmark, capsys, chains):
    steps, length = {"ours": ours(SP, chains)}, 1
    if find_spec("posteriors"):
        steps["posteriors"] = with_posteriors(chains)
    if find_spec("jax"):
        steps["jax"], length = with_jax(chains)
    times = best(**steps)
    lines = []
    if "posteriors" in times:
        benchmark.extra_info["over posteriors"] = round(times["posteriors"] / times["ours"], 2)
        lines.append(f"{times['posteriors'] / times['ours']:.2f} times as fast as posteriors")
    if "jax" in times:
        benchmark.extra_info["over jax"] = round(times["ours"] / times["jax"] * length, 2)
        lines.append(f"{times['ours'] / times['jax'] * length:.2f} times the time of JAX")
    benchmark.pedantic(steps["ours"], rounds=100, warmup_rounds=5)
    report(capsys, f"{chains} chains: {1e3 * times['ours']:.2f} ms; " + (", ".join(lines) or "no peer installed"))


@pytest.mark.benchmark(group="SGHMC step, MLP 196-64-64-10, batch 100")
def test_sgmcmc_expanded_step(benchmark, capsys):
    both = {chains: best(plain=ours(SP, chains), expanded=ours(PX, chains)) for chains in CHAINS}
    factors = {chains: times["expanded"] / times["plain"] for chains, times in both.items()}
    benchmark.pedantic(ours(PX, 16), rounds=100, warmup_rounds=10)
    for chains, ratio in factors.items():
        benchmark.extra_info[f"ratio at {chains} chains"] = round(ratio, 2)
    report(capsys, "with factors over without: " + ", ".join(f"{c} chains {r:.2f}" for c, r in factors.items()))


@pytest.mark.benchmark(group="prediction, MLP 196-64-64-10, 1000 inputs")
def test_sgmcmc_merged_prediction(benchmark, capsys):
    x = torch.randn(1000, 196)
    merged, plain = sgmcmc.merge(lab.network(PX, WIDTHS)).eval(), lab.network(SP, WIDTHS).eval()
    with torch.no_grad():
        times = best(merged=lambda: merged(x), plain=lambda: plain(x))
        benchmark.pedantic(merged, args=(x,), rounds=200, warmup_rounds=20)
    ratio = times["merged"] / times["plain"]
    benchmark.extra_info["over the plain network"] = round(ratio, 2)
    report(capsys, f"a merged network over a plain one: {ratio:.2f}")


@pytest.mark.benchmark(group="stationary variance at h = 0.1, curvature 4, friction 1 (target 0.25)")
def test_sgmcmc_peers_stationary_variance(benchmark, capsys):
    """The bias of each library's SGHMC on the same Gaussian, 4000 chains; ours is timed."""
    kernel = sgmcmc.sghmc(lab.noisy_quadratic(4.0), step_size=0.1, friction=1.0, batched=True)
    found = stationary_variances(kernel)
    case = {"step_size": 0.1, "curvature": 4.0, "friction": 1.0}
    assert found["descentlab"] == pytest.approx(lab.sghmc_moments(**case).position, rel=0.01)
    for name in {"posteriors", "BlackJAX, 100 integration steps"} & set(found):  # both move the position first
        assert found[name] == pytest.approx(lab.explicit_euler_moments(**case).position, rel=0.05)
    benchmark.pedantic(
        partial(lab.measure_moments, kernel), kwargs={"num_steps": 50, "num_dropped": 0}, rounds=3, warmup_rounds=1
    )
    for name, value in found.items():
        benchmark.extra_info[name] = round(value, 4)
    report(capsys, "stationary variance: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))


def stationary_variances(kernel):
    """By library, each with step size 0.1 and friction 1 on the same Gaussian."""
    small = {"num_steps": 400, "num_dropped": 200}
    found = {"descentlab": lab.measure_moments(kernel, **small).position}
    euler = lab.explicit_euler(lab.noisy_quadratic(4.0), step_size=0.1, friction=1.0)
    found["explicit Euler"] = lab.measure_moments(euler, **small).position
    if find_spec("posteriors"):
        found["posteriors"] = posteriors_variance()
    if find_spec("blackjax"):
        for steps in (10, 100):
            found[f"BlackJAX, {steps} integration steps"] = blackjax_variance(steps)
    return found


def posteriors_variance(chains=4000, steps=400):
    theirs = peer("posteriors.sgmcmc")
    build = theirs.sghmc.build(lambda p, _: (-2 * p.square().sum(), torch.tensor([])), lr=0.1, alpha=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state, total = build.init(torch.zeros(chains)), 0.0  # independent coordinates
        for k in range(2 * steps):
            state = build.update(state, None, inplace=False)[0]
            total += float(state.params.square().mean()) if k >= steps else 0.0
    return total / steps


def blackjax_variance(integration_steps, chains=4000, steps=400):
    blackjax, jax, jnp = peer("blackjax"), peer("jax"), peer("jax.numpy")
    kernel = blackjax.sghmc(lambda x, _: -4.0 * x, num_integration_steps=integration_steps, alpha=1.0)
    move = jax.jit(lambda key, x: kernel.step(key, x, None, 0.1))
    x, total = jnp.zeros(chains), 0.0
    for k, key in enumerate(jax.random.split(jax.random.PRNGKey(0), 2 * steps)):
        x = move(key, x)
        total += float(jnp.mean(x**2)) if k >= steps else 0.0
    return total / steps
