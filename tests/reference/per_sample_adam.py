"""The paper's algorithms word for word, in plain NumPy: slow, and without protection against underflow."""

import numpy as np


def gradients(X, w):
    """Gradients of the logistic losses, one a row."""
    return -X / (1 + np.exp(X @ w))[:, None]


def adam(X, orders, *, betas, learning_rate=0.1, decay=0.5, eps=0.0, w0=None):
    """Iterates of Adam on the batches in `orders`, the start included."""
    w = np.zeros(X.shape[1]) if w0 is None else np.array(w0, dtype=float)
    m, v, iterates = np.zeros_like(w), np.zeros_like(w), [w]
    for t, batch in enumerate(orders):
        g = gradients(X[batch], w).mean(axis=0)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        w = w - learning_rate * (t + 2) ** -decay * m / (np.sqrt(v) + eps)
        iterates.append(w)
    return np.array(iterates)


def signum(X, orders, *, beta, learning_rate=0.1, decay=0.5):
    w, m, iterates = np.zeros(X.shape[1]), np.zeros(X.shape[1]), [np.zeros(X.shape[1])]
    for t, batch in enumerate(orders):
        m = beta * m + (1 - beta) * gradients(X[batch], w).mean(axis=0)
        w = w - learning_rate * (t + 2) ** -decay * np.sign(m)
        iterates.append(w)
    return np.array(iterates)


def adam_proxy(X, num_steps, *, learning_rate=0.1, decay=0.5):
    w, iterates = np.zeros(X.shape[1]), [np.zeros(X.shape[1])]
    for t in range(num_steps):
        g = gradients(X, w)
        w = w - learning_rate * (t + 2) ** -decay * g.sum(axis=0) / np.sqrt((g**2).sum(axis=0))
        iterates.append(w)
    return np.array(iterates)


def cyclic(num_samples, batch_size, num_steps):
    batches = np.arange(num_samples).reshape(-1, batch_size)
    return [batches[t % len(batches)] for t in range(num_steps)]
