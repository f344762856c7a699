"""A step of ours beside the public package's and torch's fused AdamW, on as many parameters as the paper's model."""

import gc
import time
from importlib.util import find_spec

import pytest
import torch

from descentlab import schedule_free as sf

SIZES = [(50_304, 768), *12 * [(2304, 768), (768, 768), (3072, 768), (768, 3072)]]  # 124 million parameters
BYTES = 7 * 4  # a parameter: g, y, z, v are read, y, z, v are written


def parameters(device):
    found = [torch.nn.Parameter(torch.randn(shape, device=device)) for shape in SIZES]
    for p in found:
        p.grad = torch.full_like(p, 1e-3)
    return found


def seconds(optimizer, device, rounds=5):
    """Median of a few steps after one to warm up."""
    getattr(optimizer, "train", lambda: None)()
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[rounds // 2]


def memory_rate(device):
    """Bytes a second that the plainest operation in place moves: two arrays read, one written."""
    source = torch.randn(50_000_000, device=device)
    target = torch.zeros_like(source)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        target.add_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 3 * 4 * source.numel() / sorted(times[1:])[2]


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
@pytest.mark.benchmark(group="step of an optimizer, 124 million parameters")
def test_step_beside_peers(benchmark, capsys, device):
    implementation = "compiled" if device == "cuda" else "auto"
    others = {"torch.optim.AdamW, fused": lambda ps: torch.optim.AdamW(ps, fused=True)}
    if find_spec("schedulefree") is not None:
        from schedulefree import AdamWScheduleFree

        others["schedulefree, foreach"] = lambda ps: AdamWScheduleFree(ps, foreach=True)
    peers = {}
    for name, make in others.items():
        ps = parameters(device)
        peers[name] = seconds(make(ps), device)
        del ps
        gc.collect()
    floor = BYTES * sum(a * b for a, b in SIZES) / memory_rate(device)
    ps = parameters(device)
    ours = sf.ScheduleFreeAdamW(ps, implementation=implementation)
    ours.train()
    ours.step()  # compiles, and makes the state

    def step():
        ours.step()
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
    median = benchmark.stats.stats.median
    benchmark.extra_info |= {"device": device, "milliseconds": round(1e3 * median, 1)}
    benchmark.extra_info["fraction of the floor that memory sets"] = round(floor / median, 2)
    for name, value in peers.items():
        benchmark.extra_info[f"time over that of {name}"] = round(median / value, 2)
    with capsys.disabled():
        print(f"\n{device}: {benchmark.extra_info}")
