"""The samplers, products and metrics as the paper writes them: plain loops, nothing shared with the package."""

import numpy as np
from scipy.linalg import solve_discrete_lyapunov


def sghmc(theta, gradient, noises, step_sizes, friction, temperature):
    """Momentum first, then position; one chain. Returns positions and momenta after each step."""
    r, path = np.zeros_like(theta), []
    for n, h in zip(noises, step_sizes, strict=True):
        alpha = h * friction
        r = (1 - alpha) * r - h * gradient(theta) + np.sqrt(2 * alpha * temperature) * n
        theta = theta + h * r
        path.append((theta, r))
    return path


def sgld(theta, gradient, noises, eta, temperature):
    for n in noises:
        theta = theta - eta * gradient(theta) + np.sqrt(2 * eta * temperature) * n
    return theta


def psgld(theta, gradient, noises, eta, temperature, memory, eps):
    v = None
    for n in noises:
        g = gradient(theta)
        v = g**2 if v is None else memory * v + (1 - memory) * g**2
        scale = 1 / (np.sqrt(v) + eps)
        theta = theta - eta / 2 * scale * g + np.sqrt(eta * temperature * scale) * n
    return theta


def sgnht(theta, gradient, noises, h, friction, temperature):
    r, xi = np.zeros_like(theta), friction
    for n in noises:
        r = (1 - h * xi) * r - h * gradient(theta) + np.sqrt(2 * h * friction * temperature) * n
        theta = theta + h * r
        xi = xi + h * (np.mean(r**2) - temperature)
    return theta, xi


def stationary_covariance(*, step_size, curvature, friction, temperature=1.0, noise=0.0, momentum_first=True):
    """Covariance of (x, r) on a quadratic, from the Lyapunov equation of the linear update."""
    h, a = step_size, step_size * friction
    injected = 2 * a * temperature + h**2 * noise
    if momentum_first:
        step = np.array([[1 - h * h * curvature, h * (1 - a)], [-h * curvature, 1 - a]])
        push = np.array([[h], [1.0]])
    else:  # the gradient at the old position
        step = np.array([[1.0, h], [-h * curvature, 1 - a]])
        push = np.array([[0.0], [1.0]])
    return solve_discrete_lyapunov(step, injected * push @ push.T)


def convolution_product(p, v, q):
    """W[o, i, a, b] = Σ P[o, p] V[p, q, a, b] Q[q, i], entry by entry."""
    w = np.zeros((p.shape[0], q.shape[1], *v.shape[2:]))
    for o in range(w.shape[0]):
        for i in range(w.shape[1]):
            for s in range(v.shape[0]):
                for t in range(v.shape[1]):
                    w[o, i] += p[o, s] * v[s, t] * q[t, i]
    return w


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def metrics(logits, targets):
    """Ensemble metrics by loops over samples and pairs."""
    samples, n, _ = logits.shape
    each = softmax(logits)
    mean = each.mean(axis=0)
    of_mean = softmax(logits.mean(axis=0))
    single = [-np.mean([np.log(each[s, i, targets[i]]) for i in range(n)]) for s in range(samples)]
    pairs = [(s, t) for s in range(samples) for t in range(samples) if s != t]
    predicted = logits.argmax(-1)
    return {
        "error": np.mean(mean.argmax(-1) != targets),
        "nll": -np.mean([np.log(mean[i, targets[i]]) for i in range(n)]),
        "single_error": np.mean([np.mean(each[s].argmax(-1) != targets) for s in range(samples)]),
        "single_nll": np.mean(single),
        "ambiguity": np.mean(single) + np.mean([np.log(of_mean[i, targets[i]]) for i in range(n)]),
        "ece": calibration_error(mean, targets),
        "mutual_information": np.mean(
            -np.sum(mean * np.log(mean), axis=-1) + np.mean(np.sum(each * np.log(each), axis=-1), axis=0)
        ),
        "disagreement": np.mean([np.mean(predicted[s] != predicted[t]) for s, t in pairs]),
        "kl": np.mean([np.mean(np.sum(each[s] * np.log(each[s] / each[t]), axis=-1)) for s, t in pairs]),
    }


def calibration_error(probabilities, targets, num_bins=15):
    confidence, correct = probabilities.max(-1), probabilities.argmax(-1) == targets
    total = 0.0
    for k in range(num_bins):
        inside = (confidence > k / num_bins) & (confidence <= (k + 1) / num_bins)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total
