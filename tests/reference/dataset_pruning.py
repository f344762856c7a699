"""The paper's algorithms and the baselines word for word, in plain loops: slow."""

import numpy as np


def dual(P, window):
    """A sample and a window at a time, as the definition reads."""
    num_epochs, num_samples = P.shape
    scores = []
    for i in range(num_samples):
        total = 0.0
        for k in range(num_epochs - window + 1):
            values = [float(P[k + j, i]) for j in range(window)]
            mean = sum(values) / window
            deviation = (sum((v - mean) ** 2 for v in values) / (window - 1)) ** 0.5
            total += deviation * (1 - mean)
        scores.append(total / (num_epochs - window + 1))
    return np.array(scores)


def dyn_unc(P, window):
    return np.mean([P[k : k + window].std(axis=0, ddof=1) for k in range(len(P) - window + 1)], axis=0)


def forgetting(correct):
    counts = np.zeros(correct.shape[1])
    for i in range(correct.shape[1]):
        for k in range(len(correct) - 1):
            counts[i] += bool(correct[k, i]) and not bool(correct[k + 1, i])
    return counts


def tdds(p, window, decay):
    """Three nested loops over epochs, windows and samples."""
    num_epochs, num_samples, num_classes = p.shape
    scores = np.zeros(num_samples)
    for i in range(num_samples):
        change = []
        for t in range(num_epochs - 1):
            terms = [
                p[t + 1, i, c] * (np.log(p[t + 1, i, c] + 1e-8) - np.log(p[t, i, c] + 1e-8)) for c in range(num_classes)
            ]
            change.append(sum(abs(v) for v in terms))
        for k in range(num_epochs - window + 1):
            part = np.array(change[k : k + window - 1])
            distance = np.sqrt(np.sum((part - part.mean()) ** 2))
            scores[i] += decay * (1 - decay) ** (num_epochs - window - k) * distance
    return scores


def beta_weights(scores, mean, *, ratio, complexity, concentration, alpha_offset):
    """Weights with scipy's Beta density, normalised."""
    from scipy.stats import beta

    hardest = mean[np.argsort(-scores)[:10]].mean()
    b = concentration * (1 - hardest) * (1 - ratio**complexity)
    a = concentration + alpha_offset - b
    weights = beta.pdf(mean, a, b) * scores
    return weights / weights.sum()


def ccs_budgets(sizes, count):
    """What each stratum gives, the smallest served first."""
    left, budgets = count, [0] * len(sizes)
    for served, which in enumerate(sorted(range(len(sizes)), key=lambda k: (sizes[k], k))):
        budgets[which] = min(sizes[which], left // (len(sizes) - served))
        left -= budgets[which]
    return budgets


def d2(scores, features, count, *, num_neighbors, forward_rate, reverse_rate):
    n = len(scores)
    distance = np.array([[np.linalg.norm(features[i] - features[j]) for j in range(n)] for i in range(n)])
    np.fill_diagonal(distance, np.inf)
    neighbors = [sorted(range(n), key=lambda j, i=i: distance[i, j])[:num_neighbors] for i in range(n)]
    x = [
        scores[i] + sum(np.exp(-forward_rate * distance[i, j] ** 2) * scores[j] for j in neighbors[i]) for i in range(n)
    ]
    taken = []
    while len(taken) < count:
        best = max((i for i in range(n) if i not in taken), key=lambda i: x[i])
        taken.append(best)
        for j in neighbors[best]:
            x[j] -= np.exp(-reverse_rate * distance[best, j] ** 2) * x[best]
    return sorted(taken)


def official_scores(table, window):
    """The authors' way of computing: a torch loop over windows in single precision, in the definition's terms."""
    import torch

    parts = []
    for k in range(len(table) - window + 1):
        part = table[k : k + window]
        parts.append(part.std(dim=0) * (1 - part.mean(dim=0)))
    return torch.stack(parts).mean(dim=0)
