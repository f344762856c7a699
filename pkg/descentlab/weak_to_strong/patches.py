"""Samples of three patches: two signals and noise."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

KINDS = ("easy", "hard", "both")
NUM_SIGNALS = 4  # two easy and two hard directions: the first four coordinates

HardPatches = Literal["same", "opposite"]
Seeds = int | Sequence[int]

# Directions of the six signal patches: easy of each class, then hard of each class with either sign.
_TYPES = torch.tensor(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, -1, 0], [0, 0, 0, 1], [0, 0, 0, -1]], dtype=torch.float64
)


class PatchData:
    r"""Samples :math:`X = (x^{(1)}, x^{(2)}, x^{(3)})` with labels :math:`y = \pm 1`.

    The signals are :math:`\mu_1 = \|\mu\| e_1`, :math:`\mu_{-1} = \|\mu\| e_2`, :math:`\nu_1 = \|\nu\| e_3` and
    :math:`\nu_{-1} = \|\nu\| e_4`; the noise patch is normal on the other coordinates. With a fair sign
    :math:`\epsilon`, the two signal patches are

    ======  ====  =====================================================================
    kind    code  patches
    ======  ====  =====================================================================
    easy    0     :math:`\mu_y, \mu_y`
    hard    1     :math:`\epsilon\nu_y, \epsilon\nu_y` (``"same"``) or :math:`\nu_y, -\nu_y` (``"opposite"``)
    both    2     :math:`\mu_y, \epsilon\nu_y`
    ======  ====  =====================================================================

    The order of the patches is fixed (signals, then noise): models with shared filters do not see it.

    Parameters
    ----------
    num_samples, dim : int
        Number of samples and length of a patch, at least 5.
    signal_easy, signal_hard : float
        Norms of :math:`\mu` and :math:`\nu`, positive.
    noise : float
        Standard deviation :math:`\sigma_p` of a noise coordinate.
    probabilities : (float, float, float)
        Of the kinds easy, hard and both.
    hard_patches : {"same", "opposite"}
        The two readings of a hard-only sample.
    seed : int or sequence of int
        A sequence gives a leading batch axis, one data set a seed.
    dtype : torch.dtype

    Attributes
    ----------
    labels : Tensor, shape (..., n)
        :math:`\pm 1`.
    kinds : Tensor, shape (..., n), int64
        Indices into `KINDS`.
    rows : Tensor, shape (..., n * q, p)
        What is not known to be a signal: the noise patches without their zeros (q = 1, p = dim - 4), or all patches
        of data from arrays (q patches, p = dim). Without leading axes where a batch shares it.
    counts : Tensor, shape (..., n, 6), or None
        How often each signal patch occurs in a sample.
    signals : Tensor, shape (6, 4), or (..., 6, 4) where they differ, or None
        The six signal patches in the first four coordinates.

    Raises
    ------
    ValueError
        An argument is out of range; the message names it.
    """

    def __init__(
        self,
        num_samples: int,
        dim: int,
        *,
        signal_easy: float = 4.0,
        signal_hard: float = 2.5,
        noise: float = 1.0,
        probabilities: Sequence[float] = (0.2, 0.3, 0.5),
        hard_patches: HardPatches = "same",
        seed: Seeds = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples} must be at least 1")
        if dim <= NUM_SIGNALS:
            raise ValueError(f"dim={dim} must be at least {NUM_SIGNALS + 1}: four signals, and room for noise")
        for name, size in (("signal_easy", signal_easy), ("signal_hard", signal_hard), ("noise", noise)):
            if not (np.isfinite(size) and (size > 0 or (name == "noise" and size == 0))):
                raise ValueError(f"{name}={size} must be positive and finite")
        kind_odds = np.asarray(probabilities, dtype=float)
        if kind_odds.shape != (3,) or not np.all(kind_odds >= 0) or abs(kind_odds.sum() - 1) > 1e-9:
            raise ValueError(f"probabilities={probabilities} must be three numbers (easy, hard, both) of sum 1")
        if hard_patches not in ("same", "opposite"):
            raise ValueError(f"hard_patches={hard_patches!r}; allowed are 'same' and 'opposite'")
        seeds = [seed] if isinstance(seed, (int, np.integer)) else list(seed)
        number = np.float32 if dtype == torch.float32 else np.float64
        rows = np.empty((len(seeds), num_samples, dim - NUM_SIGNALS), number)
        draws = [
            _draw(np.random.default_rng(s), kind_odds, hard_patches, out) for s, out in zip(seeds, rows, strict=True)
        ]
        kinds, labels, counts = (np.stack([draw[i] for draw in draws]) for i in range(3))
        self.num_patches, self.dim = 3, dim
        self.kinds, self.labels = torch.as_tensor(kinds), torch.as_tensor(labels, dtype=dtype)
        self.counts: Tensor | None = torch.as_tensor(counts, dtype=dtype)
        sizes = torch.tensor([signal_easy] * 2 + [signal_hard] * 2, dtype=torch.float64)
        self.signals: Tensor | None = (_TYPES * sizes).to(dtype)
        self.rows = torch.as_tensor(rows, dtype=dtype)
        if noise != 1:
            self.rows.mul_(noise)
        if isinstance(seed, (int, np.integer)):
            self.kinds, self.labels, self.counts, self.rows = (
                value[0] for value in (self.kinds, self.labels, self.counts, self.rows)
            )

    @classmethod
    def from_arrays(cls, patches: Any, labels: Any, kinds: Any) -> PatchData:
        """Data of your own: nothing is assumed of the patches.

        Parameters
        ----------
        patches : array, shape (..., n, q, d)
            Any number q of patches.
        labels : array, shape (..., n)
            1 or -1.
        kinds : array, shape (..., n)
            0, 1 or 2.

        Raises
        ------
        ValueError
            Shapes do not fit, a patch is not finite, or a label or kind is not one of those.
        """
        patches = torch.as_tensor(patches)
        if not patches.is_floating_point():
            patches = patches.to(torch.float64)
        if patches.ndim < 3 or patches.numel() == 0 or not _all_finite(patches):
            raise ValueError(f"patches: expected finite numbers of shape (..., n, q, d), found {tuple(patches.shape)}")
        shape, (num_patches, dim) = patches.shape[:-2], patches.shape[-2:]
        self = cls.__new__(cls)
        self.num_patches, self.dim, self.counts, self.signals = int(num_patches), int(dim), None, None
        self.labels = as_labels(labels, shape, patches)
        self.kinds = torch.as_tensor(kinds).to(torch.int64)
        if self.kinds.shape != shape or not bool(((self.kinds >= 0) & (self.kinds <= 2)).all()):
            found = f"{torch.unique(self.kinds)[:5].tolist()} of shape {tuple(self.kinds.shape)}"
            raise ValueError(f"kinds: expected 0, 1 or 2 of shape {tuple(shape)}, found {found}")
        self.rows = patches.reshape(*shape[:-1], shape[-1] * num_patches, dim)
        return self

    @property
    def num_samples(self) -> int:
        return int(self.labels.shape[-1])

    @property
    def batch(self) -> tuple[int, ...]:
        """Leading shape: empty, or (seeds,)."""
        return tuple(self.labels.shape[:-1])

    @property
    def patches(self) -> Tensor:
        """All patches, shape (..., n, q, d); built on request, three times as large as what is stored."""
        if self.signals is None or self.counts is None:
            patches = self.rows.unflatten(-2, (self.num_samples, self.num_patches))
            return patches.expand(*self.batch, *patches.shape[-3:])
        first, second = (self.counts > 0).int().argmax(-1), 5 - (self.counts.flip(-1) > 0).int().argmax(-1)
        out = self.rows.new_zeros((*self.labels.shape, 3, self.dim))
        for place, number in enumerate((first, second)):
            out[..., place, :NUM_SIGNALS] = torch.nn.functional.one_hot(number, 6).to(out.dtype) @ self.signals
        out[..., 2, NUM_SIGNALS:] = self.rows
        return out

    def patch_sums(self) -> Tensor:
        """Sum over patches, all that a linear model sees; shape (..., n, d)."""
        if self.signals is None or self.counts is None:
            return self.patches.sum(-2)
        signals = self.counts @ self.signals
        return torch.cat([signals, self.rows.expand(*self.batch, *self.rows.shape[-2:])], dim=-1)

    def subset(self, index: Any) -> PatchData:
        """The samples at `index` (a slice, a mask or indices, the same for all seeds)."""
        part = self._with(self.labels[..., index], self.kinds[..., index])
        part.counts = None if self.counts is None else self.counts[..., index, :]
        part.rows = self.rows.unflatten(-2, (self.num_samples, -1))[..., index, :, :].flatten(-3, -2)
        return part

    def of_seed(self, index: int | slice) -> PatchData:
        """One data set of a batch of them, or a smaller batch."""
        part = self._with(self.labels[index], self.kinds[index])
        part.counts = None if self.counts is None else self.counts[index]
        part.rows = self.rows[index] if self.rows.ndim > 2 else self.rows
        part.signals = self.signals[index] if self.signals is not None and self.signals.ndim > 2 else self.signals
        return part

    def repeated(self, times: int) -> PatchData:
        """A batch of `times` times the same data, held once; of data without a batch."""
        part = self._with(self.labels.expand(times, -1), self.kinds.expand(times, -1))
        part.counts = None if self.counts is None else self.counts.expand(times, -1, -1)
        return part

    def under_laws(self, laws: Sequence[Mapping[str, Any]], seed: int) -> PatchData:
        """The data of several laws as a batch: what each would draw with this seed, their common noise held once.

        Kinds, labels and signs are drawn before the noise, which is therefore the same whatever the signals and the
        probabilities are.

        Parameters
        ----------
        laws : sequence of dict
            Arguments of `PatchData` for the signals and the kinds.
        seed : int
            That of these data, which have no batch.
        """
        n, dtype = self.num_samples, self.rows.dtype
        parts = [PatchData(n, NUM_SIGNALS + 1, seed=seed, dtype=dtype, **law) for law in laws]
        whole = self._with(torch.stack([part.labels for part in parts]), torch.stack([part.kinds for part in parts]))
        whole.counts = torch.stack([part.counts for part in parts if part.counts is not None])
        whole.signals = torch.stack([part.signals for part in parts if part.signals is not None])
        return whole

    def _with(self, labels: Tensor, kinds: Tensor) -> PatchData:
        """A copy that shares everything but labels and kinds."""
        part = copy.copy(self)
        part.labels, part.kinds = labels, kinds
        return part

    def to(self, device: str | torch.device) -> PatchData:
        """The same data on a device."""
        part = self._with(self.labels.to(device), self.kinds.to(device))
        part.rows = self.rows.to(device)
        part.counts = None if self.counts is None else self.counts.to(device)
        part.signals = None if self.signals is None else self.signals.to(device)
        return part

    def __repr__(self) -> str:
        seeds = f"{self.batch[0]} × " if self.batch else ""
        return f"PatchData({seeds}{self.num_samples} samples of {self.num_patches} patches, dim {self.dim})"


def _draw(
    rng: np.random.Generator, odds: np.ndarray, hard_patches: str, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds, labels, and counts of the six signal patches; `noise`, shape (n, p), is filled with normal numbers."""
    n = len(noise)
    kinds = rng.choice(3, n, p=odds)
    labels = rng.choice([-1, 1], n)
    minus = rng.random(n) < 0.5  # the sign of the hard signal
    easy, hard = np.where(labels > 0, 0, 1), np.where(labels > 0, 2, 4)
    first = np.where(kinds == 1, hard + minus, easy)
    other = np.where(kinds == 1, hard + (~minus if hard_patches == "opposite" else minus), hard + minus)
    second = np.where(kinds == 0, easy, other)
    counts = np.eye(6)[first] + np.eye(6)[second]
    rng.standard_normal(out=noise, dtype=noise.dtype)
    return kinds, labels, counts


