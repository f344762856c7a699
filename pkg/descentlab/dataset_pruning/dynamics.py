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
    ):
        for name, value in (("num_samples", num_samples), ("num_epochs", num_epochs)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive whole number")
        if unknown := sorted(set(record) - set(RECORDS)):
            raise ValueError(f"record has {unknown}; allowed are {', '.join(RECORDS)}")
        if streaming and record:
            raise ValueError(f"record={tuple(record)!r} needs O(TN) numbers; with streaming=True it must be empty")
        if streaming and not 2 <= window <= num_epochs:
            raise ValueError(f"window={window!r} must be from 2 to num_epochs={num_epochs}")
        self.num_samples, self.num_epochs, self.window, self.streaming = num_samples, num_epochs, window, streaming
        self.device, self.dtype = torch.device(device), dtype
        self.record = tuple(name for name in RECORDS if name in record)
        self.epoch = 0
        depth = window if streaming else num_epochs
        self._table = torch.zeros(depth, num_samples, dtype=dtype, device=self.device)
        self._kept: dict[str, Tensor] = {}
        self._extra: dict[str, Tensor] = {}
        kinds = {"correct": torch.bool, "margins": dtype, "errors": dtype}
        for name in self.record:
            if name != "all_probabilities":  # its last axis is known at the first batch
                self._kept[name] = torch.zeros(num_epochs, num_samples, dtype=kinds[name], device=self.device)
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self._sums = torch.zeros(3 if streaming else 0, num_samples, dtype=exact, device=self.device)
        self._begin()

    def _begin(self) -> None:
        """Empty buffers for an epoch; one place more than there are samples takes what does not belong."""
        places = self.num_samples + 1
        self._row = torch.zeros(places, dtype=self.dtype, device=self.device)
        self._extra = {}
        for name, table in self._kept.items():
            if table.ndim == 2:
                kind = torch.uint8 if table.dtype == torch.bool else table.dtype  # ranks can add bytes, not booleans
                self._extra[name] = torch.zeros(places, dtype=kind, device=self.device)
        if "all_probabilities" in self._kept:
            shape = (places, self._kept["all_probabilities"].shape[2])
            self._extra["all_probabilities"] = torch.zeros(shape, dtype=self.dtype, device=self.device)
        self._count = torch.zeros(places, dtype=torch.int32, device=self.device)
        # smallest and largest index seen, as (−smallest, largest)
        self._range = torch.full((2,), -1, dtype=torch.int64, device=self.device)
        self._range[0] = -self.num_samples

    @torch.no_grad()
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
        if self.epoch >= self.num_epochs:
            raise ValueError(f"all num_epochs={self.num_epochs} epochs are recorded")
        if logits.ndim != 2 or indices.shape != logits.shape[:1] or targets.shape != logits.shape[:1]:
            shapes = ", ".join(str(tuple(t.shape)) for t in (indices, logits, targets))
            raise ValueError(f"indices, logits, targets of shapes {shapes}; (batch,), (batch, C), (batch,) needed")
        if indices.is_floating_point() or targets.is_floating_point():
            raise ValueError("indices and targets must be whole numbers")
        indices, targets = indices.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)
        num_classes = logits.shape[1]
        # an index or label out of range would end a GPU program; it is taken aside here, and named by end_epoch
        place = torch.where((indices >= 0) & (indices < self.num_samples), indices, self.num_samples)
        self._range = torch.maximum(
            self._range, torch.stack([-indices.min(), indices.max()]) if len(indices) else self._range
        )
        legal = (targets >= 0) & (targets < num_classes)
        column = torch.where(legal, targets, 0)[:, None]
        probabilities = torch.softmax(logits.detach().to(torch.promote_types(self.dtype, torch.float32)), dim=1)
        own = torch.where(legal, probabilities.gather(1, column)[:, 0], torch.nan)
        self._row[place] = own.to(self.dtype)
        self._count.index_add_(0, place, torch.ones_like(place, dtype=torch.int32))
        if self.record:
            self._update_extra(place, probabilities, own, column)

    def _update_extra(self, place: Tensor, probabilities: Tensor, own: Tensor, column: Tensor) -> None:
        others = probabilities.scatter(1, column, -1.0).amax(dim=1)
        if "all_probabilities" in self.record and "all_probabilities" not in self._kept:
            shape = (self.num_samples, probabilities.shape[1])
            self._kept["all_probabilities"] = torch.zeros(
                (self.num_epochs, *shape), dtype=self.dtype, device=self.device
            )
            self._extra["all_probabilities"] = torch.zeros(
                (shape[0] + 1, shape[1]), dtype=self.dtype, device=self.device
            )
        new = {
            "correct": own > others,
            "margins": own - others,
            "errors": (probabilities - torch.zeros_like(probabilities).scatter(1, column, 1.0)).norm(dim=1),
            "all_probabilities": probabilities,
        }
        for name in self.record:
            self._extra[name][place] = new[name].to(self._extra[name].dtype)

    def end_epoch(self) -> None:
        """Check the epoch and add it to the table; the one place that waits for the device.

        Under ``torchrun`` the ranks put their samples together, and each has the whole table afterwards.

        Raises
        ------
        ValueError
            A sample was seen twice or not at all, an index or label was out of range, or logits were NaN; samples are
            named. The epoch is not added, and may be repeated.
        """
        training.sum_over_ranks(self._row, self._count, *self._extra.values())
        training.largest_over_ranks(self._range)
        row, count = self._row[:-1], self._count[:-1]
        wrong = (count != 1) | ~torch.isfinite(row)
        if bool(wrong.any() | (self._count[-1] != 0)):
            message = self._complaint(row.cpu(), count.cpu())
            self._begin()
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
            for name, values in self._extra.items():
                self._kept[name][self.epoch] = values[:-1]
        self.epoch += 1
        self._begin()

    def _complaint(self, row: Tensor, count: Tensor) -> str:
        low, high = -int(self._range[0]), int(self._range[1])
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
            raise ValueError(f"{name}: no batch was taken in yet")
        return self._kept[name][: self.epoch]

    def dual_score(self, *, window: int | None = None) -> np.ndarray:
        """DUAL score of the epochs so far, shape (N,); in streaming mode of the `window` given at the start."""
        return self._score(1, window, dual_score)

    def dyn_unc_score(self, *, window: int | None = None) -> np.ndarray:
        """Dyn-Unc score of the epochs so far, shape (N,)."""
        return self._score(2, window, dyn_unc_score)

    def _score(self, which: int, window: int | None, score: Any) -> np.ndarray:
        if not self.streaming:
            return np.asarray(score(self.probabilities(), window=self.window if window is None else window))
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
        self.epoch = state["epoch"]
        rows = self.window if self.streaming else self.epoch
        self._table[:rows] = state["table"][:rows].to(self.device)
        self._sums = state["sums"].to(self.device)
        for name, values in state["kept"].items():
            whole = torch.zeros((self.num_epochs, *values.shape[1:]), dtype=values.dtype, device=self.device)
            whole[: self.epoch] = values[: self.epoch].to(self.device)
            self._kept[name] = whole
        self._begin()


def replay(probabilities: Any, *, seed: int = 0, **settings: Any) -> TrainingDynamics:
    """Pass a table through `TrainingDynamics`, each epoch in an order of its own, as the logits of two classes.

    Parameters
    ----------
    probabilities : array, shape (T, N), entries in (0, 1)
    seed : int
        Of the orders.
    **settings
        For `TrainingDynamics`.
    """
    table = torch.as_tensor(np.asarray(probabilities))
    dynamics = TrainingDynamics(table.shape[1], table.shape[0], dtype=table.dtype, **settings)
    rng = np.random.default_rng(seed)
    for row in table:
        order = torch.from_numpy(rng.permutation(len(row)))
        p = row[order]
        dynamics.update(order, torch.stack([p.log(), torch.log1p(-p)], dim=1), torch.zeros_like(order))
        dynamics.end_epoch()
    return dynamics


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
