"""Building, certifying and lines, beside plain intervals and linear bounds on the same networks, in one run."""

import json
import math
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from experiments import robust_memorization as lab
from tests.reference import robust_memorization as reference

from descentlab import chapters
from descentlab import robust_memorization as rm

# Python of an environment that has auto_LiRPA, whose release needs torch < 1.13 and so an older Python: with it, the
# last test records what all verifiers say in book/cpu
LIRPA_PYTHON = os.environ.get("LIRPA_PYTHON")
RECORD = Path(__file__).parents[2] / "book" / "cpu" / "robust_memorization_verifiers.json"


@pytest.mark.benchmark(group="lift, N = 1000, d = 64, rho = 0.5")
def test_lift_builds(benchmark, capsys):
    X, y = lab.gaussian_data(1000, 64)
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
    X, _ = lab.gaussian_data(100, 64)
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
    X, y = lab.gaussian_data(48, 16)
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


def second_opinions():
    """Three networks, one a regime, by name."""
    return {
        "floor and lookup": rm.memorize(
            *lab.gaussian_data(48, 16), rho=1 / (5 * 48 * 4), method="small", projection=np.eye(16)
        ),
        "moderate, guarded": rm.memorize(
            *lab.gaussian_data(32, 8), rho=0.3 / (5 * math.sqrt(8)), method="moderate", projection=np.eye(8)
        ),
        "lift": rm.memorize(*lab.gaussian_data(48, 16), rho=0.5, method="lift", projection=np.eye(16)),
    }


def released_verifier(network, folder):
    """What auto_LiRPA proves: intervals and linear bounds, the latter also optimised where the network is shallow."""
    layers = rm.from_torch(network.network)
    arrays = {f"{name}{k}": getattr(layer, part) for k, layer in enumerate(layers)
              for name, part in (("w", "weight"), ("b", "bias"))}  # fmt: skip
    labels = network.points.labels[network.points.codes].astype(float)
    np.savez(folder / "network.npz", layers=len(layers), X=network.points.X, y=labels, radius=network.radius, **arrays)
    methods = ["IBP", "CROWN"] + ["CROWN-Optimized"] * (len(layers) < 20)
    command = [LIRPA_PYTHON, "-c", RELEASED, str(folder / "network.npz"), *methods]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


RELEASED = """
import json, sys, time
import numpy as np, torch
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
stored = np.load(sys.argv[1])
count, modules = int(stored["layers"]), []
for k in range(count):
    weight, bias = torch.from_numpy(stored[f"w{k}"]), torch.from_numpy(stored[f"b{k}"])
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data, linear.bias.data = weight, bias
    modules += [linear] + [torch.nn.ReLU()] * (k < count - 1)
X, y = torch.from_numpy(stored["X"]), stored["y"]
model, found = BoundedModule(torch.nn.Sequential(*modules), X[:1]), {}
for method in sys.argv[2:]:
    start, proved = time.process_time(), 0
    for begin in range(0, len(X), 16):
        x, labels = X[begin : begin + 16], y[begin : begin + 16]
        ball = BoundedTensor(x, PerturbationLpNorm(norm=2, eps=float(stored["radius"])))
        sides = [side.detach().numpy()[:, 0] for side in model.compute_bounds(x=(ball,), method=method)]
        proved += int(np.all([np.abs(side - labels) < 1e-6 for side in sides], axis=0).sum())
    found["auto_LiRPA, " + method] = {"proved": proved, "seconds": round(time.process_time() - start, 3)}
print(json.dumps(found))
"""


@pytest.mark.skipif(LIRPA_PYTHON is None, reason="LIRPA_PYTHON names no Python that has auto_LiRPA")
def test_verifiers_are_recorded(tmp_path, capsys):
    networks = {}
    for name, network in second_opinions().items():
        layers = [(layer.weight, layer.bias) for layer in rm.from_torch(network.network)]
        X, y = network.points.X, network.points.labels[network.points.codes]
        start = time.process_time()
        proved = int(rm.certify(network, X, y, radius=network.radius).proved.sum())
        said = {"the construction's proof": {"proved": proved, "seconds": round(time.process_time() - start, 4)}}
        for tool, bounds in {"intervals": reference.intervals, "linear bounds": reference.linear_bounds}.items():
            start = time.process_time()
            enclosed = np.array([bounds(layers, x, network.radius) for x in X])[:, :, 0]
            proved = int(np.all(np.abs(enclosed - y[:, None]) < 1e-6, axis=1).sum())
            said[tool] = {"proved": proved, "seconds": round(time.process_time() - start, 4)}
        said |= released_verifier(network, tmp_path)
        entry = {"balls": len(X), "parameters": network.num_parameters, "depth": network.depth, "verifiers": said}
        networks[name] = entry
        with capsys.disabled():
            print(f"\n{name}: {said}")
    environment = chapters.machine() | {"auto_LiRPA": "0.3 (torch 1.12.1)"}
    chapters.write_json(RECORD, {"environment": environment, "networks": networks})
