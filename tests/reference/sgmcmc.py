"""The samplers, products and metrics as the paper writes them: plain loops, nothing shared with the package."""

import numpy as np
import torch
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


# -- Bayesian perceptrons 196-32-32-10 on images: densities through autograd, samplers as loops -------------------------
# `python -m tests.reference.sgmcmc` prints the expected values of claim C9 (about ten minutes)

SHAPES = ((32, 196), (32, 32), (10, 32))
METHODS = {  # kind, step size, friction, friction of P and Q
    "SGHMC, h = 1e-3": ("plain", 1e-3, 30.0, 0.0),
    "SGHMC, h = 2e-3": ("plain", 2e-3, 15.0, 0.0),
    "SGHMC, h = 8e-3": ("plain", 8e-3, 10.0, 0.0),
    "PX exact, h = 1e-3": ("exact", 1e-3, 30.0, 30.0),
    "PX paper, h = 1e-3": ("paper", 1e-3, 30.0, 0.3),
}


def small_images(inputs, targets, test_inputs, test_targets, *, num_samples=1000, seed=0):
    """Pooled to 14 × 14, standardised by the training images, which a permutation draws."""

    def pooled(images):
        return images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).flatten(1)

    chosen = torch.from_numpy(np.random.default_rng(seed).permutation(len(inputs))[:num_samples])
    x, fresh = pooled(inputs[chosen]), pooled(test_inputs)
    mean, deviation = x.mean(), x.std(correction=0)
    return (x - mean) / deviation, targets[chosen], (fresh - mean) / deviation, test_targets


def first_weights(num_chains, kind, generator):
    p = {}
    for k, (m, n) in enumerate(SHAPES):
        p[f"V{k}"] = (2 / n) ** 0.5 * torch.randn(num_chains, m, n, generator=generator)
        p[f"b{k}"] = torch.zeros(num_chains, m)
        if k < 2:
            p[f"s{k}"] = torch.ones(num_chains, m)
        if k < 2 and kind != "plain":
            p[f"P{k}"] = torch.eye(m).repeat(num_chains, 1, 1)
        if k > 0 and kind != "plain":
            p[f"Q{k}"] = torch.eye(n).repeat(num_chains, 1, 1)
    return p


def layers(p):
    for k in range(len(SHAPES)):
        W, b = p[f"V{k}"], p[f"b{k}"]
        if f"P{k}" in p:
            W, b = p[f"P{k}"] @ W, (p[f"P{k}"] @ b[..., None])[..., 0]
        yield (W @ p[f"Q{k}"] if f"Q{k}" in p else W), b


def network(p, x):
    for k, (W, b) in enumerate(layers(p)):
        x = x @ W.mT + b[:, None]
        if k < 2:
            x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"s{k}"][:, None]
            x = x * torch.sigmoid(x)
    return x


def energy(p, kind, x, y, scale=1.0):
    """Minus the log-posterior of each chain; prior variance 0.2 of W, 0.1 of V for "paper" with precision 2 of P and Q."""

    def squares(t):
        return t.flatten(1).square().sum(1)

    z = network(p, x)
    value = scale * (z.logsumexp(-1) - z.gather(-1, y.expand(z.shape[:-1])[..., None])[..., 0]).sum(-1)
    if kind == "paper":
        return value + sum(squares(t) / (2 * 0.5 if name[0] in "PQ" else 2 * 0.1) for name, t in p.items())
    value = (
        value + sum((squares(W) + squares(b)) / 0.4 for W, b in layers(p)) + (squares(p["s0"]) + squares(p["s1"])) / 0.4
    )
    if kind == "exact":  # |det|^(n + 32) exp(-64 |P|²/2), n the columns that P multiplies or the rows that Q does
        for name, power in (("P0", 197), ("P1", 33), ("Q1", 32), ("Q2", 10)):
            value = value - (power + 32) * torch.linalg.slogdet(p[name])[1] + 32 * squares(p[name])
    return value


def slopes(p, *arguments):
    leaves = {name: t.detach().requires_grad_() for name, t in p.items()}
    value = energy(leaves, *arguments)
    return value.detach(), dict(zip(leaves, torch.autograd.grad(value.sum(), list(leaves.values())), strict=True))


def sghmc_ensembles(
    images, kind, step_size, friction, factor_friction, *, num_chains, seed, cycles=20, length=300, dropped=6
):
    """Logits of the test images, shape (chains, samples, n, classes); half a cosine a cycle, a sample at its end."""
    x, y, fresh, _ = images
    g = torch.Generator().manual_seed(seed)
    p, kept = first_weights(num_chains, kind, g), []
    r = {name: torch.zeros_like(t) for name, t in p.items()}
    for step in range(cycles * length):
        h = step_size / 2 * (1 + np.cos(np.pi * (step % length) / length))
        batch = torch.randint(len(x), (num_chains, 100), generator=g)
        _, gradient = slopes(p, kind, x[batch], y[batch], len(x) / 100)
        for name in p:
            a = h * (factor_friction if name[0] in "PQ" else friction)
            noise = torch.randn(p[name].shape, generator=g)
            r[name] = (1 - a) * r[name] - h * gradient[name] + (2 * a) ** 0.5 * noise
            p[name] = p[name] + h * r[name]
        if (step + 1) % length == 0 and step + 1 > dropped * length:
            kept.append(network(p, fresh[None]))
    return torch.stack(kept, 1)


def hmc_ensembles(images, *, num_chains, seed, num_samples=100, dropped=33, num_steps=70, step_size=0.01):
    x, y, fresh, _ = images
    g = torch.Generator().manual_seed(seed)
    p, kept, arguments = first_weights(num_chains, "plain", g), [], ("plain", x[None], y[None])
    for proposal in range(1, num_samples + 1):
        h = step_size / 2 if proposal <= 10 else step_size
        q, r = p, {name: torch.randn(t.shape, generator=g) for name, t in p.items()}
        value, gradient = slopes(q, *arguments)
        before = value + sum(t.flatten(1).square().sum(1) / 2 for t in r.values())
        r = {name: r[name] - h / 2 * gradient[name] for name in r}
        for step in range(1, num_steps + 1):
            q = {name: q[name] + h * r[name] for name in q}
            value, gradient = slopes(q, *arguments)
            r = {name: r[name] - (h if step < num_steps else h / 2) * gradient[name] for name in r}
        after = value + sum(t.flatten(1).square().sum(1) / 2 for t in r.values())
        taken = (torch.rand(num_chains, generator=g).log() < before - after) | (proposal <= 10)
        p = {name: torch.where(taken.view(-1, *[1] * (t.ndim - 1)), q[name], t) for name, t in p.items()}
        if proposal > dropped:
            kept.append(network(p, fresh[None]))
    return torch.stack(kept, 1)


def scores(logits, targets):
    """Mean over chains of NLL, ambiguity and error."""
    found = [metrics(chain.double().numpy(), targets.numpy()) for chain in logits]
    return [float(np.mean([f[key] for f in found])) for key in ("nll", "ambiguity", "error")]


if __name__ == "__main__":
    from descentlab import data

    loaded = data.load("fashion-mnist-12k")
    clothes = small_images(loaded.inputs, loaded.targets, loaded.test_inputs, loaded.test_targets)
    print("HMC", scores(hmc_ensembles(clothes, num_chains=12, seed=700), clothes[3]), flush=True)
    for name, method in METHODS.items():
        print(name, scores(sghmc_ensembles(clothes, *method, num_chains=12, seed=700), clothes[3]), flush=True)
