"""Single-sample Adam beside a loop over torch.optim.Adam, in one run."""

import time

import numpy as np
import pytest
import torch

from descentlab import per_sample_adam as psa

X = np.random.default_rng(0).standard_normal((10, 50))  # 10 samples in 50 dimensions
STEPS = 1_000_000


def torch_loop(num_steps):
    rows = torch.as_tensor(X)
    w = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1, betas=(0.9, 0.95), eps=0.0)
    for t in range(num_steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (t + 2) ** -0.5
        optimizer.zero_grad()
        torch.nn.functional.softplus(-(rows[t % 10] @ w)).backward()
        optimizer.step()


@pytest.mark.benchmark(group="single-sample Adam, d = 50")
def test_adam_beside_torch(benchmark, capsys):
    psa.adam(X, num_steps=10)  # compile
    torch_loop(100)  # warm up
    start = time.perf_counter()
    torch_loop(2000)
    peer = (time.perf_counter() - start) / 2000
    benchmark.pedantic(psa.adam, args=(X,), kwargs={"num_steps": STEPS}, rounds=5, warmup_rounds=1)
    ours = benchmark.stats.stats.median / STEPS
    benchmark.extra_info["microseconds per step"] = round(1e6 * ours, 3)
    benchmark.extra_info["peer"] = "torch.optim.Adam"
    benchmark.extra_info["peer microseconds per step"] = round(1e6 * peer, 1)
    benchmark.extra_info["ratio"] = round(peer / ours)
    with capsys.disabled():
        print(f"\n{1e6 * ours:.2f} µs a step, {peer / ours:.0f} times a torch.optim.Adam loop")
