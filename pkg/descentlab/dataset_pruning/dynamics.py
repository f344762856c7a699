"""Recording what a network thinks of each training sample, epoch by epoch, while it trains."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descentlab import training
from descentlab.dataset_pruning.scores import dual_score, dyn_unc_score

RECORDS = ("correct", "margins", "errors", "all_probabilities")
_MANY = 2**22  # entries of logits that may wait to be taken in


class TrainingDynamics:
    r"""Table of the probabilities that each epoch's forward passes gave to the samples' labels.

    Call `update` with every batch of an ordinary training loop, before the optimizer's step, and `end_epoch` after each
    epoch. Nothing is computed twice, and nothing waits for the device before `end_epoch`.

    Parameters
    ----------
    num_samples : int
        N; samples are numbered 0 … N − 1.
    num_epochs : int
        T, the epochs to record.
    device : str or torch.device
        Where the logits are.
    dtype : torch.dtype
        Of the table.
    record : collection of str
        What else to keep: ``"correct"`` (T, N), whether the label had the largest probability; ``"margins"`` (T, N), the
        label's probability minus the largest other; ``"errors"`` (T, N), :math:`\|p - \text{onehot}\|_2`;
        ``"all_probabilities"`` (T, N, C).
    streaming : bool
        Keep the last `window` epochs and running sums only, O(JN) numbers instead of O(TN); `dual_score`,
        `dyn_unc_score` and `mean_probability` are the same, the table itself is not there.
    window : int
        J, of the scores in streaming mode.
    across_ranks : bool
        Under ``torchrun``: each rank sees a part of the samples, and `end_epoch` puts the parts together. False where
        each rank sees them all.

    Raises
    ------
    ValueError
        An argument makes no sense; shapes of a batch do not fit; at the end of an epoch, see `end_epoch`.
    """

    def __init__(
        self,
        num_samples: int,
        num_epochs: int,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        record: Collection[str] = (),
        streaming: bool = False,
        window: int = 10,
        across_ranks: bool = True,
    ):
        for name, value in (("num_samples", num_samples), ("num_epochs", num_epochs)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive whole number")
        if unknown := sorted(set(record) - set(RECORDS)):
            raise ValueError(f"record has {unknown}; allowed are {', '.join(RECORDS)}")
        if streaming and record:
            raise ValueError(f"record={tuple(record)!r} needs O(TN) numbers; with streaming=True it must be empty")
        if streaming and not (isinstance(window, int) and 2 <= window <= num_epochs):
            raise ValueError(f"window={window!r} must be from 2 to num_epochs={num_epochs}")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype={dtype!r} must be a type of floating-point numbers")
        self.num_samples, self.num_epochs, self.window, self.streaming = num_samples, num_epochs, window, streaming
        self.across_ranks = across_ranks
        self.device, self.dtype = training.choose_device(device), dtype
        self._computed = torch.promote_types(dtype, torch.float32)  # softmax is taken in single precision at least
        self.record = tuple(name for name in RECORDS if name in record)
        self.epoch = 0
        depth = window if streaming else num_epochs
        self._table = torch.zeros(depth, num_samples, dtype=dtype, device=self.device)
        self._kept: dict[str, Tensor] = {}
        for name in self.record:
            if name != "all_probabilities":  # its last axis is known after the first epoch
                kind = torch.bool if name == "correct" else dtype
                self._kept[name] = torch.zeros(num_epochs, num_samples, dtype=kind, device=self.device)
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self._sums = torch.zeros(3 if streaming else 0, num_samples, dtype=exact, device=self.device)
        self._begin()

    def _begin(self) -> None:
        """No batch of the epoch yet."""
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []  # batches as they came: (indices, logits, targets)
        self._parts: dict[str, list[Tensor]] = {name: [] for name in ("indices", "own", *self.record)}
        self._taken, self._num_waiting, self._num_classes = 0, 0, 0

    def update(self, indices: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Take in a batch.

        Parameters
        ----------
        indices : Tensor of int64, shape (batch,)
            Numbers of the samples.
        logits : Tensor, shape (batch, C)
            Outputs of the network in training mode, before the step; the graph is not kept.
        targets : Tensor of int64, shape (batch,)
        """
        self._check_unfinished()
        if not all(isinstance(tensor, Tensor) for tensor in (indices, logits, targets)):
            kinds = ", ".join(type(value).__name__ for value in (indices, logits, targets))
            raise ValueError(f"indices, logits, targets are {kinds}; tensors needed")
        if logits.ndim != 2 or indices.shape != logits.shape[:1] or targets.shape != logits.shape[:1]:
            shapes = ", ".join(str(tuple(t.shape)) for t in (indices, logits, targets))
            raise ValueError(f"indices, logits, targets of shapes {shapes}; (batch,), (batch, C), (batch,) needed")
        if any(t.is_floating_point() or t.dtype == torch.bool for t in (indices, targets)):
            raise ValueError("indices and targets must be whole numbers")
        if not logits.is_floating_point() or logits.shape[1] == 0:
            raise ValueError(f"logits of {logits.shape[1]} classes, {logits.dtype}: floating-point numbers needed")
        if self._num_classes not in (0, logits.shape[1]):
            raise ValueError(f"logits of {logits.shape[1]} classes, in an epoch that began with {self._num_classes}")
        if self._taken + len(indices) > 4 * self.num_samples + 4 * len(indices):
            raise ValueError(
                f"{self._taken + len(indices)} samples since the last end_epoch(), of {self.num_samples}: "
                "was it not called?"
            )
        self._taken, self._num_classes = self._taken + len(indices), logits.shape[1]
        # copies, since the caller may use its tensors again
        batch = (indices, logits.detach(), targets)
        copies = [tensor.to(self.device, non_blocking=True, copy=True) for tensor in batch]
        self._waiting.append((copies[0], copies[1], copies[2]))
        self._num_waiting += logits.numel()
        if self._num_waiting >= _MANY:
            self._take_in()

    def _take_in(self) -> None:
        """What is kept of the batches that wait, all at once: a few long steps cost less than many short ones."""
        if not self._waiting:
            return
        indices, logits, targets = (torch.cat(tensors) for tensors in zip(*self._waiting, strict=True))
        self._waiting, self._num_waiting = [], 0
        # a label out of range would end a GPU program; end_epoch names it
        column = targets.long().clamp(0, self._num_classes - 1)[:, None]
        logits = logits.to(self._computed)
        # softmax, written out: on a CPU torch's own is slow for rows as short as these
        probabilities = (logits - logits.amax(dim=1, keepdim=True)).exp_()
        probabilities /= probabilities.sum(dim=1, keepdim=True)
        own = probabilities.gather(1, column)[:, 0]
        new = {"indices": indices.long(), "own": torch.where(column[:, 0] == targets, own, torch.nan)}
        if self.record:
            others = probabilities.scatter(1, column, -1.0).amax(dim=1)
            wrong = probabilities - torch.zeros_like(probabilities).scatter(1, column, 1.0)
            new |= {"correct": own > others, "margins": own - others, "errors": wrong.norm(dim=1)}
            new["all_probabilities"] = probabilities
        for name, parts in self._parts.items():
            parts.append(new[name])

    def _collect(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The epoch's values at the places of their samples, how often each was seen, and the range of the indices.

        One place more than there are samples takes what does not belong.
        """
        self._take_in()
        empty = torch.zeros(0, dtype=torch.int64, device=self.device)
        flat = {name: torch.cat(parts) if parts else empty for name, parts in self._parts.items()}
        indices = flat.pop("indices")
        place = torch.where((indices >= 0) & (indices < self.num_samples), indices, self.num_samples)
        places = self.num_samples + 1
        count = torch.zeros(places, dtype=torch.int32, device=self.device)
        count.index_add_(0, place, torch.ones_like(place, dtype=torch.int32))
        extent = torch.tensor([-self.num_samples, -1], device=self.device)  # minus the smallest index, and the largest
        if len(indices):
            extent = torch.maximum(extent, torch.stack([-indices.min(), indices.max()]))
        rows = {}
        for name, values in flat.items():
            kind = torch.uint8 if name == "correct" else self.dtype  # ranks can add bytes, not booleans
            rows[name] = torch.zeros((places, *values.shape[1:]), dtype=kind, device=self.device)
            if len(values):
                rows[name][place] = values.to(kind)
        return rows, count, extent

    def end_epoch(self) -> None:
        """Check the epoch and add it to the table; the one place that waits for the device.

        Under ``torchrun`` the ranks put their samples together, and each has the whole table afterwards.

        Raises
        ------
        ValueError
            A sample was seen twice or not at all, an index or label was out of range, or logits were NaN; samples are
            named. The epoch is not added, and may be repeated.
        """
        self._check_unfinished()
        rows, counts, extent = self._collect()
        if self.across_ranks:
            training.sum_over_ranks(counts, *rows.values())
            training.largest_over_ranks(extent)
        row, count = rows.pop("own")[:-1], counts[:-1]
        self._begin()
        wrong = (count != 1) | ~torch.isfinite(row)
        if bool(wrong.any() | (counts[-1] != 0)):
            message = self._complaint(row.cpu(), count.cpu(), extent.tolist())
            raise ValueError(f"epoch {self.epoch}: {message}; the epoch is not added to the table")
        if self.streaming:
            self._table[self.epoch % self.window] = row
            self._sums[0] += row
            if self.epoch + 1 >= self.window:
                exact = self._table.to(self._sums.dtype)
                mean, deviation = exact.mean(dim=0), exact.std(dim=0)  # divisor J − 1
                self._sums[1] += deviation * (1 - mean)
                self._sums[2] += deviation
        else:
            self._table[self.epoch] = row
            for name, values in rows.items():
                if name not in self._kept:
                    shape = (self.num_epochs, *values[:-1].shape)
                    self._kept[name] = torch.zeros(shape, dtype=self.dtype, device=self.device)
                self._kept[name][self.epoch] = values[:-1]
        self.epoch += 1

    def _check_unfinished(self) -> None:
        if self.epoch >= self.num_epochs:
            raise ValueError(f"all num_epochs={self.num_epochs} epochs are recorded")

    def _complaint(self, row: Tensor, count: Tensor, extent: list[int]) -> str:
        low, high = -extent[0], extent[1]
        found = []
        if low < 0 or high >= self.num_samples:
            found.append(f"indices from {low} to {high}, allowed are 0 … {self.num_samples - 1}")
        for text, which in (
            ("not seen", count == 0),
            ("seen more than once", count > 1),
            ("without a finite probability (NaN logits, or a label out of range)", (count > 0) & ~torch.isfinite(row)),
        ):
            if which.any():
                names = which.nonzero()[:, 0].tolist()
                listed = ", ".join(map(str, names[:8])) + (f" … ({len(names)} in all)" if len(names) > 8 else "")
                found.append(f"sample{'s' * (len(names) > 1)} {listed} {text}")
        return "; ".join(found)

    @property
    def probabilities(self) -> Tensor:
        """Probabilities of the labels, shape (epochs so far, N); not in streaming mode."""
        if self.streaming:
            raise ValueError("probabilities: streaming=True keeps no table; use dual_score() and mean_probability()")
        return self._table[: self.epoch]

    @property
    def correct(self) -> Tensor:
        """Whether the label had the largest probability, shape (epochs so far, N); needs ``record``."""
        return self._recorded("correct")

    @property
    def margins(self) -> Tensor:
        """Probability of the label minus the largest other, shape (epochs so far, N); needs ``record``."""
        return self._recorded("margins")

    @property
    def errors(self) -> Tensor:
        r""":math:`\|p - \text{onehot}\|_2`, shape (epochs so far, N); needs ``record``."""
        return self._recorded("errors")

    @property
    def all_probabilities(self) -> Tensor:
        """Probabilities of all classes, shape (epochs so far, N, C); needs ``record``."""
        return self._recorded("all_probabilities")

    def _recorded(self, name: str) -> Tensor:
        if name not in self.record:
            raise ValueError(f"{name} was not recorded; ask for it with record=({name!r},)")
        if name not in self._kept:
            raise ValueError(f"{name}: no epoch is recorded yet")
        return self._kept[name][: self.epoch]

    def dual_score(self, *, window: int | None = None) -> np.ndarray:
        """DUAL score of the epochs so far, shape (N,); in streaming mode of the `window` given at the start."""
        return self._score(1, window, dual_score)

    def dyn_unc_score(self, *, window: int | None = None) -> np.ndarray:
        """Dyn-Unc score of the epochs so far, shape (N,)."""
        return self._score(2, window, dyn_unc_score)

    def _score(self, which: int, window: int | None, score: Any) -> np.ndarray:
        if not self.streaming:
            return np.asarray(score(self.probabilities, window=self.window if window is None else window))
        if window not in (None, self.window):
            raise ValueError(f"window={window!r}: this streaming recorder keeps windows of {self.window}")
        windows = self.epoch - self.window + 1
        if windows < 1:
            raise ValueError(f"{self.epoch} epochs are recorded, a window needs {self.window}")
        return np.asarray(self._sums[which].cpu().double().numpy() / windows)

    def mean_probability(self) -> np.ndarray:
        """Mean over all recorded epochs, shape (N,)."""
        if self.epoch == 0:
            raise ValueError("no epoch is recorded yet")
        total = self._sums[0] if self.streaming else self._table[: self.epoch].to(self._sums.dtype).sum(dim=0)
        return np.asarray(total.cpu().double().numpy() / self.epoch)

    def state_dict(self) -> dict[str, Any]:
        """What is recorded, for a checkpoint between epochs."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "table": self._table,
            "sums": self._sums,
            "kept": dict(self._kept),
        }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; tables of another length are cut or extended."""
        if state["table"].shape[1] != self.num_samples or state["epoch"] > self.num_epochs:
            shape = tuple(state["table"].shape)
            raise ValueError(
                f"state: a table of shape {shape} at epoch {state['epoch']} for N={self.num_samples}, T={self.num_epochs}"
            )
        depth = self.window if self.streaming else state["table"].shape[0]
        if bool(len(state["sums"])) != self.streaming or state["table"].shape[0] != depth:
            raise ValueError("state: recorded with another streaming or window than this recorder's")
        if state["epoch"] and (missing := sorted(set(self.record) - set(state["kept"]))):
            raise ValueError(f"state: recorded without {', '.join(missing)}")
        self.epoch = state["epoch"]
        rows = self.window if self.streaming else self.epoch
        self._table[:rows] = state["table"][:rows].to(self.device)
        self._sums = state["sums"].to(self.device)
        for name in set(self.record) & set(state["kept"]):
            values = state["kept"][name]
            whole = torch.zeros((self.num_epochs, *values.shape[1:]), dtype=values.dtype, device=self.device)
            whole[: self.epoch] = values[: self.epoch].to(self.device)
            self._kept[name] = whole
        self._begin()


class RecordDynamics(training.Callback):
    """Record `dynamics` during `training.fit`; survives its checkpoints.

    Parameters
    ----------
    record, streaming, window, dtype
        As for `TrainingDynamics`.
    num_epochs : int, optional
        T; by default every epoch of the training.

    Attributes
    ----------
    dynamics : TrainingDynamics
        There once the training has begun.
    """

    dynamics: TrainingDynamics

    def __init__(
        self,
        *,
        record: Collection[str] = (),
        num_epochs: int | None = None,
        streaming: bool = False,
        window: int = 10,
        dtype: torch.dtype = torch.float32,
    ):
        self._settings: dict[str, Any] = {"record": record, "streaming": streaming, "window": window, "dtype": dtype}
        self._num_epochs = num_epochs
        self._saved: dict[str, Any] | None = None

    def start(self, run: training.Run) -> None:
        num_epochs = min(self._num_epochs or run.num_epochs, run.num_epochs)
        self.dynamics = TrainingDynamics(run.num_samples, num_epochs, device=run.device, **self._settings)
        if self._saved is not None:
            self.dynamics.load_state_dict(self._saved)

    def batch(self, run: training.Run, indices: Tensor | None, outputs: Tensor, targets: Tensor) -> None:
        if indices is None:
            raise ValueError("RecordDynamics: the DataLoader must yield (inputs, targets, indices)")
        if self.dynamics.epoch < self.dynamics.num_epochs:
            self.dynamics.update(indices, outputs, targets)

    def epoch(self, run: training.Run) -> None:
        if self.dynamics.epoch < self.dynamics.num_epochs:
            self.dynamics.end_epoch()

    def state_dict(self) -> dict[str, Any]:
        return self.dynamics.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._saved = state
