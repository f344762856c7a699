"""Sample the posterior of a network on a data set: the loop around the kernels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from descentlab.data import Dataset
from descentlab.figures import progress as show_progress
from descentlab.networks import seeded
from descentlab.sgmcmc import expansion
from descentlab.sgmcmc._energies import posterior_of
from descentlab.sgmcmc.chains import chain_forward
from descentlab.sgmcmc.ensemble import Ensemble
from descentlab.sgmcmc.layouts import merge_parameters
from descentlab.sgmcmc.preconditioning import effective_steps
from descentlab.sgmcmc.schedules import CyclicalSchedule
from descentlab.sgmcmc.state import Energy, Kernel, State
from descentlab.training.checkpoints import load_checkpoint, save_checkpoint

Loss = Callable[[Tensor, Tensor], Tensor]
_MARK = "_expansion"


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the log-likelihood of each sample, of outputs (chains, batch, classes) and targets (chains or 1, batch)."""
    flat = outputs.reshape(-1, outputs.shape[-1]).T.unsqueeze(0)  # classes first: several times faster on a CPU
    wanted = targets.expand(outputs.shape[:-1]).reshape(1, -1)
    return nn.functional.cross_entropy(flat, wanted, reduction="none").view(outputs.shape[:-1])


def posterior_energy(
    model: nn.Module, num_data: int, *, loss: Loss = cross_entropy, prior_variance: float | None = None
) -> Energy:
    r"""Minus the log-posterior of a network, for kernels: :math:`\frac{N}{B} \sum_{\text{batch}} \ell - \log p(\theta)`.

    Parameters
    ----------
    model : Module
        Plain or expanded; its prior is `log_prior`'s.
    num_data : int
        N, however small the batches are.
    loss : callable
        (outputs, targets) → minus the log-likelihood of each sample, shape (chains, batch).
    prior_variance : float, optional

    Returns
    -------
    callable, (params, batch) -> Tensor of shape (chains,)
        `params` by name with the chains as first axis; a batch is (inputs, targets), each with the chains, or 1, as
        its first axis. Give it to a kernel as ``batched=True``. For networks of linear layers, RMSNorm and the usual
        activations it has a method ``value_and_grad``, which kernels prefer to automatic differentiation.
    """
    mark = getattr(model, _MARK, None)
    plain, groups = (model, ()) if mark is None else (expansion.merge(model), mark.groups)
    log_prior = expansion.prior_of(model, prior_variance=prior_variance)
    parts = (chain_forward(plain), groups, log_prior, loss, num_data)
    return posterior_of(model, plain, prior_variance, loss is cross_entropy, *parts)


