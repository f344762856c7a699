"""Scores of training samples; of every one the larger means “keep first”."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from descentlab.compiled import njit
from descentlab.geometry import Array

_BLOCK = 512  # samples at a time: their window stays in the cache


def dual_score(probabilities: Any, *, window: int = 10) -> Array:
    r"""DUAL: uncertainty times difficulty, averaged over windows.

    :math:`\frac{1}{T-J+1} \sum_k s_k (1 - m_k)` with :math:`m_k` and :math:`s_k` the mean and the standard deviation
    (divisor J − 1) of a sample's probability over epochs k … k + J − 1.

    Parameters
    ----------
    probabilities : array or Tensor, shape (T, N)
        Probability of the given label, from the training's own forward passes.
    window : int
        J, from 2 to T.

    Returns
    -------
    ndarray of float64, shape (N,)
    """
    return _windowed(probabilities, window, 1.0)


def dyn_unc_score(probabilities: Any, *, window: int = 10) -> Array:
    r"""Dyn-Unc: the standard deviation alone, :math:`\frac{1}{T-J+1} \sum_k s_k`; meant for a whole training."""
    return _windowed(probabilities, window, 0.0)


def family_score(probabilities: Any, *, window: int = 10, power: float = 1.0) -> Array:
    r"""The family :math:`\sum_k s_k (1 - m_k)^q` in between and beyond: q = 0 is Dyn-Unc, q = 1 is DUAL."""
    if not power >= 0:
        raise ValueError(f"power={power!r} must not be negative")
    return _windowed(probabilities, window, float(power))


def el2n_score(errors: Any, *, num_epochs: int = 10) -> Array:
    r"""EL2N: :math:`\|p - \text{onehot}\|_2` averaged over the first epochs.

    Parameters
    ----------
    errors : array or Tensor, shape (T, N)
    num_epochs : int
        Epochs to average; one row alone, ``errors[k : k + 1]`` with ``num_epochs=1``, is the snapshot of epoch k.
    """
    table = _table("errors", errors)
    if not isinstance(num_epochs, int) or not 1 <= num_epochs <= len(table):
        raise ValueError(f"num_epochs={num_epochs!r} must be from 1 to the {len(table)} epochs recorded")
    return _finite("errors", table[:num_epochs].mean(axis=0, dtype=np.float64))


def forgetting_score(correct: Any) -> Array:
    """How often a sample was classified correctly in one epoch and wrongly in the next, shape (N,).

    Parameters
    ----------
    correct : array or Tensor of bool, shape (T, N)
    """
    table = _table("correct", correct)
    if table.dtype != bool and not np.isin(table, (0, 1)).all():
        raise ValueError(f"correct must hold truth values, found {table.dtype} from {table.min()} to {table.max()}")
    table = table.astype(bool)
    return (table[:-1] & ~table[1:]).sum(axis=0).astype(np.float64)


def aum_score(margins: Any) -> Array:
    """Minus the area under the margin: the mean over epochs of p_y − max of the others, negated; shape (N,)."""
    return _finite("margins", -_table("margins", margins).mean(axis=0, dtype=np.float64))


def entropy_score(final_probabilities: Any) -> Array:
    """Entropy of the last model's prediction, shape (N,).

    Parameters
    ----------
    final_probabilities : array or Tensor, shape (N, C)
    """
    p = _table("final_probabilities", final_probabilities).astype(np.float64)
    _check_probabilities("final_probabilities", p.min(), p.max())
    return np.asarray(-np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(axis=1))


def tdds_score(all_probabilities: Any, *, window: int = 10, decay: float = 0.9) -> Array:
    r"""TDDS: how much the change of the predictions varies, late windows counting most (Zhang et al. 2024).

    With :math:`K_t = \sum_c |p_{t+1,c} (\log p_{t+1,c} - \log p_{t,c})|` and :math:`D_k` the norm of
    :math:`K_k, …, K_{k+J-2}` minus their mean: :math:`\sum_k \lambda (1-\lambda)^{T-J-k} D_k`.

    Parameters
    ----------
    all_probabilities : array or Tensor, shape (T, N, C)
    window : int
        J, from 2 to T.
    decay : float
        λ, in (0, 1].
    """
    p = _numpy(all_probabilities)
    if p.ndim != 3:
        raise ValueError(f"all_probabilities has shape {p.shape}; (T, N, C) needed")
    _check_window(window, len(p))
    if not 0 < decay <= 1:
        raise ValueError(f"decay={decay!r} must be in (0, 1]")
    p = p.astype(np.float64)
    _check_probabilities("all_probabilities", p.min(), p.max())
    logs = np.log(p + 1e-8)
    change = np.abs(p[1:] * np.diff(logs, axis=0)).sum(axis=2)
    score = np.zeros(p.shape[1])
    for k in range(len(p) - window + 1):
        part = change[k : k + window - 1]
        score += decay * (1 - decay) ** (len(p) - window - k) * np.linalg.norm(part - part.mean(axis=0), axis=0)
    return score


def moderate_score(features: Any, targets: Any) -> Array:
    """Moderate: minus the gap between a sample's distance to its class mean and the class median of that distance.

    Parameters
    ----------
    features : array or Tensor, shape (N, d)
    targets : array or Tensor of int, shape (N,)
    """
    x, labels = _table("features", features).astype(np.float64), _numpy(targets)
    if labels.shape != x.shape[:1]:
        raise ValueError(f"targets has shape {labels.shape}; ({len(x)},) needed")
    score = np.empty(len(x))
    for label in np.unique(labels):
        members = labels == label
        distance = np.linalg.norm(x[members] - x[members].mean(axis=0), axis=1)
        score[members] = -np.abs(distance - np.median(distance))
    return _finite("features", score)


def rank_correlation(first: Any, second: Any) -> float:
    """Spearman's rank correlation of two scores, ties given their mean rank."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _windowed(probabilities: Any, window: int, power: float) -> Array:
    table = _table("probabilities", probabilities)
    _check_window(window, len(table))
    if table.dtype not in (np.float32, np.float64):
        table = table.astype(np.float64)
    score = np.empty(table.shape[1])
    extremes = _windowed_kernel(np.ascontiguousarray(table), window, power, score)
    _finite("probabilities", score)
    _check_probabilities("probabilities", *extremes)
    return score


