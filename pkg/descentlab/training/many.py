"""Many small trainings at once: networks stacked along a leading axis, where that is faster than one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.lr_scheduler import LambdaLR

from descentlab.data import Dataset
from descentlab.networks import seeded
from descentlab.training import parallel
from descentlab.training.batches import Augment, epoch_seed, source_of
from descentlab.training.engine import Loss, Result, _test, cross_entropy, fit


def fit_many(
    build: Callable[[], nn.Module],
    data: Dataset | tuple[Tensor, Tensor],
    *,
    seeds: Sequence[int],
    subsets: Sequence[Any] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer],
    num_epochs: int,
    batch_size: int,
    schedule: Callable[[int], float] | None = None,
    loss: Loss = cross_entropy,
    augment: Augment | None = None,
    method: Literal["auto", "loop", "vmap"] = "auto",
    device: str | torch.device = "auto",
) -> list[Result]:
    """Train one network a seed, each as `fit` would with that seed.

    Parameters
    ----------
    build : callable
        Makes a network; called once a seed, with the global generator of torch set to it.
    data, num_epochs, batch_size, schedule, loss, augment, device
        As for `fit`.
    seeds : sequence of int, length K
    subsets : sequence of index arrays, length K, optional
        What each network trains on; by default all samples.
    optimizer : callable from parameters to an Optimizer
        Updates must act entry by entry, as those of SGD and Adam do: stacked networks share one.
    method : {"auto", "loop", "vmap"}
        One after another, or stacked by ``torch.func.vmap``, equal up to rounding; "auto" times a few steps of both.

    Returns
    -------
    list of Result, length K

    Raises
    ------
    ValueError
        `subsets` does not have one entry a seed, or ``method="vmap"`` for networks that cannot be stacked: subsets of
        different sizes, or batch norm, whose running statistics are of one network.
    """
    if subsets is not None and len(subsets) != len(seeds):
        raise ValueError(f"subsets has {len(subsets)} entries, seeds {len(seeds)}; one each needed")
    if method not in ("auto", "loop", "vmap"):
        raise ValueError(f"method={method!r}; allowed are 'auto', 'loop' and 'vmap'")
    chosen = [None] * len(seeds) if subsets is None else list(subsets)
    common: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch_size, "loss": loss, "device": device}
    common |= {"augment": augment, "schedule": schedule}
    models = []
    for seed in seeds:
        with seeded(seed):
            models.append(build())
    obstacle = _obstacle(models, chosen)
    if method == "vmap" and obstacle:
        raise ValueError(f"method='vmap': {obstacle}; use 'loop'")
    if method == "auto":
        method = "loop" if obstacle or len(seeds) < 2 else faster_method(build, data, num_networks=len(seeds), **common)
    if method == "vmap":
        return _fit_stacked(models, data, seeds, chosen, num_epochs=num_epochs, **common)
    return [
        fit(model, data, subset=subset, seed=seed, num_epochs=num_epochs, progress=False, **common)
        for model, subset, seed in zip(models, chosen, seeds, strict=True)
    ]


def faster_method(
    build: Callable[[], nn.Module],
    data: Any,
    *,
    num_networks: int,
    batch_size: int,
    num_steps: int = 3,
    **arguments: Any,
) -> Literal["loop", "vmap"]:
    """Whether stacking `num_networks` networks is faster here: a few steps of both, after one to warm up."""
    size = min(num_steps * batch_size, len(data[0] if isinstance(data, tuple) else data.inputs))
    few = [np.arange(size)] * num_networks
    seconds = {}
    for method in ("vmap", "loop"):
        call: Any = {"seeds": range(num_networks), "subsets": few, "batch_size": batch_size, "method": method}
        fit_many(build, _train_only(data), num_epochs=1, **call, **arguments)
        start = time.perf_counter()
        losses = [r.curves["loss"][-1] for r in fit_many(build, _train_only(data), num_epochs=1, **call, **arguments)]
        seconds[method] = time.perf_counter() - start
        del losses  # reading them waited for the device
    return "vmap" if seconds["vmap"] < seconds["loop"] else "loop"


def _train_only(data: Any) -> tuple[Tensor, Tensor]:
    return data if isinstance(data, tuple) else (data.inputs, data.targets)


def _obstacle(models: Sequence[nn.Module], subsets: Sequence[Any]) -> str:
    """Why these networks cannot be stacked; empty where they can."""
    if len({None if subset is None else len(subset) for subset in subsets}) > 1:
        return "the subsets differ in size"
    tracks = [m for m in models[0].modules() if getattr(m, "track_running_stats", False)]
    return f"{type(tracks[0]).__name__} tracks running statistics" if tracks else ""


def _fit_stacked(
    models: Sequence[nn.Module],
    data: Any,
    seeds: Sequence[int],
    subsets: Sequence[Any],
    *,
    optimizer: Callable[..., torch.optim.Optimizer],
    num_epochs: int,
    batch_size: int,
    schedule: Callable[[int], float] | None,
    loss: Loss,
    augment: Augment | None,
    device: Any,
) -> list[Result]:
    target = parallel.choose_device(device)
    sources: list[Any] = [source_of(data, batch_size, subset) for subset in subsets]
    first: Any = sources[0]
    first.to(target)
    for source in sources[1:]:  # one copy of the data serves all
        source.inputs, source.targets, source.test = first.inputs, first.targets, first.test
    for model in models:
        model.to(target).train()
    parameters, buffers = stack_module_state(list(models))  # type: ignore[arg-type]
    skeleton = models[0]
    made = optimizer(list(parameters.values()))
    scheduler = None if schedule is None else LambdaLR(made, schedule)

    def losses_of(
        weights: dict[str, Tensor], state: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        outputs = functional_call(skeleton, (weights, state), (inputs,))
        return loss(outputs, targets), outputs

    batched = vmap(losses_of, randomness="different")
    curves: dict[str, list[Any]] = {"loss": [], "accuracy": [], "learning_rate": [], "seconds": []}
    began = time.perf_counter()
    with torch.random.fork_rng([target] if target.type == "cuda" else []):
        torch.manual_seed(seeds[0])
        for epoch in range(num_epochs):
            started = time.perf_counter()
            generators = [torch.Generator().manual_seed(epoch_seed(seed, epoch)) for seed in seeds]
            streams = [s.batches(epoch, g, augment, 1, target) for s, g in zip(sources, generators, strict=True)]
            sums = torch.zeros(2, len(seeds), dtype=torch.float64, device=target)
            for parts in zip(*streams, strict=True):
                inputs, targets = (torch.stack([part[k] for part in parts]) for k in range(2))  # type: ignore[misc]
                made.zero_grad(set_to_none=True)
                losses, outputs = batched(parameters, buffers, inputs, targets)
                losses.mean(dim=1).sum().backward()
                made.step()
                if scheduler is not None:
                    scheduler.step()
                with torch.no_grad():
                    sums += torch.stack([losses.sum(dim=1), (outputs.argmax(dim=2) == targets).sum(dim=1)])
            curves["loss"].append((sums[0] / first.size).cpu().numpy())
            curves["accuracy"].append((sums[1] / first.size).cpu().numpy())
            curves["learning_rate"].append(np.full(len(seeds), made.param_groups[0]["lr"]))
            curves["seconds"].append(np.full(len(seeds), (time.perf_counter() - started) / len(seeds)))
    seconds = (time.perf_counter() - began) / len(seeds)
    results = []
    for k, model in enumerate(models):
        model.load_state_dict({name: stacked[k].detach() for name, stacked in {**parameters, **buffers}.items()})
        own = {name: np.array([values[k] for values in series]) for name, series in curves.items()}
        own |= _test(model, first.test, num_epochs)
        num_steps = num_epochs * first.batches_per_epoch
        results.append(Result(model, own, num_epochs, num_steps, seconds, str(target), "float32", False))
    return results
