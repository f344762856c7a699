"""Sharpness tools on one trajectory in one process, and the minimal model beside dense and automatic differentiation."""

import time

import numpy as np
import pytest
import torch
from experiments import progressive_sharpening as lab
from scipy.sparse.linalg import eigsh
from tests.reference import progressive_sharpening as reference

from descentlab import progressive_sharpening as ps


def clock(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def with_curvlinops(points):
    curvlinops = pytest.importorskip("curvlinops")
    found = []
    for state in points.states:
        points.model.load_state_dict(state)
        params = {name: p for name, p in points.model.named_parameters() if p.requires_grad}
        arguments = (torch.nn.CrossEntropyLoss(), params, [(points.inputs, points.targets)])
        try:
            operator = curvlinops.HessianLinearOperator(points.model, *arguments, check_deterministic=False)
        except (AttributeError, TypeError, RuntimeError):  # releases up to 3.0 take a list of parameters
            arguments = (arguments[0], list(params.values()), arguments[2])
            operator = curvlinops.HessianLinearOperator(points.model, *arguments, check_deterministic=False)
        linear = operator.to_scipy()
        start = np.random.default_rng(0).standard_normal(linear.shape[0]).astype(linear.dtype)
        found.append(float(eigsh(linear, k=1, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)[0]))
    return found


def with_pyhessian(points):
    pyhessian = pytest.importorskip("pyhessian")
    found = []
    for state in points.states:
        points.model.load_state_dict(state)
        arguments = {"data": (points.inputs, points.targets), "cuda": False}
        tool = pyhessian.hessian(points.model, torch.nn.CrossEntropyLoss(), **arguments)
        found.append(tool.eigenvalues()[0][0])
        for p in points.model.parameters():  # it leaves gradients with their graphs
            p.grad = None
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.benchmark(group="sharpness along training")
def test_sharpness_beside_curvlinops_and_pyhessian(benchmark, kind):
    torch.set_num_threads(1)
    points = lab.snapshots(kind) if kind == "mlp" else lab.snapshots(kind, apart=10, num_samples=200)
    truth = lab.reference_sharpness(points)
    lab.evaluate(points)  # warm up
    peers = {name: clock(lambda tool=tool: tool(points)) for name, tool in
             {"curvlinops": with_curvlinops, "PyHessian": with_pyhessian}.items()}  # fmt: skip
    found = benchmark.pedantic(lab.evaluate, args=(points,), rounds=3)
    ours = benchmark.stats.stats.median
    benchmark.extra_info["HVPs an evaluation"] = round(float(np.mean([e.num_hvps for e in found])), 1)
    errors = {"": [float(e.values[0]) for e in found], **{f"{name} ": peer[1] for name, peer in peers.items()}}
    for name, values in errors.items():
        benchmark.extra_info[f"{name}error"] = f"{np.max(np.abs(np.array(values) / truth - 1)):.1e}"
    for name, (seconds, _) in peers.items():
        benchmark.extra_info[f"times {name}"] = round(seconds / ours, 1)
    print(f"\n{kind}: {ours:.2f} s; {benchmark.extra_info}")


@pytest.mark.benchmark(group="minimal model, r = 100, D = 3")
def test_minimal_model_beside_dense_and_autograd(benchmark):
    torch.set_num_threads(1)
    X, y = lab.two_classes(100)
    m = ps.MinimalModel(X, y, depth=3)
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((1000, X.shape[1])) / 28, rng.uniform(0.5, 1.5, (1000, 2))
    a = m.project(u)
    m.sharpness(a, v)  # compile
    dense, values = clock(lambda: [np.linalg.eigvalsh(m.hessian(*p))[-1] for p in zip(a[:50], v[:50], strict=True)])
    lab.autodiff_sharpness(X[:, :20], y, u[0, :20], v[0])
    auto, top = clock(lambda: lab.autodiff_sharpness(X, y, u[0], v[0])[-1])
    inputs, labels = torch.as_tensor(X), torch.as_tensor(y)
    leaves = [torch.as_tensor(u[0]).requires_grad_(), torch.as_tensor(v[0]).requires_grad_()]

    def loss():
        return ((inputs @ leaves[0] * leaves[1].prod() - labels) ** 2).mean() / 2

    hvps, (lanczos, _) = clock(lambda: reference.eigsh_largest(loss, leaves, tol=1e-10))
    found = benchmark.pedantic(m.sharpness, args=(a, v), rounds=5, warmup_rounds=1)
    ours = benchmark.stats.stats.median / 1000
    np.testing.assert_allclose(found[:50], values, rtol=1e-10)
    assert found[0] == pytest.approx(top, rel=1e-10) and found[0] == pytest.approx(lanczos, rel=1e-8)
    benchmark.extra_info["microseconds a point"] = round(1e6 * ours, 1)
    benchmark.extra_info["times dense"] = round(dense / 50 / ours)
    benchmark.extra_info["times autograd"] = round(auto / ours)
    benchmark.extra_info["times autograd with eigsh"] = round(hvps / ours)
    print(f"\n{1e6 * ours:.1f} µs a point; {benchmark.extra_info}")
