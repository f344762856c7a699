"""The split and the Gram form beside plain autograd, and a batch of seeds beside one, in one run."""

import functools
import statistics
import time

import pytest
import torch

from descentlab import weak_to_strong as w2s


def seconds_a_step(data, model, method, num_steps, repeats=3):
    labels = w2s.ideal_pseudo_labels(data)
    arguments = {"learning_rate": 0.1, "method": method, "record": [0]}
    w2s.train_strong(model, data, labels, num_steps=1, **arguments)  # warm up
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        w2s.train_strong(model, data, labels, num_steps=num_steps, **arguments)
        times.append((time.perf_counter() - start) / num_steps)
    return min(times)


def compare(benchmark, capsys, data, model, method, num_steps, peer_steps):
    peer = seconds_a_step(data, model, "autograd", peer_steps, repeats=1)
    labels = w2s.ideal_pseudo_labels(data)
    arguments = {"learning_rate": 0.1, "num_steps": num_steps, "method": method, "record": [0]}
    benchmark.pedantic(w2s.train_strong, args=(model, data, labels), kwargs=arguments, rounds=3, warmup_rounds=1)
    ours = benchmark.stats.stats.median / num_steps
    benchmark.extra_info["milliseconds per step"] = round(1e3 * ours, 3)
    benchmark.extra_info["peer"] = "torch.autograd on all patches"
    benchmark.extra_info["peer milliseconds per step"] = round(1e3 * peer, 2)
    benchmark.extra_info["ratio"] = round(peer / ours, 1)
    with capsys.disabled():
        print(f"\n{method}: {1e3 * ours:.2f} ms a step, {peer / ours:.1f} times autograd")


@pytest.mark.benchmark(group="weak to strong, split form, n = 8000, d = 1000")
def test_split_form_beside_autograd(benchmark, capsys):
    data = w2s.PatchData(8000, 1000, dtype=torch.float32)
    compare(benchmark, capsys, data, w2s.ReluCNN(1000, dtype=torch.float32), "split", 20, 5)


@pytest.mark.benchmark(group="weak to strong, Gram form, n = 400, d = 60000")
def test_gram_form_beside_autograd(benchmark, capsys):
    data = w2s.PatchData(400, 60_000, dtype=torch.float32)
    compare(benchmark, capsys, data, w2s.ReluCNN(60_000, dtype=torch.float32), "gram", 150, 5)


@pytest.mark.benchmark(group="weak to strong, 16 seeds beside one")
@pytest.mark.parametrize(("num_samples", "dim", "num_steps"), [(100, 1000, 200), (4000, 1000, 60)])
def test_seeds_in_a_batch(benchmark, capsys, num_samples, dim, num_steps):
    """Each round times the batch and, right before it, one seed sixteen times over: both see the same load."""
    runs = []
    for seed in (0, range(16)):
        data = w2s.PatchData(num_samples, dim, seed=seed, dtype=torch.float32)
        model = w2s.ReluCNN(dim, seed=seed, dtype=torch.float32)
        arguments = {"learning_rate": 0.1, "num_steps": num_steps, "record": [0]}
        runs.append(functools.partial(w2s.train_strong, model, data, w2s.ideal_pseudo_labels(data), **arguments))
    single, batch = runs
    ratios = []

    def round_of_both():
        times = [time.perf_counter()]
        for _ in range(16):
            single()
        times.append(time.perf_counter())
        batch()
        times.append(time.perf_counter())
        ratios.append(16 * (times[2] - times[1]) / (times[1] - times[0]))

    benchmark.pedantic(round_of_both, rounds=5, warmup_rounds=1)
    ratio = statistics.median(ratios[1:])
    benchmark.extra_info["cost of 16 seeds over one"] = round(ratio, 1)
    with capsys.disabled():
        print(f"\nn = {num_samples}, d = {dim}: 16 seeds cost {ratio:.1f} times one")