def sample_posterior(
    model: nn.Module | Callable[[int], nn.Module],
    data: Dataset | tuple[Tensor, Tensor],
    *,
    kernel: Callable[..., Kernel],
    num_samples: int,
    steps_per_sample: int = 1,
    num_chains: int = 1,
    num_dropped: int = 0,
    batch_size: int | None = None,
    order: str = "replacement",
    loss: Loss = cross_entropy,
    prior_variance: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
    **settings: Any,
) -> Ensemble:
    """Run a sampler on the posterior of a network, all chains at once.

    Parameters
    ----------
    model : Module, or callable from a seed to one
        Plain, or from `expand`. A module is where all chains start; of a callable chain k takes ``model(seed + k)``.
    data : Dataset or pair of tensors (inputs, targets)
    kernel : callable, energy -> Kernel
        A builder such as `sghmc`, with its `settings`, or ``functools.partial(sghmc, step_size=…)``.
    num_samples : int
        Samples kept of each chain.
    steps_per_sample : int
        Updates between samples: with a cyclical schedule its cycle length.
    num_chains, num_dropped : int
        Chains, and samples dropped from the start of each.
    batch_size : int, optional
        Samples a step and chain; all of them by default, as `hmc` needs.
    order : {"replacement", "reshuffled", "cyclic"}
        How batches are drawn. Random orders are drawn anew for each chain. All but "replacement" leave out the
        remainder where `batch_size` does not divide the data.
    loss, prior_variance
        See `posterior_energy`.
    checkpoint : path, optional
        Written after each sample, in one step. A run that was killed and resumed ends bit for bit as an uninterrupted
        one, on a CPU.
    resume : bool
        Continue from `checkpoint` where it exists.
    seed : int
        Starts, batches and noise.
    device : str or torch.device
    progress : bool
    **settings
        Passed to `kernel`: step_size, friction, temperature, …

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        An argument makes no sense, or the checkpoint is damaged or of another run.
    NonFiniteEnergy
        The message names chain and step, ``error.state`` is the last good state, and the checkpoint of the last
        sample is kept.
    """
    from descentlab.training.parallel import choose_device

    if not callable(kernel):
        raise ValueError(f"kernel={kernel!r} must be a builder of kernels, such as sghmc")
    target = choose_device(device)
    inputs, targets = (data.inputs, data.targets) if isinstance(data, Dataset) else data
    _check(inputs, targets, num_samples, steps_per_sample, num_chains, num_dropped, batch_size, order)
    inputs, targets = inputs.to(target), targets.to(target)
    network, params = _starts(model, num_chains, seed, target)
    built = kernel(
        posterior_energy(network, len(inputs), loss=loss, prior_variance=prior_variance), batched=True, **settings
    )
    noise = torch.Generator(target).manual_seed(seed)
    draws = torch.Generator().manual_seed(seed + 1)
    state = built.init(params)
    kept: list[dict[str, Any]] = []
    identity = {
        "kernel": built.name, "num_data": len(inputs), "batch_size": batch_size or 0, "order": order, "seed": seed,
        "steps_per_sample": steps_per_sample, "settings": _described(settings), "shapes": {k: list(p.shape) for k, p in params.items()},
    }  # fmt: skip
    if checkpoint is not None and resume and os.path.exists(checkpoint):
        state, kept = _restore(load_checkpoint(checkpoint), checkpoint, identity, state, target, noise, draws)
    batches = _batches(inputs, targets, num_chains, batch_size, order, draws)
    if order != "replacement" and batch_size is not None:
        for _ in range(state.step):  # a stored generator stands at the run's start for orders that look ahead
            next(batches)
    total = num_dropped + num_samples
    numbers: Any = range(len(kept), total)
    for _ in show_progress(numbers, desc="samples") if progress else numbers:
        accepted, info = [], None
        for _ in range(steps_per_sample):
            state, info = built.step(state, next(batches), noise)
            if info.acceptance is not None:
                accepted.append(info.acceptance)
        kept.append(_record(network, state, info, accepted))
        if checkpoint is not None:
            save_checkpoint(checkpoint, _stored(identity, state, kept, noise, draws, order))
    return _ensemble(network, kept[num_dropped:total])


# -- the loop's parts -----------------------------------------------------------------------------------------------


def _check(
    inputs: Tensor,
    targets: Tensor,
    num_samples: int,
    steps: int,
    chains: int,
    dropped: int,
    batch: int | None,
    order: str,
) -> None:
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            f"data: {len(inputs)} inputs and {len(targets)} targets; expected one target for each, and some"
        )
    for name, value, least in (
        ("num_samples", num_samples, 1), ("steps_per_sample", steps, 1), ("num_chains", chains, 1), ("num_dropped", dropped, 0),
    ):  # fmt: skip
        if not (isinstance(value, int) and value >= least):
            raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")
    if batch is not None and not (isinstance(batch, int) and 1 <= batch <= len(inputs)):
        raise ValueError(f"batch_size={batch!r} must be between 1 and the {len(inputs)} samples")
    if order not in ("replacement", "reshuffled", "cyclic"):
        raise ValueError(f"order={order!r}; allowed are 'replacement', 'reshuffled' and 'cyclic'")


