"""Exact rates beside all n! orders written out, and exact moments beside simulated runs, in one run."""

import time
from itertools import permutations

import numpy as np
import pytest
from experiments import coordinate_descent as lab

from descentlab import coordinate_descent as cd

G = np.random.default_rng(0).standard_normal((14, 17))


def matrix(n):
    return cd.unit_diagonal(G[:n] @ G[:n].T)


def seconds(function, *arguments, **options):
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def rate_by_enumeration(A):
    """The plain way: an n² × n² matrix, averaged over all orders."""
    n = len(A)
    steps = lab.coordinate_maps(A)
    operator = np.zeros((n * n, n * n))
    for order in permutations(range(n)):
        T = np.eye(n)
        for i in order:
            T = steps[i] @ T
        operator += np.kron(T, T)
    count = len(list(permutations(range(n))))
    return np.abs(np.linalg.eigvals(operator / count)).max()


@pytest.mark.benchmark(group="rate of a generic matrix, n = 8")
def test_rate_beside_all_orders(benchmark):
    A = matrix(8)
    cd.rpcd_rate(A)  # compile
    plain = seconds(rate_by_enumeration, A)
    benchmark.pedantic(cd.rpcd_rate, args=(A,), rounds=10, warmup_rounds=1)
    ours = benchmark.stats.stats.median
    benchmark.extra_info["peer"] = "mean over all 8! orders"
    benchmark.extra_info["peer seconds"] = round(plain, 2)
    benchmark.extra_info["ratio"] = round(plain / ours)
    print(f"\n{1e3 * ours:.1f} ms, {plain / ours:.0f} times as fast as all orders ({plain:.1f} s)")


@pytest.mark.parametrize("n", [12, 14])
@pytest.mark.benchmark(group="rate of a generic matrix")
def test_rate(benchmark, n):
    cd.rpcd_rate(matrix(8))  # compile
    benchmark.pedantic(cd.rpcd_rate, args=(matrix(n),), rounds=3, warmup_rounds=1)
    benchmark.extra_info["coordinates"] = n


@pytest.mark.benchmark(group="rate on the permutation-invariant class, n = 1000")
def test_invariant_rate(benchmark):
    benchmark.pedantic(cd.rpcd_rate_invariant, args=(1000, 0.3), rounds=100, warmup_rounds=5)


@pytest.mark.benchmark(group="worst-case search, n = 6, ten starts")
def test_worst_case_search(benchmark):
    lab.worst_case_search(3, 0.2, num_starts=1, seed=0)  # compile
    arguments = {"num_starts": 10, "seed": 0}
    benchmark.pedantic(lab.worst_case_search, args=(6, 0.2), kwargs=arguments, rounds=3)


@pytest.mark.benchmark(group="mean squared distance after 40 epochs, n = 25")
def test_exact_moments_beside_runs(benchmark):
    A, start = cd.permutation_invariant(25, 0.05), np.eye(25)
    x0 = np.random.default_rng(0).standard_normal((20_000, 25))
    cd.coordinate_descent_invariant(25, 0.05, x0[:2], num_epochs=1)  # compile
    plain = seconds(cd.coordinate_descent_invariant, 25, 0.05, x0, num_epochs=40)
    options = {"num_epochs": 40, "second_moment": start}
    benchmark.pedantic(cd.expected_moments, args=(A, None), kwargs=options, rounds=20, warmup_rounds=1)
    ours = benchmark.stats.stats.median
    benchmark.extra_info["peer"] = "20000 compiled runs, to one percent"
    benchmark.extra_info["peer seconds"] = round(plain, 2)
    benchmark.extra_info["million updates a second"] = round(20_000 * 40 * 25 / plain / 1e6, 1)
    benchmark.extra_info["ratio"] = round(plain / ours)


@pytest.mark.benchmark(group="coordinate descent runs beside scikit-learn, n = 10")
def test_runs_beside_scikit_learn(benchmark):
    A, runs = cd.permutation_invariant(10, 0.1), 4000
    x0 = np.random.default_rng(0).standard_normal((runs, 10))
    cd.coordinate_descent(A, x0[:2], num_epochs=1)  # compile
    peer = seconds(lab.scikit_learn_norms, A, num_epochs=8, num_runs=runs)
    options = {"num_epochs": 8, "method": "rcd"}
    benchmark.pedantic(cd.coordinate_descent, args=(A, x0), kwargs=options, rounds=5, warmup_rounds=1)
    benchmark.extra_info["peer"] = "scikit-learn, selection='random'"
    benchmark.extra_info["peer seconds"] = round(peer, 3)
    benchmark.extra_info["ratio"] = round(peer / benchmark.stats.stats.median, 1)
