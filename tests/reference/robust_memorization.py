"""Second opinions in plain NumPy, slow: brute force, formulas without networks, intervals and linear bounds."""

import itertools

import numpy as np


def separation(X, y, norm=2):
    pairs = itertools.combinations(range(len(X)), 2)
    return min(np.linalg.norm(X[i] - X[j], ord=norm) for i, j in pairs if y[i] != y[j]) / 2


def forward(layers, x):
    """The network at one point, neuron by neuron."""
    for number, (weight, bias) in enumerate(layers):
        x = np.array([sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)])
        if number < len(layers) - 1:
            x = np.where(x > 0, x, 0)
    return x


def lift_output(X, y, x, *, radius, num_levels):
    """What the lift computes at x, from distances and the sawtooth series, for labels 1, 2, … and no projection."""
    centre = (X.max(axis=0) + X.min(axis=0)) / 2
    size = np.abs(X - centre).max() + radius
    Z, z = (X - centre) / size, (x - centre) / size
    t = (z + 1) / 2
    wave, squares = t, t.copy()
    for level in range(1, num_levels + 1):
        wave = np.minimum(2 * wave, 2 - 2 * wave)
        squares = squares - wave / 4**level
    norm = (4 * squares - 4 * t + 1).sum()
    kept, near = separation(X, y) / size, radius / size
    low, high = -(near**2) - len(x) * 4.0**-num_levels, -((2 * kept - near) ** 2)
    u = (2 * Z @ z - (Z**2).sum(axis=1) - norm - high - (low - high) / 4) * 2 / (low - high)
    code = 0
    for bit in range(int(np.max(y) - 1).bit_length()):
        total = np.maximum(u[(y - 1) >> bit & 1 == 1], 0).sum()
        code += 2**bit * min(total, 1)
    return 1 + code


def intervals(layers, centre, radius):
    """Interval bound propagation over an l2 ball, without a thought for rounding."""
    weight, bias = layers[0]
    middle, reach = weight @ centre + bias, radius * np.linalg.norm(weight, axis=1)
    low, high = middle - reach, middle + reach
    for weight, bias in layers[1:]:
        low, high = np.maximum(low, 0), np.maximum(high, 0)
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        low, high = positive @ low + negative @ high + bias, positive @ high + negative @ low + bias
    return low, high


def linear_bounds(layers, centre, radius):
    """CROWN (Zhang et al. 2018): linear bounds, propagated backwards from each layer to the ball."""
    lows, highs = [], []
    for last in range(len(layers)):
        bounds = []
        for upper in (False, True):
            matrix, offset = layers[last]
            for k in range(last - 1, -1, -1):
                low, high = lows[k], highs[k]
                open_ = (low < 0) & (high > 0)
                width = np.where(open_, high - low, 1.0)
                above = np.where(open_, high / width, (low >= 0) * 1.0)
                shift = np.where(open_, -low * high / width, 0.0)
                below = np.where(open_, (high > -low) * 1.0, (low >= 0) * 1.0)
                positive, negative = np.maximum(matrix, 0), np.minimum(matrix, 0)
                if upper:
                    offset = offset + positive @ shift
                    matrix = positive * above + negative * below
                else:
                    offset = offset + negative @ shift
                    matrix = positive * below + negative * above
                weight, bias = layers[k]
                offset = offset + matrix @ bias
                matrix = matrix @ weight
            reach = radius * np.linalg.norm(matrix, axis=1)
            bounds.append(matrix @ centre + offset + (reach if upper else -reach))
        lows.append(bounds[0])
        highs.append(bounds[1])
    return lows[-1], highs[-1]
