"""Where the batches of a training come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from descentlab.data import Dataset
from descentlab.training import parallel
from descentlab.training.checkpoints import digest

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Resident:
    """Tensors on the device, indexed there."""

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int, subset: Tensor | None, test: tuple[Tensor, ...]
    ):
        self.inputs, self.targets, self.batch_size, self.subset, self.test = inputs, targets, batch_size, subset, test
        self.num_samples = len(inputs)
        self.size = len(inputs) if subset is None else len(subset)
        self.batches_per_epoch = -(-self.size // batch_size)
        self.are_images = inputs.ndim == 4

    def identity(self) -> dict[str, Any]:
        """What tells these batches from others."""
        parts = {"data": (self.inputs, self.targets), "test_data": self.test}
        sizes = {"num_samples": self.num_samples, "batch_size": self.batch_size}
        return sizes | {name: digest(part) for name, part in (parts | {"subset": self.subset}).items()}

    def to(self, device: torch.device) -> None:
        layout: Any = {"memory_format": torch.channels_last} if self.are_images and device.type == "cuda" else {}
        self.inputs, self.targets = self.inputs.to(device, **layout), self.targets.to(device)
        self.test = tuple(tensor.to(device) for tensor in self.test)

    def batches(
        self, epoch: int, generator: torch.Generator, augment: Augment | None, ranks: int, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        order = torch.randperm(self.size, generator=generator)
        order = (order if self.subset is None else self.subset[order]).to(device)
        mine = slice(parallel.rank(), None, ranks) if ranks > 1 else slice(None)
        for start in range(0, self.size, self.batch_size):
            indices = order[start : start + self.batch_size]
            # ranks draw the augmentation of the whole batch, so that it does not depend on their number
            inputs = self.inputs[indices if augment is not None else indices[mine]]
            if augment is not None:
                inputs = augment(inputs, generator)[mine]
            own = indices[mine]
            yield inputs, self.targets[own], own, len(indices)


class Loaded:
    """Batches of a DataLoader."""

    def __init__(self, loader: DataLoader):
        self.loader, self.batch_size, self.test = loader, loader.batch_size, ()
        try:
            self.batches_per_epoch = len(loader)
            self.num_samples = len(loader.dataset)  # type: ignore[arg-type]
        except TypeError as error:  # an iterable data set
            raise ValueError("data: a DataLoader needs a data set of known length") from error
        self.are_images = True

    def identity(self) -> dict[str, Any]:
        """What tells these batches from others, as far as can be seen without drawing them."""
        loader = self.loader
        sizes = {"num_samples": self.num_samples, "batch_size": self.batch_size, "drop_last": loader.drop_last}
        return sizes | {"data": _contents(loader.dataset), "sampler": type(loader.sampler).__name__}

    def to(self, device: torch.device) -> None:
        del device  # batches move one at a time

    def batches(
        self, epoch: int, generator: torch.Generator, augment: Augment | None, ranks: int, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None, int]]:
        if hasattr(self.loader.sampler, "set_epoch"):
            self.loader.sampler.set_epoch(epoch)
        for batch in self.loader:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise ValueError("data: a DataLoader must yield (inputs, targets) or (inputs, targets, indices)")
            inputs, targets, *rest = (tensor.to(device, non_blocking=True) for tensor in batch)
            inputs = inputs if augment is None else augment(inputs, generator)
            # as many on each rank, as DistributedSampler deals them out
            yield inputs, targets, rest[0] if rest else None, ranks * len(targets)


def source_of(data: Any, batch_size: int | None, subset: Any) -> Resident | Loaded:
    """Batches of what `fit` takes as data; ValueError where it does not fit."""
    if isinstance(data, DataLoader):
        if batch_size is not None and batch_size != data.batch_size:
            raise ValueError(f"batch_size={batch_size!r}, but the DataLoader's is {data.batch_size}; leave it out")
        if subset is not None:
            raise ValueError("subset is for data in memory; wrap the loader's data set in torch.utils.data.Subset")
        return Loaded(data)
    if isinstance(data, Dataset):
        inputs, targets, test = data.inputs, data.targets, (data.test_inputs, data.test_targets)
    elif isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(tensor, Tensor) for tensor in data):
        (inputs, targets), test = data, ()  # type: ignore[assignment]
    else:
        raise ValueError(f"data={type(data).__name__}; allowed are a Dataset, a pair of tensors and a DataLoader")
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(f"data: {len(inputs)} inputs and {len(targets)} targets; as many of both needed, at least one")
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be a positive whole number")
    if subset is None:
        return Resident(inputs, targets, batch_size, None, test)
    numbers = np.asarray(subset.cpu() if isinstance(subset, Tensor) else subset)
    fits = numbers.ndim == 1 and numbers.size > 0 and numbers.dtype.kind in "iu"  # a mask is not numbers
    if not fits or numbers.min() < 0 or numbers.max() >= len(inputs):
        raise ValueError(
            f"subset must be a row of sample numbers in 0 … {len(inputs) - 1}, found {numbers.dtype} of shape "
            f"{numbers.shape}" + (f" from {numbers.min()} to {numbers.max()}" if fits else "")
        )
    chosen = torch.from_numpy(numbers.astype(np.int64))
    return Resident(inputs, targets, batch_size, chosen, test)


def _contents(data: Any) -> Any:
    if isinstance(data, TensorDataset):
        return digest(data.tensors)
    if isinstance(data, Subset):
        return [_contents(data.dataset), digest(torch.as_tensor(data.indices))]
    return type(data).__name__


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed for an epoch; what an epoch draws depends on nothing before it."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
