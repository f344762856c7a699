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


def image_patches(units, classes, num_samples, turn, rng):
    """Patches, labels and kinds (0 easy, 1 hard, 2 both); `units` are centred images of norm 1.5, drawn with replacement."""
    pools = {c: units[classes == c] for c in (0, 5, 1, 7)}
    X, y, kinds = (
        np.empty((num_samples, 3, 784)),
        rng.choice([-1, 1], num_samples),
        rng.choice(3, num_samples, p=(0.2, 0.3, 0.5)),
    )
    for patches, label, kind in zip(X, y, kinds, strict=True):
        easy, hard = (pools[c][rng.integers(len(pools[c]), size=2)] for c in ((0, 1) if label > 0 else (5, 7)))
        sign = rng.choice([-1, 1])
        patches[0] = sign * hard[0] if kind == 1 else easy[0]
        patches[1] = easy[1] if kind == 0 else (turn * sign if kind == 1 else sign) * hard[1]
        patches[2] = rng.standard_normal(784) / 28
    return X.astype(np.float32), y.astype(np.float32), kinds


def image_lesson(train, test, *, turn, seed, num_samples, num_steps, rate=5.0, num_filters=20):
    """Accuracy of a linear teacher, of its student at best, on hard-only images, and of a student of the truth at best.

    `turn` is the sign of the second image of a hard-only sample relative to the first. On hard-only images: where the
    student is best for opposite signs, the largest for equal ones, as claims C9b and C9d read.
    """
    rng, mean = np.random.default_rng(seed), train[0].mean(axis=0)
    (units, classes), (test_units, test_classes) = (
        (1.5 * (x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True), t) for x, t in (train, test)
    )
    weak, weak_labels, _ = image_patches(units, classes, 2000, turn, rng)
    X, y, _ = image_patches(units, classes, num_samples, turn, rng)
    fresh, truth, kinds = image_patches(test_units, test_classes, 2000, turn, rng)
    w = np.zeros(784, dtype=np.float32)
    for _ in range(300):
        w += rate / len(weak) * (weak_labels * sigmoid(-weak_labels * (weak.sum(axis=1) @ w))) @ weak.sum(axis=1)
    side = np.repeat([1.0, -1.0], num_filters).astype(np.float32) / num_filters
    start = (0.01 * rng.standard_normal((2 * num_filters, 784))).astype(np.float32)
    curves = []
    for labels in (np.where(X.sum(axis=1) @ w >= 0, 1, -1).astype(np.float32), y):
        W, right = start.copy(), []
        for step in range(num_steps + 1):
            if step % 10 == 0:
                right.append((np.maximum(fresh @ W.T, 0) @ side).sum(axis=1) * truth > 0)
            active = X @ W.T
            slope = -labels * sigmoid(-labels * (np.maximum(active, 0) @ side).sum(axis=1)) / len(y)
            W -= rate * ((active > 0) * side * slope[:, None, None]).reshape(-1, len(W)).T @ X.reshape(-1, 784)
        curves.append(np.array(right))
    student, ceiling = (c.mean(axis=1) for c in curves)
    hard = curves[0][:, kinds == 1].mean(axis=1)
    teacher = np.mean((fresh.sum(axis=1) @ w >= 0) == (truth > 0))
    return teacher, student.max(), hard.max() if turn == 1 else hard[student.argmax()], ceiling.max()