@njit(error_model="numpy")
def _windowed_kernel(
    table: NDArray[Any], window: int, power: float, score: Array
) -> tuple[float, float]:  # pragma: no cover
    """Mean of s (1 − m)^power over windows, in float64 and centred: differences of running sums lose saturated samples.

    Returns the smallest and the largest entry of the table.
    """
    num_epochs, num_samples = table.shape
    windows = num_epochs - window + 1
    block = np.empty((num_epochs, _BLOCK))
    mean, square, total = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    lowest, highest = np.full(_BLOCK, np.inf), np.full(_BLOCK, -np.inf)
    for start in range(0, num_samples, _BLOCK):
        size = min(_BLOCK, num_samples - start)
        for k in range(num_epochs):
            for i in range(size):
                value = np.float64(table[k, start + i])
                block[k, i] = value
                lowest[i] = min(lowest[i], value)
                highest[i] = max(highest[i], value)
        total[:] = 0.0
        for k in range(windows):
            mean[:] = 0.0
            for j in range(window):
                for i in range(size):
                    mean[i] += block[k + j, i]
            for i in range(size):
                mean[i] /= window
            square[:] = 0.0
            for j in range(window):
                for i in range(size):
                    gap = block[k + j, i] - mean[i]
                    square[i] += gap * gap
            if power == 0.0:
                for i in range(size):
                    total[i] += np.sqrt(square[i] / (window - 1))
            elif power == 1.0:
                for i in range(size):
                    total[i] += np.sqrt(square[i] / (window - 1)) * (1.0 - mean[i])
            else:
                for i in range(size):
                    total[i] += np.sqrt(square[i] / (window - 1)) * max(1.0 - mean[i], 0.0) ** power
        for i in range(size):
            score[start + i] = total[i] / windows
    return lowest.min(), highest.max()


def _finite(name: str, score: Any) -> Array:
    if not np.isfinite(score).all():
        bad = np.flatnonzero(~np.isfinite(score))
        raise ValueError(f"{name} are not finite for {len(bad)} samples, the first of them {bad[:8].tolist()}")
    return np.asarray(score, dtype=np.float64)


def _check_probabilities(name: str, lowest: float, highest: float) -> None:
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):  # rounding of a short type is let through
        raise ValueError(f"{name} must be in [0, 1], found {lowest:g} … {highest:g}")


def _numpy(values: Any) -> NDArray[Any]:
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    return np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())


def _table(name: str, values: Any) -> NDArray[Any]:
    table = _numpy(values)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"{name} has shape {table.shape}; two axes, not empty, needed")
    return table


def _check_window(window: int, num_epochs: int) -> None:
    if not isinstance(window, (int, np.integer)) or not 2 <= window <= num_epochs:
        raise ValueError(f"window={window!r} must be from 2 to the {num_epochs} epochs recorded")
