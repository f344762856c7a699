"""The sweep over step sizes through affine epoch operators beside loops over single steps, in one run."""

import time

import numpy as np
import pytest
from experiments import incremental_gd as lab

from descentlab import incremental_gd as igd

EPOCHS = (2, 4, 8, 16, 32, 64)


def sweep(epochs=EPOCHS):
    """Least gap over 120 step sizes, for each number of epochs."""
    return [igd.best_gap(*lab.shared_hessian_instance(num_epochs=k), num_epochs=k)[0] for k in epochs]


def plain_sweep(epochs=EPOCHS):
    """The same with a NumPy loop over steps, all step sizes side by side."""
    least = []
    for k in epochs:
        problem, x0 = lab.shared_hessian_instance(num_epochs=k)
        rates = igd.step_sizes(problem, k)[:, None]
        x = np.tile(x0, (len(rates), 1))
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(k):
                for h, b in zip(problem.hessians, problem.linear_terms, strict=True):
                    x = x - rates * (h * x + b)
        least.append(problem.gap(x).min())
    return least


def seconds(function, *arguments, repeat=3):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.benchmark(group="120 steps × 6 epoch counts, n = 200")
def test_sweep_beside_plain_loops(benchmark):
    np.testing.assert_allclose(sweep(), plain_sweep(), rtol=1e-9)  # compiles, too
    peer = seconds(plain_sweep)
    benchmark.pedantic(sweep, rounds=10, warmup_rounds=1)
    ours = benchmark.stats.stats.median
    growth = {k: [1e3 * seconds(f, [k]) for f in (sweep, plain_sweep)] for k in (4, 64, 1024)}
    benchmark.extra_info["seconds"] = round(ours, 4)
    benchmark.extra_info["peer"] = "NumPy loop over steps, all step sizes side by side"
    benchmark.extra_info["peer seconds"] = round(peer, 3)
    benchmark.extra_info["ratio"] = round(peer / ours)
    for k, (fast, plain) in growth.items():
        benchmark.extra_info[f"ms at K = {k}: operator, loop"] = [round(fast, 2), round(plain, 1)]
    print(f"\n{1e3 * ours:.1f} ms a sweep, {peer / ours:.0f} times a NumPy loop; ms by K: {growth}")


@pytest.mark.benchmark(group="expected gap over all orders, n = 200")
def test_expectation_beside_sampled_runs(benchmark):
    problem, _ = lab.nonconvex_instance(num_epochs=8)
    arguments = {"x0": np.zeros(2), "learning_rate": 1 / 1600, "num_epochs": 8}
    exact = igd.expected_gap(problem, **arguments)
    sampled = {"order": "reshuffled", "seed": np.arange(2000)}
    runs = igd.final_gaps(problem, **arguments, **sampled)
    assert abs(runs.mean() - exact) < 5 * runs.std() / np.sqrt(len(runs))
    peer = seconds(lambda: igd.final_gaps(problem, **arguments, **sampled), repeat=2)
    benchmark.pedantic(igd.expected_gap, args=(problem,), kwargs=arguments, rounds=5, warmup_rounds=1)
    ours = benchmark.stats.stats.median
    benchmark.extra_info["milliseconds"] = round(1e3 * ours, 2)
    benchmark.extra_info["peer"] = f"2000 runs, to {runs.std() / np.sqrt(2000) / runs.mean():.1%}"
    benchmark.extra_info["peer milliseconds"] = round(1e3 * peer, 1)
    benchmark.extra_info["ratio"] = round(peer / ours)
    print(f"\n{1e3 * ours:.1f} ms, {peer / ours:.0f} times as fast as 2000 runs")
