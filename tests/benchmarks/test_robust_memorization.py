"""Building, certifying and lines, beside plain intervals and linear bounds on the same networks, in one run."""

import time

import numpy as np
import pytest
from tests.reference import robust_memorization as reference

from descentlab import robust_memorization as rm


@pytest.mark.benchmark(group="lift, N = 1000, d = 64, rho = 0.5")
def test_lift_builds(benchmark, capsys):
    X, y = rm.gaussian_data(1000, 64)
    network = benchmark.pedantic(rm.memorize, args=(X, y), kwargs={"rho": 0.5, "method": "lift"}, rounds=3)
    start = time.perf_counter()
    proved = rm.certify(network, X, y, radius=network.radius).proved.mean()
    seconds = time.perf_counter() - start
    benchmark.extra_info["parameters"] = network.num_parameters
    benchmark.extra_info["seconds to certify 1000 balls"] = round(seconds, 3)
    with capsys.disabled():
        build = benchmark.stats.stats.median
        print(f"\nlift: built in {build:.2f} s, {proved:.0%} of 1000 balls proved in {seconds:.2f} s")


@pytest.mark.benchmark(group="exact lines, 10 layers, 50,000 parameters")
def test_lines(benchmark, capsys):
    X, _ = rm.gaussian_data(100, 64)
    rng = np.random.default_rng(0)
    program = rm.Program(64)
    x = program.units
    for _ in range(9):
        (x,) = program.relu(rng.standard_normal((75, len(x))) * np.sqrt(2 / len(x)) @ x)
    network = rm.to_torch(program.finish(x.sum()))
    starts, ends = X[:50], X[50:]

    def one_by_one():
        for start, end in zip(starts, ends, strict=True):
            rm.verify_line(network, start, end)

    benchmark.pedantic(one_by_one, rounds=3, warmup_rounds=1)
    rate = 50 / benchmark.stats.stats.median
    benchmark.extra_info["segments per second"] = round(rate)
    with capsys.disabled():
        size, kinks = rm.parameter_count(network), len(rm.verify_line(network, X[0], X[50])[0])
        print(f"\nexact lines: {rate:.0f} segments a second, {size} parameters, {kinks} breakpoints on one")


@pytest.mark.benchmark(group="certificates, N = 48, d = 16")
@pytest.mark.parametrize(("method", "rho"), [("small", 1 / (5 * 48 * 4)), ("lift", 0.5)])
def test_certificate_beside_generic_verifiers(benchmark, capsys, method, rho):
    X, y = rm.gaussian_data(48, 16)
    network = rm.memorize(X, y, rho=rho, method=method, projection=np.eye(16))
    layers = [(layer.weight, layer.bias) for layer in rm.from_torch(network.network)]
    result = benchmark.pedantic(rm.certify, args=(network, X, y), kwargs={"radius": network.radius}, rounds=3)
    lines = [f"ours {result.proved.mean():.0%} of the balls in {1e3 * benchmark.stats.stats.median:.1f} ms"]
    for name, bounds in {"intervals": reference.intervals, "linear bounds": reference.linear_bounds}.items():
        start = time.perf_counter()
        enclosed = np.array([bounds(layers, x, network.radius) for x in X])[:, :, 0]
        seconds = time.perf_counter() - start
        proved = np.mean(np.all(np.abs(enclosed - y[:, None]) < 1e-6, axis=1))
        benchmark.extra_info[name] = f"{proved:.0%} proved in {1e3 * seconds:.0f} ms"
        lines.append(f"{name} {proved:.0%} in {1e3 * seconds:.0f} ms")
    with capsys.disabled():
        print(f"\n{method}: " + ", ".join(lines))
