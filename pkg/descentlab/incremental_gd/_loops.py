"""Compiled loops: one run after the other, each with its order, its step size and the schedule's factor at each step.

Shapes: x (runs, d), orders (m, K, n), which (runs,) the order of a run, rates (runs,), factors (K n,); the result holds
the iterates at the ends of epochs, (K + 1, runs, d).
"""

import math

import numpy as np

from descentlab.compiled import njit


@njit
def diagonal_loop(h, b, x, orders, which, rates, factors):  # type: ignore[no-untyped-def]
    runs, d = x.shape
    _, epochs, n = orders.shape
    out = np.empty((epochs + 1, runs, d))
    out[0] = x
    for r in range(runs):
        for k in range(epochs):
            for t in range(n):
                i, step = orders[which[r], k, t], rates[r] * factors[k * n + t]
                for j in range(d):
                    x[r, j] -= step * (h[i, j] * x[r, j] + b[i, j])
            out[k + 1, r] = x[r]
    return out


@njit
def dense_loop(h, b, x, orders, which, rates, factors):  # type: ignore[no-untyped-def]
    runs, d = x.shape
    _, epochs, n = orders.shape
    out = np.empty((epochs + 1, runs, d))
    out[0] = x
    g = np.empty(d)
    for r in range(runs):
        for k in range(epochs):
            for t in range(n):
                i, step = orders[which[r], k, t], rates[r] * factors[k * n + t]
                for j in range(d):
                    g[j] = b[i, j]
                    for c in range(d):
                        g[j] += h[i, j, c] * x[r, c]
                for j in range(d):
                    x[r, j] -= step * g[j]
            out[k + 1, r] = x[r]
    return out


# may reorder sums, so that vector instructions apply, but not assume that all is finite
@njit(error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def logistic_loop(X, y, ridge, x, orders, which, rates, factors):  # type: ignore[no-untyped-def]
    runs, d = x.shape
    _, epochs, n = orders.shape
    out = np.empty((epochs + 1, runs, d))
    out[0] = x
    for r in range(runs):
        w = x[r]
        for k in range(epochs):
            for t in range(n):
                i, step = orders[which[r], k, t], rates[r] * factors[k * n + t]
                row, z = X[i], 0.0
                for j in range(d):
                    z += row[j] * w[j]
                pull = step * y[i] / (1 + math.exp(min(y[i] * z, 700.0)))
                keep = 1 - step * ridge
                for j in range(d):
                    w[j] = keep * w[j] + pull * row[j]
            out[k + 1, r] = w
    return out
