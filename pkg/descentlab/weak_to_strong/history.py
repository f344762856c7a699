"""What is logged during a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from descentlab.weak_to_strong.patches import PatchData

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """What was logged, k times in a run; the leading ``...`` is the batch of seeds.

    Attributes
    ----------
    steps : array, shape (k,)
    loss : array, shape (..., k)
        Mean logistic loss on the labels that were trained on.
    train_accuracy : array, shape (..., k)
        Agreement with those labels.
    corrected : array, shape (..., k)
        Among samples whose label is wrong, the fraction predicted with the true one; NaN where no label is wrong.
    test_accuracy : array, shape (..., k)
        NaN without test data, as are the next two.
    test_by_kind : array, shape (..., k, 3)
        For easy, hard and both; NaN for a kind that does not occur.
    predictions : array, shape (..., k, n_test), or None
        Signs on the test samples, where they were asked for.
    hard_products, easy_products : array, shape (..., k, 2, m), or None
        Inner products of each filter with the hard and the easy signal of its own class.
    noise_product : array, shape (..., k)
        Mean absolute inner product of filters and noise patches.
    """

    steps: NDArray[np.int64]
    loss: Array
    train_accuracy: Array
    corrected: Array
    test_accuracy: Array
    test_by_kind: Array
    predictions: Array | None
    hard_products: Array | None
    easy_products: Array | None
    noise_product: Array

    def at(self, step: int) -> int:
        """Index of a logged step.

        Raises
        ------
        ValueError
            `step` was not logged.
        """
        found = np.flatnonzero(self.steps == step)
        if not found.size:
            raise ValueError(f"step={step} was not logged; logged are {self.steps.min()} … {self.steps.max()}")
        return int(found[0])

    def of_batch(self, index: int | slice) -> History:
        """One run of a batch, or some."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "steps"}
        part: dict[str, Any] = {name: None if column is None else column[index] for name, column in columns.items()}
        return History(steps=self.steps, **part)


def joined(parts: Sequence[History], join: Callable[[list[Array]], Array] = np.concatenate) -> History:
    """Histories of several seeds as one: joined along their leading axis, or with ``numpy.stack`` given one."""
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(History) if f.name != "steps"}
    together: dict[str, Any] = {n: None if column[0] is None else join(column) for n, column in columns.items()}
    return History(steps=parts[0].steps, **together)


def by_kind(right: Tensor, kinds: Tensor) -> Tensor:
    """Fraction that is right among the samples of each kind, shape (..., 3); NaN for a kind that does not occur."""
    of_kind = torch.stack([kinds == k for k in range(3)], dim=-2)
    return (right.unsqueeze(-2) & of_kind).sum(-1) / of_kind.sum(-1)


class Log:
    """Collects a `History`; ``add`` takes the outputs and pre-activations on the training set, and the outputs on the test set."""

    def __init__(self, data: PatchData, y: Tensor, test: PatchData | None, keep_predictions: bool = False) -> None:
        self.data, self.y, self.test, self.keep = data, y, test, keep_predictions
        self.steps: list[int] = []
        self.entries: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def add(self, step: int, f: Tensor, z: Tensor, table: Tensor | None, on_test: Tensor | None) -> None:
        positive = f >= 0
        flipped = self.y != self.data.labels
        entry = {
            "loss": torch.nn.functional.softplus(-self.y * f).mean(-1),
            "train_accuracy": (positive == (self.y > 0)).double().mean(-1),
            "corrected": (flipped & (positive == (self.data.labels > 0))).sum(-1) / flipped.sum(-1),
            "noise_product": z.abs().mean((-1, -2)) if z.ndim > f.ndim else z.abs().mean(-1),
        }
        if on_test is not None and self.test is not None:
            right = (on_test >= 0) == (self.test.labels > 0)
            entry["test_accuracy"] = right.double().mean(-1)
            entry["test_by_kind"] = by_kind(right, self.test.kinds.expand(right.shape))
            if self.keep:
                entry["predictions"] = torch.where(on_test >= 0, 1.0, -1.0)
        if table is not None:
            per_class = table.unflatten(-2, (2, -1))
            entry["easy_products"] = torch.stack([per_class[..., 0, :, 0], per_class[..., 1, :, 1]], dim=-2)
            entry["hard_products"] = torch.stack([per_class[..., 0, :, 2], per_class[..., 1, :, 4]], dim=-2)
        self.steps.append(step)
        self.entries.append({name: value.detach().cpu().double() for name, value in entry.items()})

    def history(self) -> History:
        batch = self.entries[0]["loss"].ndim
        logged = {name: torch.stack([e[name] for e in self.entries], dim=batch).numpy() for name in self.entries[0]}
        none = np.full(logged["loss"].shape, np.nan)
        logged.setdefault("test_accuracy", none)
        logged.setdefault("test_by_kind", np.stack([none] * 3, axis=-1))
        optional = {name: logged.get(name) for name in ("predictions", "hard_products", "easy_products")}
        return History(steps=np.array(self.steps), **(logged | optional))  # type: ignore[arg-type]
