"""Which samples to keep, given their scores."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from descentlab.compiled import njit
from descentlab.dataset_pruning.scores import _numpy
from descentlab.geometry import Array

Indices = NDArray[np.int64]
Seed = int | np.random.Generator
_OPTIONS = {"beta": ("concentration", "alpha_offset", "class_balanced"), "ccs": ("num_strata",)}  # of `prune`
_FLOOR = 1e-6  # probabilities are kept this far from 0 and 1, where the density has poles or zeros


@dataclass(frozen=True)
class BetaParameters:
    """Of the Beta density over mean probabilities: ``alpha``, ``beta``, and its mode."""

    alpha: float
    beta: float

    @property
    def mode(self) -> float:
        """Where the density is largest: (α − 1)/(α + β − 2), at most 1."""
        if self.beta <= 1:
            return 1.0
        return (self.alpha - 1) / (self.alpha + self.beta - 2)


def beta_parameters(
    hardest_mean: float, *, ratio: float, complexity: float, concentration: float = 15, alpha_offset: float = 1
) -> BetaParameters:
    r"""The Beta density for a pruning ratio: hard samples for small ratios, easy ones for large.

    :math:`\beta_r = C (1 - \mu_D)(1 - r^{c_D})` and :math:`\alpha_r = C + \text{offset} - \beta_r`.

    Parameters
    ----------
    hardest_mean : float
        :math:`\mu_D`, mean probability of the samples with the largest scores.
    ratio : float
        r, the fraction removed.
    complexity : float
        :math:`c_D`; 4 for CIFAR-100, 11 for ImageNet in the authors' code.
    concentration : float
        C.
    alpha_offset : float
        1 in the authors' code, 0 in the paper's formula.
    """
    _check_ratio(ratio)
    if not 0 <= hardest_mean <= 1:
        raise ValueError(f"hardest_mean={hardest_mean!r} must be in [0, 1]")
    finite = np.isfinite([complexity, concentration, alpha_offset]).all()
    if not (finite and complexity > 0 and concentration > 0 and alpha_offset >= 0):
        raise ValueError(
            f"complexity={complexity!r}, concentration={concentration!r}, alpha_offset={alpha_offset!r}: "
            "the first two must be positive, the third not negative"
        )
    beta = concentration * (1 - hardest_mean) * (1 - ratio**complexity)
    return BetaParameters(concentration + alpha_offset - beta, beta)


def hardest_mean(scores: Any, mean_probability: Any, *, count: int = 10) -> float:
    r""":math:`\mu_D`: mean probability of the `count` samples with the largest scores."""
    values = _scores(scores)
    top = np.argsort(-values, kind="stable")[:count]
    return float(_numpy(mean_probability)[top].mean())


def log_weights(
    scores: Any,
    mean_probability: Any,
    *,
    ratio: float,
    complexity: float,
    concentration: float = 15,
    alpha_offset: float = 1,
) -> Array:
    """Logarithms of the weights Beta density × score, up to a constant, shape (N,); −inf where the score is zero."""
    values, mean = _scores(scores), _numpy(mean_probability).astype(np.float64)
    if mean.shape != values.shape or not np.all((mean >= 0) & (mean <= 1)):
        raise ValueError(f"mean_probability must have shape {values.shape} and entries in [0, 1]")
    if values.min() < 0:
        raise ValueError(f"scores must not be negative to serve as weights; the smallest is {values.min():g}")
    shape = {"complexity": complexity, "concentration": concentration, "alpha_offset": alpha_offset}
    density = beta_parameters(hardest_mean(values, mean), ratio=ratio, **shape)
    inside = np.clip(mean, _FLOOR, 1 - _FLOOR)
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    return np.asarray((density.alpha - 1) * np.log(inside) + (density.beta - 1) * np.log1p(-inside) + logs)


def successive_sample(log_weight: Any, count: int, *, seed: Seed) -> Indices:
    r"""Draw `count` indices one after another, each with probability proportional to its weight among those left.

    By Gumbel keys: the `count` largest of :math:`\log w_i + G_i` with independent standard Gumbel :math:`G_i` have
    exactly this law. Indices of weight zero (−inf) come last.

    Returns
    -------
    ndarray of int64, shape (count,), sorted
    """
    logs = np.asarray(log_weight, dtype=np.float64)
    if not 0 <= count <= len(logs):
        raise ValueError(f"count={count!r} must be from 0 to the {len(logs)} weights")
    if np.isnan(logs).any() or np.isposinf(logs).any():
        raise ValueError("log_weight must hold finite numbers or −inf")
    finite = np.isfinite(logs)
    lowest = logs[finite].min() if finite.any() else 0.0
    keys = np.where(finite, logs, lowest - 1e4) + _generator(seed).gumbel(size=len(logs))
    return np.sort(np.argpartition(-keys, count - 1)[:count]).astype(np.int64) if count else np.empty(0, np.int64)


def beta_sample(
    scores: Any,
    mean_probability: Any,
    *,
    ratio: float,
    complexity: float,
    concentration: float = 15,
    alpha_offset: float = 1,
    targets: Any = None,
    seed: Seed = 0,
) -> Indices:
    """DUAL's ratio-adaptive sampling: successive sampling with weights Beta density of the mean probability × score.

    Parameters
    ----------
    scores : array, shape (N,)
        Not negative.
    mean_probability : array, shape (N,)
        Over all scoring epochs, ``probabilities.mean(axis=0)``.
    ratio : float
        Fraction removed, in [0, 1); ``round((1 - ratio) * N)`` samples are kept.
    complexity, concentration, alpha_offset
        As for `beta_parameters`.
    targets : array of int, shape (N,), optional
        Keep the same share of each class; by default classes are not looked at.
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray of int64, sorted
    """
    shape = {"complexity": complexity, "concentration": concentration, "alpha_offset": alpha_offset}
    logs = log_weights(scores, mean_probability, ratio=ratio, **shape)
    count = kept_count(len(logs), ratio)
    if targets is None:
        return successive_sample(logs, count, seed=seed)
    labels, generator = _numpy(targets), _generator(seed)
    if labels.shape != logs.shape:
        raise ValueError(f"targets has shape {labels.shape}; {logs.shape} needed")
    classes, sizes = np.unique(labels, return_counts=True)
    parts = []
    for label, budget in zip(classes, _shares(sizes, count), strict=True):
        members = np.flatnonzero(labels == label)
        parts.append(members[successive_sample(logs[members], budget, seed=generator)])
    return np.sort(np.concatenate(parts)).astype(np.int64)


def top_select(scores: Any, *, ratio: float, seed: Seed = 0) -> Indices:
    """The samples with the largest scores; ties are broken at random, since data may be sorted by class."""
    values = _scores(scores)
    order = np.lexsort((_generator(seed).random(len(values)), -values))
    return np.sort(order[: kept_count(len(values), ratio)]).astype(np.int64)


def ccs_select(scores: Any, *, ratio: float, hard_cutoff: float, num_strata: int = 50, seed: Seed = 0) -> Indices:
    """Coverage-centric selection (Zheng et al. 2023): drop the hardest, then the same budget for each stratum of scores.

    Parameters
    ----------
    scores : array, shape (N,)
        Larger means harder, such as `aum_score`.
    ratio : float
        Fraction removed.
    hard_cutoff : float
        Fraction of samples with the largest scores that are dropped first, at most `ratio`.
    num_strata : int
        Strata of equal width over the scores of the rest; the smallest is served first and leaves what it cannot use.
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray of int64, sorted
    """
    values, generator = _scores(scores), _generator(seed)
    count = kept_count(len(values), ratio)
    dropped = round(hard_cutoff * len(values)) if 0 <= hard_cutoff < 1 else len(values)
    if len(values) - dropped < count or dropped == len(values):
        raise ValueError(
            f"hard_cutoff={hard_cutoff!r} must be in [0, 1) and leave the {count} samples that ratio={ratio!r} keeps"
        )
    if not isinstance(num_strata, int) or num_strata < 1:
        raise ValueError(f"num_strata={num_strata!r} must be a positive whole number")
    rest = np.argsort(values, kind="stable")[: len(values) - dropped]
    low, high = values[rest].min(), values[rest].max()
    width = (high - low) / num_strata
    stratum = (
        np.minimum(((values[rest] - low) / width).astype(int), num_strata - 1)
        if width > 0
        else np.zeros(len(rest), int)
    )
    sizes = np.bincount(stratum, minlength=num_strata)
    left, kept = count, []
    order = np.argsort(sizes, kind="stable")
    for position, which in enumerate(order):
        budget = min(int(sizes[which]), left // (num_strata - position))
        kept.append(generator.choice(rest[stratum == which], budget, replace=False))
        left -= budget
    return np.sort(np.concatenate(kept)).astype(np.int64)


def d2_select(
    scores: Any,
    features: Any,
    *,
    ratio: float,
    num_neighbors: int = 10,
    forward_rate: float = 1.0,
    reverse_rate: float = 1.0,
) -> Indices:
    r"""D² pruning (Maharana et al. 2024): scores spread over a neighbour graph; what is taken lowers its neighbours.

    :math:`x_i = s_i + \sum_{j \in N(i)} e^{-\gamma_f d_{ij}^2} s_j`; then again and again the largest k is taken and
    :math:`x_j \leftarrow x_j - e^{-\gamma_r d_{kj}^2} x_k` for its neighbours.

    Parameters
    ----------
    scores : array, shape (N,)
    features : array, shape (N, d)
        Distances are Euclidean, in the features' own units.
    ratio : float
        Fraction removed.
    num_neighbors : int
    forward_rate, reverse_rate : float
        :math:`\gamma_f` and :math:`\gamma_r`.
    """
    values, x = _scores(scores), _numpy(features).astype(np.float64)
    if x.ndim != 2 or len(x) != len(values) or not np.isfinite(x).all():
        raise ValueError(f"features of shape {x.shape} must have shape ({len(values)}, d) and finite entries")
    if not isinstance(num_neighbors, int) or not 1 <= num_neighbors < len(values):
        raise ValueError(f"num_neighbors={num_neighbors!r} must be from 1 to {len(values) - 1}")
    if not (forward_rate >= 0 and reverse_rate >= 0):
        raise ValueError(f"forward_rate={forward_rate!r}, reverse_rate={reverse_rate!r} must not be negative")
    neighbors, squares = _nearest(x, num_neighbors)
    spread = values + (np.exp(-forward_rate * squares) * values[neighbors]).sum(axis=1)
    taken = _take(spread, neighbors, np.exp(-reverse_rate * squares), kept_count(len(values), ratio))
    return np.sort(taken)


def prune(
    scores: Any,
    *,
    ratio: float,
    method: Literal["top", "beta", "ccs", "random"] = "top",
    mean_probability: Any = None,
    complexity: float = 4.0,
    hard_cutoff: float = 0.0,
    targets: Any = None,
    seed: Seed = 0,
    **options: Any,
) -> Indices:
    """Numbers of the samples to keep, ready for ``torch.utils.data.Subset``.

    Parameters
    ----------
    scores : array, shape (N,)
        Larger means keep first.
    ratio : float
        Fraction removed, in [0, 1); ``round((1 - ratio) * N)`` samples are kept.
    method : {"top", "beta", "ccs", "random"}
        The largest scores; `beta_sample`, which needs `mean_probability` and `complexity`; `ccs_select` with
        `hard_cutoff`; uniform.
    targets : array of int, shape (N,), optional
        Labels: warns where fewer samples are kept than there are classes; with ``"beta"`` and ``class_balanced=True``
        each class keeps the same share.
    seed : int or numpy.random.Generator
        Of the draw, and of ties.
    **options
        Of the method: `concentration`, `alpha_offset` and `class_balanced` of ``"beta"``, `num_strata` of ``"ccs"``.

    Returns
    -------
    ndarray of int64, sorted

    Raises
    ------
    ValueError
        `ratio` is outside [0, 1), `method` is unknown, or it misses an argument or does not know one.
    """
    values = _scores(scores)
    count = kept_count(len(values), ratio)
    if method not in ("top", "beta", "ccs", "random"):
        raise ValueError(f"method={method!r}; allowed are 'top', 'beta', 'ccs' and 'random'")
    if targets is not None and _numpy(targets).shape != values.shape:
        raise ValueError(f"targets has shape {_numpy(targets).shape}; {values.shape} needed")
    if unknown := sorted(set(options) - set(_OPTIONS.get(method, ()))):
        raise ValueError(f"method={method!r} takes no {', '.join(unknown)}")
    if targets is not None and count < (classes := len(np.unique(_numpy(targets)))):
        warnings.warn(f"ratio={ratio!r} keeps {count} samples of {classes} classes", UserWarning, stacklevel=2)
    if method == "beta":
        if mean_probability is None:
            raise ValueError("method='beta' needs mean_probability, the mean of the recorded probabilities over epochs")
        balanced = options.pop("class_balanced", False)
        if balanced and targets is None:
            raise ValueError("class_balanced=True needs targets")
        chosen = targets if balanced else None
        return beta_sample(
            values, mean_probability, ratio=ratio, complexity=complexity, targets=chosen, seed=seed, **options
        )
    if method == "ccs":
        return ccs_select(values, ratio=ratio, hard_cutoff=hard_cutoff, seed=seed, **options)
    if method == "random":
        return np.sort(_generator(seed).permutation(len(values))[:count]).astype(np.int64)
    return top_select(values, ratio=ratio, seed=seed)


def kept_count(num_samples: int, ratio: float) -> int:
    """``round((1 - ratio) * num_samples)``."""
    _check_ratio(ratio)
    return round((1 - ratio) * num_samples)


def break_even_ratio(scoring_epochs: int, num_epochs: int) -> float:
    """Pruning ratio above which scoring and training on what is left cost less than training on everything: T/E."""
    return scoring_epochs / num_epochs


def _shares(sizes: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Whole numbers proportional to `sizes`, of sum `count`: largest remainders are rounded up."""
    exact = sizes * count / sizes.sum()
    shares = np.floor(exact).astype(np.int64)
    shares[np.argsort(shares - exact, kind="stable")[: count - shares.sum()]] += 1
    return shares


