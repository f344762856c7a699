r"""How good an ensemble is, how diverse, and whether its chains have mixed.

All of it from the logits :math:`z_s(x)` of the samples. Predictions average probabilities,
:math:`\bar p = \frac1S \sum_s \operatorname{softmax} z_s`. *Ambiguity* is the mean negative log-likelihood of the single
samples minus that of the averaged **logits**,

.. math::
    \text{AMB} = E_x \Big[ \frac1S \sum_s \operatorname{lse} z_s - \operatorname{lse} \bar z \Big] \ge 0,

in which the labels cancel: the log-likelihood of a label is its logit, linear in z, minus lse z.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


def ensemble_metrics(logits: Tensor, targets: Tensor, *, ood_logits: Tensor | None = None) -> dict[str, float]:
    """Metrics of an ensemble, in float64.

    Parameters
    ----------
    logits : Tensor, shape (samples, n, classes)
    targets : Tensor, shape (n,)
    ood_logits : Tensor, shape (samples, n', classes), optional
        Of inputs from another distribution.

    Returns
    -------
    dict
        ``error``, ``nll`` of the averaged probabilities; ``single_error``, ``single_nll``, means over samples;
        ``ambiguity``; ``ece`` (15 bins); ``mutual_information``; ``disagreement`` and ``kl`` of pairs of samples;
        ``ood_auroc`` of the entropy of the averaged probabilities, where `ood_logits` are given.

    Raises
    ------
    ValueError
        Shapes do not fit.
    """
    if logits.ndim != 3 or targets.shape != logits.shape[1:2]:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} and targets of shape {tuple(targets.shape)}: expected (samples, n, classes) and (n,)"
        )
    logs = logits.double().log_softmax(-1)
    each = logs.exp()
    mean_log = logs.logsumexp(0) - np.log(len(logs))
    probabilities = mean_log.exp()
    picked = targets.long()
    single = -logs.gather(-1, picked.expand(len(logs), -1).unsqueeze(-1)).squeeze(-1)
    metrics = {
        "error": float((probabilities.argmax(-1) != picked).double().mean()),
        "nll": float(-mean_log.gather(-1, picked.unsqueeze(-1)).mean()),
        "single_error": float((logs.argmax(-1) != picked).double().mean()),
        "single_nll": float(single.mean()),
        "ambiguity": ambiguity(logits),
        "ece": calibration_error(probabilities, picked),
        "mutual_information": float((_entropy(probabilities) - _entropy(each).mean(0)).mean()),
        "disagreement": disagreement(logits),
        "kl": _pairwise_kl(logs, each),
    }
    if ood_logits is not None:
        other = ood_logits.double().softmax(-1).mean(0)
        metrics["ood_auroc"] = auroc(_entropy(other), _entropy(probabilities))
    return metrics


def ambiguity(logits: Tensor) -> float:
    """Mean of the samples' log-partition minus that of their mean logits, shape (samples, n, classes); no labels."""
    z = logits.double()
    return float((z.logsumexp(-1).mean(0) - z.mean(0).logsumexp(-1)).mean())


def calibration_error(probabilities: Tensor, targets: Tensor, *, num_bins: int = 15) -> float:
    """Expected calibration error over bins (lo, hi] of equal width of the confidence."""
    confidence, predicted = probabilities.max(-1)
    bins = torch.ceil(confidence * num_bins).clamp(1, num_bins).long() - 1
    gaps = torch.zeros(num_bins, dtype=confidence.dtype, device=confidence.device)
    gaps.index_add_(0, bins, (predicted == targets).to(confidence.dtype) - confidence)
    return float(gaps.abs().sum() / len(targets))


def disagreement(logits: Tensor) -> float:
    """Fraction of inputs on which two different samples predict different classes; NaN for a single sample."""
    samples = len(logits)
    votes = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).sum(0).double()
    if samples < 2:
        return float("nan")
    return float(1 - ((votes * (votes - 1)).sum(-1) / (samples * (samples - 1))).mean())


def auroc(positive: Tensor, negative: Tensor) -> float:
    """Probability that a positive scores higher than a negative, ties counting half."""
    ordered = negative.sort().values
    below, up_to = (torch.searchsorted(ordered, positive, right=right) for right in (False, True))
    return float((below + up_to).double().sum() / (2 * len(positive) * len(negative)))


class Likeness(NamedTuple):
    """How near a prediction is to a reference."""

    agreement: float
    total_variation: float


def likeness(probabilities: Tensor, reference: Tensor) -> Likeness:
    """Share of inputs with the same most probable class, and mean total variation (half the sum of absolute differences)."""
    same = (probabilities.argmax(-1) == reference.argmax(-1)).double().mean()
    return Likeness(float(same), float(0.5 * (probabilities - reference).abs().sum(-1).mean()))


class Convergence(NamedTuple):
    """Rank-normalised R-hat and bulk effective sample size of each quantity."""

    rhat: np.ndarray
    ess: np.ndarray


def convergence(draws: Any) -> Convergence:
    """R-hat and effective sample size through ArviZ (0.23 or 1).

    Parameters
    ----------
    draws : array or Tensor, shape (chains, draws, ...)
        Quantities to watch: energies, or predictions at a few inputs. Weights themselves have symmetries.

    Raises
    ------
    ValueError
        Fewer than two chains or four draws.
    ModuleNotFoundError
        ArviZ is not installed.
    """
    values = np.asarray(draws.detach().cpu() if isinstance(draws, Tensor) else draws, dtype=float)
    if values.ndim < 2 or values.shape[0] < 2 or values.shape[1] < 4:
        raise ValueError(f"draws has shape {values.shape}: expected (chains, draws, ...), at least 2 and 4")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # 0.23 announces 1.0 when imported
            import arviz  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("R-hat and effective sample size need ArviZ: pip install arviz") from error
    columns = values.reshape(*values.shape[:2], -1)
    pairs = [(float(arviz.rhat(columns[..., k])), float(arviz.ess(columns[..., k]))) for k in range(columns.shape[-1])]
    rhat, ess = np.array(pairs).reshape(-1, 2).T
    return Convergence(rhat.reshape(values.shape[2:]), ess.reshape(values.shape[2:]))


def _entropy(probabilities: Tensor) -> Tensor:
    return torch.special.entr(probabilities).sum(-1)


def _pairwise_kl(logs: Tensor, each: Tensor) -> float:
    """Mean of KL(p_s, p_t) over ordered pairs of different samples."""
    samples = len(logs)
    if samples < 2:
        return float("nan")
    inside = (each * logs).sum(-1).mean(0)
    across = (each.mean(0) * logs.mean(0)).sum(-1)
    return float((inside - across).mean() * samples / (samples - 1))
