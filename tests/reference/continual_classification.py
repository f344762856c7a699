"""Training in turn and its forgetting word for word, in plain NumPy: slow, and with the losses' difference as written."""

import numpy as np


def loss(X, w):
    return np.log1p(np.exp(-X @ w)).sum()


def gradient(X, w):
    return -X.T @ (1 / (1 + np.exp(X @ w)))


def sequential_gd(tasks, stages, *, num_steps, learning_rate, w0=None):
    """Weights after 0, 1, … stages."""
    w = np.zeros(tasks[0].shape[1]) if w0 is None else np.array(w0, dtype=float)
    weights = [w]
    for m in stages:
        for _ in range(num_steps):
            w = w - learning_rate * gradient(tasks[m], w)
        weights.append(w)
    return np.array(weights)


def cycle_averaged_forgetting(tasks, order, *, num_cycles, num_steps, learning_rate):
    """Forgetting of each task, by its number, in each cycle, and the largest slope of the loss at any iterate."""
    w = np.zeros(tasks[0].shape[1])
    per_task, steepest = np.empty((num_cycles, len(tasks))), np.zeros(num_cycles)
    X = np.concatenate(tasks)
    for cycle in range(num_cycles):
        own = np.empty(len(tasks))
        for m in order:
            for _ in range(num_steps):
                steepest[cycle] = max(steepest[cycle], (1 / (1 + np.exp(X @ w))).max())
                w = w - learning_rate * gradient(tasks[m], w)
            own[m] = loss(tasks[m], w)
        steepest[cycle] = max(steepest[cycle], (1 / (1 + np.exp(X @ w))).max())
        per_task[cycle] = [loss(tasks[m], w) - own[m] for m in range(len(tasks))]
    return per_task, steepest


def alignment(tasks):
    positive, negative = np.zeros((2, len(tasks), len(tasks)))
    for p, first in enumerate(tasks):
        for q, second in enumerate(tasks):
            for x in first:
                for y in second:
                    positive[p, q] += max(0.0, x @ y)
                    negative[p, q] += min(0.0, x @ y)
    return positive, negative


def network_weights(dim, width, rng):
    """Weights (V, b, a, c) of the output a · relu(Vx + b) + c, uniform within one over the root of a layer's inputs."""
    shapes, inputs = ((width, dim), (width,), (width,), ()), (dim, dim, width, width)
    return [rng.uniform(-(n**-0.5), n**-0.5, shape) for shape, n in zip(shapes, inputs, strict=True)]


def network_accuracy(train, test, weights, *, num_cycles, num_steps, learning_rate):
    """Share of the test rows of each task that the network gets right, trained in turn on mean losses.

    Tasks are pairs (X, y) with labels ±1.
    """
    V, b, a, c = (np.asarray(w, dtype=train[0][0].dtype) for w in weights)
    for _ in range(num_cycles):
        for X, y in train:
            for _ in range(num_steps):
                before = X @ V.T + b
                hidden = np.maximum(before, 0)
                slope = -y / (1 + np.exp(y * (hidden @ a + c))) / len(y)
                back = slope[:, None] * a * (before > 0)
                a, c = a - learning_rate * hidden.T @ slope, c - learning_rate * slope.sum()
                V, b = V - learning_rate * back.T @ X, b - learning_rate * back.sum(axis=0)
    return [np.mean(y * (np.maximum(X @ V.T + b, 0) @ a + c) > 0) for X, y in test]
