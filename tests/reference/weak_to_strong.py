"""The paper's training word for word: loops over samples, patches and filters in plain NumPy."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def linear_output(w, X):
    return sum(w @ x for x in X)


def train_weak(patches, labels, *, learning_rate, num_steps):
    n, w = len(patches), np.zeros(patches.shape[-1])
    for _ in range(num_steps):
        w = w + learning_rate / n * sum(
            y * sigmoid(-y * linear_output(w, X)) * X.sum(axis=0) for X, y in zip(patches, labels, strict=True)
        )
    return w


def relu_output(W, X):
    """W has shape (2, m, d): filters of s = 1, then of s = -1."""
    m = W.shape[1]
    return sum(s / m * sum(max(0.0, w @ x) for w in W[k] for x in X) for k, s in enumerate((1, -1)))


def train_strong(W, patches, labels, *, learning_rate, num_steps):
    n, m = len(patches), W.shape[1]
    for _ in range(num_steps):
        gradient = np.zeros_like(W)
        for X, y in zip(patches, labels, strict=True):
            g = -y * sigmoid(-y * relu_output(W, X)) / n
            for k, s in enumerate((1, -1)):
                for r in range(m):
                    for x in X:
                        if W[k, r] @ x > 0:
                            gradient[k, r] += s / m * g * x
        W = W - learning_rate * gradient
    return W
