"""The algorithms word for word, in plain NumPy: one run, one step, one state at a time."""

from itertools import permutations

import numpy as np


def dense(hessians):
    """Hessians as matrices, whether given by their diagonals or not."""
    hessians = np.asarray(hessians, dtype=float)
    return np.array([np.diag(h) for h in hessians]) if hessians.ndim == 2 else hessians


def descend(hessians, linear, x0, *, learning_rate, orders, factors=None):
    """Iterates at the ends of epochs, `orders` holding the indices of each epoch."""
    H, b, x = dense(hessians), np.asarray(linear, dtype=float), np.array(x0, dtype=float)
    iterates, t = [x.copy()], 0
    for order in orders:
        for i in order:
            eta = learning_rate * (1.0 if factors is None else factors[t])
            x = x - eta * (H[i] @ x + b[i])
            t += 1
        iterates.append(x.copy())
    return np.array(iterates)


def quadratic_gap(hessians, linear, x):
    """F(x) minus its least value, from the definition of F."""
    H, b = dense(hessians), np.asarray(linear, dtype=float)

    def F(point):
        return np.mean([0.5 * point @ Hi @ point + bi @ point for Hi, bi in zip(H, b, strict=True)])

    return F(np.asarray(x, dtype=float)) - F(np.linalg.solve(H.mean(axis=0), -b.mean(axis=0)))


def step_matrices(hessians, linear, learning_rate):
    """The steps in homogeneous coordinates (x, 1)."""
    H, b = dense(hessians), np.asarray(linear, dtype=float)
    d = b.shape[1]
    U = np.tile(np.eye(d + 1), (len(b), 1, 1))
    U[:, :d, :d] -= learning_rate * H
    U[:, :d, d] = -learning_rate * b
    return U


def gap_of_moment(hessians, S):
    """Gap from the second moment of (x, 1), for sums whose minimiser is zero."""
    d = len(S) - 1
    return 0.5 * np.sum(dense(hessians).mean(axis=0) * S[:d, :d])


def start_moment(x0):
    point = np.append(np.asarray(x0, dtype=float), 1.0)
    return np.outer(point, point)


def replacement_gap(hessians, linear, x0, *, learning_rate, num_epochs):
    """Exact expectation with replacement: the mean over all components at each step."""
    U, S = step_matrices(hessians, linear, learning_rate), start_moment(x0)
    for _ in range(len(U) * num_epochs):
        S = np.mean([u @ S @ u.T for u in U], axis=0)
    return gap_of_moment(hessians, S)


def enumerated_gap(hessians, linear, x0, *, learning_rate, num_epochs):
    """Exact expectation reshuffled: the mean over all n! orders, epoch by epoch."""
    U, S = step_matrices(hessians, linear, learning_rate), start_moment(x0)
    for _ in range(num_epochs):
        total = np.zeros_like(S)
        orders = list(permutations(range(len(U))))
        for order in orders:
            T = np.eye(len(S))
            for i in order:
                T = U[i] @ T
            total += T @ S @ T.T
        S = total / len(orders)
    return gap_of_moment(hessians, S)


def two_types_gap(hessians, linear, x0, *, learning_rate, num_epochs):
    """Exact expectation reshuffled, first half of one type and second half of another: states (a, b), one by one."""
    U, S = step_matrices(hessians, linear, learning_rate), start_moment(x0)
    A, B, half = U[0], U[-1], len(U) // 2
    for _ in range(num_epochs):
        phi = {(0, 0): S}
        for a in range(half + 1):
            for b in range(half + 1):
                if a + b:
                    phi[a, b] = np.zeros_like(S)
                    if a:
                        phi[a, b] += a / (a + b) * A @ phi[a - 1, b] @ A.T
                    if b:
                        phi[a, b] += b / (a + b) * B @ phi[a, b - 1] @ B.T
        S = phi[half, half]
    return gap_of_moment(hessians, S)


def prefix_constant(vectors, order):
    z = np.asarray(vectors, dtype=float) - np.mean(vectors, axis=0)
    total, largest = np.zeros(z.shape[1]), 0.0
    for i in order:
        total = total + z[i]
        largest = max(largest, np.linalg.norm(total))
    return largest / max(np.linalg.norm(row) for row in z)


def herded_order(vectors):
    """Greedy herding, of ties the first."""
    z = np.asarray(vectors, dtype=float) - np.mean(vectors, axis=0)
    total, left, order = np.zeros(z.shape[1]), list(range(len(z))), []
    while left:
        norms = np.array([np.linalg.norm(total + z[i]) for i in left])
        i = left[int(np.flatnonzero(norms <= norms.min() + 1e-9)[0])]
        order.append(i)
        left.remove(i)
        total = total + z[i]
    return np.array(order)


def large_epoch_nonconvex_minimum(num_epochs, condition, n):
    """Least gap over steps, and the best step, in closed form on a fine grid: mu = G = 1, four quarters of equal steps."""
    eta = np.geomspace(0.05 / (n * num_epochs), 2.2 / condition, 200_000)
    x, growth = np.zeros_like(eta), np.ones_like(eta)
    with np.errstate(over="ignore", invalid="ignore"):
        for h, b in ((2 - condition, 1), (condition, 1), (condition, -1), (2 - condition, -1)):
            factor = (1 - eta * h) ** (n // 4)
            x = factor * x - b / h * (1 - factor)
            growth = growth * factor
        tilted = x * (1 - growth**num_epochs) / (1 - growth)
        gaps = 0.5 * tilted**2 + 0.5 * condition * (1 - eta) ** (2 * n * num_epochs)
    best = int(np.nanargmin(gaps))
    return gaps[best], eta[best]
