"""The paper's algorithms word for word, in plain NumPy, and a table of runs made by another implementation."""

import numpy as np


def adamw(start, gradient, num_steps, *, lr, betas, eps=1e-8, weight_decay=0.0, warmup_steps=0, c=None):
    """Algorithms 1 and 2: the sequences x and y, shapes (num_steps, d); `gradient` maps (y, t) to a gradient."""
    x, z, v = np.array(start, float), np.array(start, float), np.zeros(len(start))
    squares, xs, ys = 0.0, [], []
    for t in range(1, num_steps + 1):
        y = (1 - betas[0]) * z + betas[0] * x
        g = gradient(y, t)
        v = betas[1] * v + (1 - betas[1]) * g * g
        rate = lr * (min(1, t / warmup_steps) if warmup_steps else 1)
        z = z - rate * g / (np.sqrt(v / (1 - betas[1] ** t)) + eps) - rate * weight_decay * y
        squares += rate**2
        average = rate**2 / squares
        if c is not None:
            average = min(average * (1 - betas[0]) * c, 1)
        x = (1 - average) * x + average * z
        xs.append(x)
        ys.append((1 - betas[0]) * z + betas[0] * x)
    return np.array(xs), np.array(ys)


def sgd(start, gradient, num_steps, *, lr, beta, weight_decay=0.0, warmup_steps=0, c=None):
    x, z = np.array(start, float), np.array(start, float)
    squares, xs, ys = 0.0, [], []
    for t in range(1, num_steps + 1):
        y = (1 - beta) * z + beta * x
        rate = lr * (min(1, t / warmup_steps) if warmup_steps else 1)
        z = z - rate * (gradient(y, t) + weight_decay * y)
        squares += rate**2
        average = rate**2 / squares
        if c is not None:
            average = min(average * (1 - beta) * c, 1)
        x = (1 - average) * x + average * z
        xs.append(x)
        ys.append((1 - beta) * z + beta * x)
    return np.array(xs), np.array(ys)


def weights(num_steps, *, beta, c=None):
    """Weights of the gradient points in x_T, by carrying x as a vector of coefficients of y_1, …, y_T."""
    x = np.zeros(num_steps)
    for t in range(1, num_steps + 1):
        average = 1 / t if c is None else min((1 - beta) * c / t, 1)
        average = 1.0 if t == 1 else average
        y = np.eye(num_steps)[t - 1]
        # y = (1 - beta) z + beta x_t and x_t = (1 - average) x + average z; solve for z, then for x_t
        z = (y - beta * (1 - average) * x) / (1 - beta + beta * average)
        x = (1 - average) * x + average * z
    return x


