"""The paper's model in the original weights, literally, and the sharpness tools that people use instead of ours."""

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh


def network_step(X, y, u, v, rate, batch=None):
    """One step of (S)GD on f(x) = (x'u) v_1 ... v_{D-1}, layer by layer."""
    rows, labels = (X, y) if batch is None else (X[batch], y[batch])
    whole = np.prod(v)
    residual = whole * (rows @ u) - labels
    gradient_u = whole * residual @ rows / len(rows)
    gradient_v = np.array([np.prod(np.delete(v, i)) * residual @ (rows @ u) / len(rows) for i in range(len(v))])
    return u - rate * gradient_u, v - rate * gradient_v


def midpoint_drift(model, a, v, rate, num_steps):
    """Imbalance that the midpoint rule, a method of second order, leaves after a run from a balanced start."""
    for _ in range(num_steps):
        slope_a, slope_v = model.gradient(a, v)
        slope_a, slope_v = model.gradient(a - rate / 2 * slope_a, v - rate / 2 * slope_v)
        a, v = a - rate * slope_a, v - rate * slope_v
    return float(model.imbalance(a, v)[0])


def difficulties(pixels, labels, classes, counts, num_subsets, *, seed):
    """Squared norm of the shortest interpolator, by least squares, on prefixes of random subsets of two classes."""
    rng, members = np.random.default_rng(seed), np.flatnonzero(np.isin(labels, classes))
    found = np.empty((num_subsets, len(counts)))
    for row in found:
        chosen = rng.choice(members, max(counts), replace=False)
        X = (pixels[chosen].reshape(len(chosen), -1).astype(float) - 0.2860) / 0.3530
        y = np.where(labels[chosen] == classes[0], 1.0, -1.0)
        row[:] = [np.sum(np.linalg.lstsq(X[:n], y[:n])[0] ** 2) for n in counts]
    return found


def hessian_product(loss_fn, params):
    """Hessian-vector products with the graph rebuilt each time."""
    sizes = [p.numel() for p in params]

    def product(vector):
        gradients = torch.autograd.grad(loss_fn(), params, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in gradients])
        columns = torch.autograd.grad(flat @ vector, params)
        assert sum(sizes) == len(vector)
        return torch.cat([c.reshape(-1) for c in columns])

    return product


def power_iteration(loss_fn, params, *, max_iterations=100, tol=1e-3, seed=0):
    """PyHessian's rule: stop when the eigenvalue estimate changes by less than tol."""
    product = hessian_product(loss_fn, params)
    generator = torch.Generator().manual_seed(seed)
    size = sum(p.numel() for p in params)
    vector = torch.randn(size, generator=generator, dtype=params[0].dtype)
    vector, value = vector / vector.norm(), None
    for _ in range(max_iterations):
        image = product(vector)
        new = float(image @ vector)
        vector = image / (image.norm() + 1e-6)
        if value is not None and abs(value - new) / (abs(value) + 1e-6) < tol:
            break
        value = new
    return new


def eigsh_largest(loss_fn, params, *, tol=1e-3):
    """Scipy's Lanczos: the largest eigenvalue, and the products it took."""
    product, count = hessian_product(loss_fn, params), 0
    size = sum(p.numel() for p in params)

    def matvec(x):
        nonlocal count
        count += 1
        return product(torch.as_tensor(x.reshape(-1), dtype=params[0].dtype)).double().numpy()

    start = np.random.default_rng(0).standard_normal(size)
    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float64)
    return float(eigsh(operator, k=1, which="LA", tol=tol, v0=start, return_eigenvectors=False)[0]), count
