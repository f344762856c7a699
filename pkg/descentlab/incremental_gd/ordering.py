"""Orders that keep the sums of what has been visited small: greedy herding, and a sampler made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.compiled import njit
from descentlab.incremental_gd.problems import Array

_TIE = 1e-10  # squared norms this close, relative to the largest, are equal: rounding decides nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def herded_order(vectors: ArrayLike, *, seed: int | None = None) -> tuple[NDArray[np.int64], float]:
    r"""An order whose prefix sums stay small, found greedily.

    The vectors are centred; then the one is appended, again and again, that makes the norm of the running sum least.
    Costs :math:`O(n^2 d)` time and one copy of the vectors.

    Parameters
    ----------
    vectors : array_like, shape (n, d)
        Such as the gradients of the components at the minimiser.
    seed : int, optional
        Breaks ties at random; without it the first of several equally good vectors is taken.

    Returns
    -------
    order : ndarray of int, shape (n,)
    herding_constant : float
        `prefix_constant` of that order.

    Raises
    ------
    ValueError
        `vectors` has another shape, or an entry that is not finite.

    Notes
    -----
    By Steinitz's lemma some order of vectors in the unit ball with sum zero keeps all prefix sums within norm d, and
    with herding at the minimiser's gradients incremental gradient descent has gap :math:`\tilde O(H^2L^2G^2/(\mu^3n^2K^2))`
    (arXiv 2506.04126, Theorem 3.7).
    """
    centred = _centred(vectors)
    n = len(centred)
    rank = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    order = _greedy(centred, rank, _TIE * (centred**2).sum(axis=1).max())
    return order, prefix_constant(vectors, order)


def prefix_constant(vectors: ArrayLike, order: ArrayLike) -> float:
    """Largest norm of a prefix sum of the centred vectors in the given order, over the largest norm of one of them.

    Parameters
    ----------
    vectors : array_like, shape (n, d)
    order : array_like of int, shape (n,)
        A permutation.

    Returns
    -------
    float
        H; zero if all vectors are equal.

    Raises
    ------
    ValueError
        `vectors` is not a finite matrix, or `order` no permutation of its rows.
    """
    centred, index = _centred(vectors), np.asarray(order)
    if index.shape != (len(centred),) or np.any(np.sort(index) != np.arange(len(centred))):
        raise ValueError(f"order of shape {index.shape} is no permutation of 0 … {len(centred) - 1}")
    largest = np.linalg.norm(centred, axis=1).max()
    if largest == 0:
        return 0.0
    return float(np.linalg.norm(np.cumsum(centred[index], axis=0), axis=1).max() / largest)


class HerdedSampler:
    """Sampler for PyTorch's ``DataLoader`` that serves the samples in one herded order, the same every epoch.

    ``DataLoader(dataset, batch_size=..., sampler=HerdedSampler(per_sample_gradients(...)))``. Herding is done once, when
    the sampler is built, from whatever represents the samples best: their gradients at a warm start. It needs the n × d
    vectors and a centred copy of them in memory for that time (16 n d bytes in float64); afterwards only the order is
    kept (8 n bytes).

    Parameters
    ----------
    vectors : array_like or Tensor, shape (n, d)
        One row a sample of the data set, in its order.

    Attributes
    ----------
    order : ndarray of int, shape (n,)
    herding_constant : float
        See `prefix_constant`.

    Raises
    ------
    ValueError
        As in `herded_order`.
    """

    def __init__(self, vectors: ArrayLike | torch.Tensor):
        if hasattr(vectors, "detach"):
            vectors = vectors.detach().cpu().numpy()
        self.order, self.herding_constant = herded_order(vectors)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())

    def __len__(self) -> int:
        return len(self.order)


def per_sample_gradients(
    model: torch.nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    """Gradient of the loss of each sample with respect to all trainable parameters, one row a sample.

    Parameters
    ----------
    model : torch.nn.Module
        Without dropout or batch normalisation in training mode, which mix or randomise samples.
    loss : callable
        From a batch of outputs and one of targets to a number.
    inputs, targets : Tensor, shapes (n, ...)

    Returns
    -------
    Tensor, shape (n, number of parameters)
    """
    from torch import cat
    from torch.func import functional_call, grad, vmap

    fixed: dict[str, Any] = {k: v.detach() for k, v in [*model.named_parameters(), *model.named_buffers()]}
    free = {k: fixed.pop(k) for k, v in model.named_parameters() if v.requires_grad}

    def one(parameters: dict[str, Any], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(functional_call(model, {**parameters, **fixed}, (x[None],)), y[None])

    rows = vmap(grad(one), in_dims=(None, 0, 0))(free, inputs, targets)
    return cat([row.flatten(start_dim=1) for row in rows.values()], dim=1)


def _centred(vectors: ArrayLike) -> Array:
    array = np.asarray(vectors, dtype=float)
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"vectors of shape {array.shape} must be finite and of shape (n, d)")
    return array - array.mean(axis=0)


@njit
def _greedy(z, rank, slack):  # type: ignore[no-untyped-def]
    n, d = z.shape
    squares, norms = (z**2).sum(axis=1), np.empty(n)
    total, left, order = np.zeros(d), np.arange(n), np.empty(n, dtype=np.int64)
    for k in range(n):
        least = np.inf
        for m in range(k, n):
            i = left[m]
            norms[m] = squares[i]
            for j in range(d):
                norms[m] += 2 * total[j] * z[i, j]
            least = min(least, norms[m])
        place = -1
        for m in range(k, n):
            if norms[m] <= least + slack and (place < 0 or rank[left[m]] < rank[left[place]]):
                place = m
        order[k] = left[place]
        left[place] = left[k]
        total += z[order[k]]
    return order
