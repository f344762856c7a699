"""A stage of training in turn beside the same loop in PyTorch, in one run."""

import time

import pytest
import torch
from experiments import continual_classification as lab

from descentlab import continual_classification as cc

TASKS = lab.plane_tasks()  # two tasks of two points in the plane
STAGES, STEPS = 1_000_000, 10


def torch_loop(num_stages):
    tasks = [torch.as_tensor(TASKS[m]) for m in range(2)]
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    for t in range(num_stages):
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.nn.functional.softplus(-(tasks[t % 2] @ w)).sum().backward()
            optimizer.step()


def train(num_stages):
    return cc.sequential_gd(TASKS, num_stages=num_stages, num_steps=STEPS, learning_rate=0.1)


@pytest.mark.benchmark(group="a stage of ten steps, d = 2")
def test_a_stage_beside_torch(benchmark):
    train(10)  # compile
    torch_loop(10)  # warm up
    start = time.perf_counter()
    torch_loop(200)
    peer = (time.perf_counter() - start) / 200
    benchmark.pedantic(train, args=(STAGES,), rounds=5, warmup_rounds=1)
    ours = benchmark.stats.stats.median / STAGES
    benchmark.extra_info["microseconds per stage"] = round(1e6 * ours, 3)
    benchmark.extra_info["peer"] = "torch.optim.SGD"
    benchmark.extra_info["peer microseconds per stage"] = round(1e6 * peer, 1)
    benchmark.extra_info["ratio"] = round(peer / ours)
    print(f"\n{1e6 * ours:.2f} µs a stage, {peer / ours:.0f} times a torch.optim.SGD loop")
