"""Compiled loops of the minimal model: exact sharpness, gradient descent and SGD in reduced coordinates."""

from __future__ import annotations

import numpy as np

from descentlab.compiled import njit

MAX_HALVINGS = 1100  # from the largest to the smallest float; about 60 are typical


@njit
def products(v):
    """Product of the layers, and for each layer the product of the others, without a division."""
    whole, others = v[0], np.ones_like(v)
    for i in range(1, len(v)):
        whole *= v[i]
    for i in range(len(v)):
        for j in range(len(v)):
            if j != i:
                others[i] *= v[j]
    return whole, others


@njit
def layer_block(v, q, zz, zr, num_samples):
    """Hessian of the loss in the scalar layers, shape (D - 1, D - 1); exact also where a layer is zero."""
    size = len(v)
    block = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            block[i, j] = q[i] * q[j] * zz / num_samples
            if i != j:
                rest = 1.0
                for k in range(size):
                    if k != i and k != j:
                        rest *= v[k]
                block[i, j] += rest * zr / num_samples
    return block


@njit(fastmath=True)
def _pull(h2, poles, level):
    total = 0.0
    for k in range(len(h2)):
        total += h2[k] / (level - poles[k])
    return total


@njit
def _is_above(level, block, q, pull):
    """Whether all eigenvalues lie below `level`: a Cholesky factorisation of the Schur complement succeeds."""
    size = len(q)
    factor = np.empty((size, size))
    for i in range(size):
        for j in range(i + 1):
            value = -block[i, j] - pull * q[i] * q[j]
            if i == j:
                value += level
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                if not value > 0.0:
                    return False
                factor[i, i] = np.sqrt(value)
            else:
                factor[i, j] = value / factor[j, j]
    return True


@njit
def sharpness(sigma, labels, num_samples, a, v, out):
    """Largest Hessian eigenvalue at each of the points a (m, r), v (m, D - 1)."""
    h2, poles = np.empty(len(sigma)), np.empty(len(sigma))
    for m in range(len(a)):
        whole, q = products(v[m])
        zz = zr = hh = 0.0
        for k in range(len(sigma)):
            z = sigma[k] * a[m, k]
            zz += z * z
            zr += z * (whole * z - labels[k])
            h2[k] = (sigma[k] * (2 * whole * z - labels[k]) / num_samples) ** 2
            hh += h2[k]
            poles[k] = (whole * sigma[k]) ** 2 / num_samples
        block = layer_block(v[m], q, zz, zr, num_samples)
        low, high = poles[0], max(poles[0], np.sqrt(np.sum(block**2))) + np.sqrt(hh * np.sum(q**2))
        for i in range(len(q)):
            low = max(low, block[i, i])
        high *= 1 + 1e-15
        if not np.isfinite(high):
            out[m] = np.nan
            continue
        for _ in range(MAX_HALVINGS):
            level = 0.5 * (low + high)
            if level <= low or level >= high:
                break
            if _is_above(level, block, q, _pull(h2, poles, level)):
                high = level
            else:
                low = level
        out[m] = 0.5 * (low + high)


@njit
def minimum_sharpness(sigma, labels, num_samples, v2, out):
    """Largest eigenvalue of (P² diag(σ²) + h d dᵀ) / N for each of the layers' squares v2 (m, D - 1)."""
    d2 = labels**2
    for m in range(len(v2)):
        product, h = np.prod(v2[m]), np.sum(1 / v2[m])
        poles = product * sigma**2
        low, high = poles[0], (poles[0] + h * np.sum(d2)) * (1 + 1e-15)
        for _ in range(MAX_HALVINGS):
            level = 0.5 * (low + high)
            if level <= low or level >= high:
                break
            if h * _pull(d2, poles, level) < 1.0:
                high = level
            else:
                low = level
        out[m] = 0.5 * (low + high) / num_samples


@njit
def descend(sigma, labels, num_samples, a, v, rate, steps, path_a, path_v, loss):
    """Gradient descent in the floating-point type of the arrays; iterates at `steps` go to the paths."""
    row = 0
    residual = np.empty_like(a)
    for t in range(steps[-1] + 1):
        whole, q = products(v)
        squares = inner = whole - whole  # a zero of the arrays' type
        for k in range(len(a)):
            z = sigma[k] * a[k]
            residual[k] = whole * z - labels[k]
            squares += residual[k] * residual[k]
            inner += z * residual[k]
        if t == steps[row]:
            path_a[row], path_v[row], loss[row] = a, v, squares / (2 * num_samples)
            row += 1
        for k in range(len(a)):
            a[k] -= rate * (whole / num_samples) * (sigma[k] * residual[k])
        for i in range(len(v)):
            v[i] -= rate * (q[i] / num_samples) * inner


@njit(fastmath={"reassoc", "contract", "nsz"})
def descend_in_batches(rows, targets, a, v, rate, batches, steps, path_a, path_v):
    """Gradient descent on the mini-batches (num_steps, B); iterates at `steps` go to the paths."""
    row = 0
    gradient = np.empty_like(a)
    for t in range(steps[-1] + 1):
        if t == steps[row]:
            path_a[row], path_v[row] = a, v
            row += 1
        if t == steps[-1]:
            break
        whole, q = products(v)
        inner = 0.0
        gradient[:] = 0.0
        for n in batches[t]:
            features = rows[n]
            score = 0.0
            for k in range(len(a)):
                score += features[k] * a[k]
            residual = whole * score - targets[n]
            inner += score * residual
            for k in range(len(a)):
                gradient[k] += residual * features[k]
        scale = rate / batches.shape[1]
        for k in range(len(a)):
            a[k] -= scale * whole * gradient[k]
        for i in range(len(v)):
            v[i] -= scale * q[i] * inner