def _described(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings of a kernel that a checkpoint can be told apart by; functions and tensors are left out."""
    plain = (bool, int, float, str, CyclicalSchedule)
    return {name: repr(value) for name, value in settings.items() if isinstance(value, plain)}


def _starts(
    model: nn.Module | Callable[[int], nn.Module], num_chains: int, seed: int, device: torch.device
) -> tuple[nn.Module, dict[str, Tensor]]:
    if isinstance(model, nn.Module):
        network = model.to(device)
        own = dict(network.named_parameters())
        return network, {
            k: p.detach().repeat(num_chains, *[1] * p.ndim).view(num_chains, *p.shape) for k, p in own.items()
        }
    networks = []
    for k in range(num_chains):
        with seeded(seed + k):
            networks.append(model(seed + k).to(device))
    names = [name for name, _ in networks[0].named_parameters()]
    rows = [dict(network.named_parameters()) for network in networks]
    return networks[0], {name: torch.stack([row[name].detach() for row in rows]) for name in names}


def _batches(
    inputs: Tensor, targets: Tensor, num_chains: int, batch_size: int | None, order: str, draws: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    whole = (inputs.unsqueeze(0), targets.unsqueeze(0))
    size = len(inputs) if batch_size is None else batch_size
    while batch_size is None:
        yield whole
    while order == "replacement":
        index = torch.randint(len(inputs), (num_chains, size), generator=draws).to(inputs.device)
        yield _take(inputs, index), _take(targets, index)
    while True:
        if order == "cyclic":
            passes = torch.arange(len(inputs)).unsqueeze(0)
        else:
            passes = torch.stack([torch.randperm(len(inputs), generator=draws) for _ in range(num_chains)])
        for start in range(0, len(inputs) - size + 1, size):
            index = passes[:, start : start + size].to(inputs.device)
            yield _take(inputs, index), _take(targets, index)


def _take(data: Tensor, index: Tensor) -> Tensor:
    """``data[index]``, by the faster way."""
    return data.index_select(0, index.flatten()).view(*index.shape, *data.shape[1:])


@torch.no_grad()
def _record(network: nn.Module, state: State, info: Any, accepted: list[Tensor]) -> dict[str, Any]:
    """A sample, merged, on the CPU, with what the last step saw."""
    mark = getattr(network, _MARK, None)
    params = state.params if mark is None else merge_parameters(mark.groups, state.params)
    temperatures = {}
    if state.momentum is not None:
        factors = expansion.factor_names(network)
        for name, members in (("factors", factors), ("others", set(state.momentum) - factors)):
            rows = [r.flatten(1) for key, r in state.momentum.items() if key in members]
            if rows:
                temperatures[name] = torch.cat(rows, 1).square().mean(1).cpu()
    effective = torch.ones(len(info.energy))
    if mark is not None and any(g.weight for g in mark.groups):

        def mean_step(chain: dict[str, Tensor]) -> Tensor:
            return torch.stack(list(effective_steps(mark.groups, chain).values())).mean()

        effective = torch.func.vmap(mean_step)(dict(state.params)).cpu()
    acceptance = torch.stack(accepted).mean(0) if accepted else torch.full_like(info.energy, torch.nan)
    return {
        "params": {name: p.cpu().clone() for name, p in params.items()},
        "energy": info.energy.cpu(), "temperatures": temperatures, "acceptance": acceptance.cpu(), "effective": effective,
    }  # fmt: skip


def _ensemble(network: nn.Module, kept: list[dict[str, Any]]) -> Ensemble:
    plain = expansion.merge(network) if getattr(network, _MARK, None) is not None else network
    samples = {name: torch.stack([row["params"][name] for row in kept], dim=1) for name in kept[0]["params"]}
    temperatures = {k: torch.stack([row["temperatures"][k] for row in kept], 1) for k in kept[0]["temperatures"]}
    acceptance = torch.stack([row["acceptance"] for row in kept], 1)
    effective = torch.stack([row["effective"] for row in kept], 1)
    return Ensemble(
        plain.cpu(), samples, torch.stack([row["energy"] for row in kept], 1), temperatures, acceptance, effective
    )


def _stored(
    identity: dict[str, Any],
    state: State,
    kept: list[dict[str, Any]],
    noise: torch.Generator,
    draws: torch.Generator,
    order: str,
) -> dict[str, Any]:
    start = torch.Generator().manual_seed(identity["seed"] + 1)
    return {
        "identity": identity, "kept": kept, "noise": noise.get_state(),
        "draws": (draws if order == "replacement" else start).get_state(),
        "state": {
            "params": state.params, "momentum": state.momentum, "step": state.step,
            "second_moment": state.second_moment, "thermostat": state.thermostat,
        },
    }  # fmt: skip


def _restore(
    found: dict[str, Any], path: Any, identity: dict[str, Any], state: State, device: torch.device,
    noise: torch.Generator, draws: torch.Generator,
) -> tuple[State, list[dict[str, Any]]]:  # fmt: skip
    theirs = found.get("identity")
    if theirs != identity:
        differs = [k for k in identity if not isinstance(theirs, dict) or theirs.get(k) != identity[k]]
        raise ValueError(
            f"checkpoint={str(path)!r} belongs to another run: {', '.join(differs)} differ; remove it, or resume=False"
        )
    noise.set_state(found["noise"])
    draws.set_state(found["draws"])

    def there(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, Mapping):
            return {k: there(v) for k, v in value.items()}
        return [there(v) for v in value] if isinstance(value, list) else value

    return State(**{k: there(v) for k, v in found["state"].items()}), found["kept"]