def llama(tokens, weights, *, num_heads):
    """Scores of one sequence, a position and a head at a time; `weights` is the module's state as arrays."""

    def norm(rows, scale):
        return rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + 1e-5) * scale

    def turn(vector, position):
        pairs = vector[::2] + 1j * vector[1::2]
        angles = position * 10_000.0 ** (-np.arange(0, len(vector), 2) / len(vector))
        turned = pairs * np.exp(1j * angles)
        return np.stack([turned.real, turned.imag], axis=-1).ravel()

    h = weights["embedding.weight"][tokens]
    length, dim = h.shape
    size, block = dim // num_heads, 0
    while f"blocks.{block}.norm1.weight" in weights:
        w = {k.split(".", 2)[2]: v for k, v in weights.items() if k.startswith(f"blocks.{block}.")}
        q, k, v = np.split(norm(h, w["norm1.weight"]) @ w["attention.mix.weight"].T, 3, axis=1)
        mixed = np.zeros_like(h)
        for head in range(num_heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(length):
                scores = np.array([turn(q[i, part], i) @ turn(k[j, part], j) / np.sqrt(size) for j in range(i + 1)])
                share = np.exp(scores - scores.max())
                mixed[i, part] = share / share.sum() @ v[: i + 1, part]
        h = h + mixed @ w["attention.out.weight"].T
        gate, value = np.split(norm(h, w["norm2.weight"]) @ w["gates.weight"].T, 2, axis=1)
        h = h + (gate / (1 + np.exp(-gate)) * value) @ w["down.weight"].T
        block += 1
    return norm(h, weights["norm.weight"]) @ weights["embedding.weight"].T


# First four entries of y and x that the package schedulefree 1.4.1 computes: 300 steps in float64 with the gradients of
# `random_gradients(300, 12)`, whose first row is the start
PUBLIC = {
    "AdamW": (  # AdamWScheduleFree(lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, warmup_steps=100)
        (0.19278649804465084, -0.1545275772561724, 0.5972840939942019, 0.11148905413297448),
        (0.19160384825771315, -0.15214203144734045, 0.5948240904353026, 0.115605556682205),
    ),
    "SGD": (  # SGDScheduleFree(lr=0.1, momentum=0.8, weight_decay=0.2, warmup_steps=20)
        (0.305590614126561, -0.06314658128161851, 0.4164221337722581, -0.10449189850493484),
        (0.3559191950085016, -0.05359850788235132, 0.3268159464873075, 0.01827293670565154),
    ),
}

# Validation losses of an independent implementation, two seeds a run


def _runs(kinds, *seeds, **same):
    return tuple(dict(zip(kinds, values, strict=True)) | same for values in seeds)


_FREE, _REFINED = ("x", "y", "ema_x", "ema_y", "short"), ("x", "y")
_SLOW = {"segment": (1.9556, 1.94, 1.9283)}
LANGUAGE = {
    "AdamW 0.005": _runs(
        ("x", "ema_x", "decay", "short"),
        (1.9802, 1.9201, 1.9073, 1.9134),
        (1.9961, 1.9322, 1.9207, 1.9321),
        segment=(2.0045, 1.9516, 1.9777),
        decay_segment=(2.0045, 1.95, 1.9111),
    ),
    "SF 0.1": _runs(_FREE, (2.2144, 2.0708, 2.2325, 1.9811, 2.1042), (2.1846, 2.1399, 2.1975, 1.9879, 2.0944)),
    "SF 0.5": _runs(_FREE, (2.0668, 2.0247, 2.0853, 1.9526, 2.0100), (1.9884, 2.0164, 1.9986, 1.9245, 1.9564)),
    "SF 0.9": _runs(_FREE, (1.8921, 1.9201, 1.9000, 1.8906, 1.8900), (1.9021, 1.9377, 1.9084, 1.9013, 1.8980), **_SLOW),
    "SF 0.95": _runs(_FREE, (1.9283, 1.9443, 1.9324, 1.9284, 1.9242), (1.9155, 1.9491, 1.9177, 1.9149, 1.9120)),
    # of the next and of the last run the second seed was not made: the value at the plain rate, and the first again
    "SF 0.95, lr=0.04": _runs(("x",), (1.9022,), (1.9155,)),
    "SF 0.1, C=50": _runs(_REFINED, (1.9787, 2.0566), (1.9971, 2.1013)),
    "SF 0.5, C=50": _runs(_REFINED, (1.9303, 2.0093), (1.9285, 2.0079)),
    "SF 0.95, C=50": _runs(_REFINED, (1.9002, 1.9179), (1.8965, 1.9236)),
    "SF 0.5, C=20": _runs(_REFINED, (1.9328, 2.0345), (1.9328, 2.0345)),
}
LARGE_BATCH = {
    "AdamW 0.005 cosine": _runs(("x",), (1.8741,), (1.8741,)),  # the second seed was not run: the first again
    "AdamW 0.01 cosine": _runs(("x",), (1.8421,), (1.8527,)),
    "AdamW 0.02 cosine": _runs(("x",), (1.8402,), (1.8313,)),
    "SF 0.98, lr=0.03": _runs(("x",), (1.8558,), (1.8497,)),
    "SF 0.98, C=200, lr=0.03": _runs(("x",), (1.8407,), (1.8298,)),
    "SF 0.98, C=100, lr=0.03": _runs(("x",), (1.8295,), (1.8224,)),
}