def _all_finite(values: Tensor) -> bool:
    """A finite sum has finite terms; entry by entry only where it may have overflowed."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def as_labels(labels: Any, shape: Sequence[int], like: Tensor, name: str = "labels") -> Tensor:
    """Labels as a tensor of 1 and -1 beside `like`; ValueError where they are something else."""
    labels = torch.as_tensor(labels).to(device=like.device, dtype=like.dtype)
    if tuple(labels.shape) != tuple(shape) or not bool((labels.abs() == 1).all()):
        found = f"{torch.unique(labels)[:5].tolist()} of shape {tuple(labels.shape)}"
        raise ValueError(f"{name}: expected 1 and -1 of shape {tuple(shape)}, found {found}")
    return labels


def ideal_pseudo_labels(data: PatchData, *, flip_probability: float = 0.5, seed: int = 0) -> Tensor:
    """Labels of a perfect linear teacher: true, but for hard-only samples, which are flipped with probability ½.

    Another `flip_probability` is that of a teacher who knows a little about hard signals, or is misled by them.
    """
    if not 0 <= flip_probability <= 1:
        raise ValueError(f"flip_probability={flip_probability} must be in [0, 1]")
    draws = np.random.default_rng([seed, 23]).random(tuple(data.labels.shape))
    flip = torch.as_tensor(draws < flip_probability).to(data.kinds.device)
    return torch.where(flip & (data.kinds == 1), -data.labels, data.labels)


def fingerprints(data: PatchData) -> Tensor:
    """A number a sample by which it is recognised; shape (all samples,), int64.

    The bits of its entries, mixed by random odd factors modulo 2^64: equal samples have equal numbers, whatever the
    order of summation, and different ones differ but for a chance of about 2^-64 a pair.
    """
    entries = data.rows.unflatten(-2, (data.num_samples, -1)).flatten(0, -3).flatten(-2)
    some = entries[:, :: max(1, entries.shape[-1] // 64)].double().contiguous().view(torch.int64)
    factors = np.random.default_rng(37).integers(-(2**62), 2**62, some.shape[-1]) * 2 + 1
    return ((some ^ (some >> 32)) * torch.as_tensor(factors, device=some.device)).sum(-1)