def _nearest(x: Array, count: int, block: int = 1024) -> tuple[Indices, Array]:
    """Each row's nearest others, and their squared distances, (N, count) both."""
    import torch

    rows = torch.as_tensor(x)
    found, squares = [], []
    for start in range(0, len(rows), block):
        distance = torch.cdist(rows[start : start + block], rows).square()
        own = torch.arange(len(distance))
        distance[own, start + own] = torch.inf
        values, index = distance.topk(count, largest=False)
        found.append(index.numpy())
        squares.append(values.numpy())
    return np.concatenate(found), np.concatenate(squares)


@njit
def _take(values: Array, neighbors: Indices, kernel: Array, count: int) -> Indices:  # pragma: no cover
    values, left = values.copy(), np.ones(len(values), dtype=np.bool_)
    taken = np.empty(count, dtype=np.int64)
    for position in range(count):
        best = -1
        for i in range(len(values)):
            if left[i] and (best < 0 or values[i] > values[best]):
                best = i
        taken[position], left[best] = best, False
        for j in range(neighbors.shape[1]):
            values[neighbors[best, j]] -= kernel[best, j] * values[best]
    return taken


def _scores(scores: Any) -> Array:
    values = _numpy(scores).astype(np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"scores of shape {values.shape} must be a row of finite numbers, not empty")
    return values


def _check_ratio(ratio: float) -> None:
    if isinstance(ratio, str) or ratio is None or not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio!r} must be in [0, 1): the fraction of samples that is removed")


def _generator(seed: Seed) -> np.random.Generator:
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
