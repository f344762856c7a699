"""The training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader

from descentlab.data import Dataset
from descentlab.training import parallel
from descentlab.training.batches import Augment, epoch_seed, source_of
from descentlab.training.callbacks import Callback, Run
from descentlab.training.checkpoints import describe_run, resume_run, save_run

Loss = Callable[[Tensor, Tensor], Tensor]
OptimizerLike = torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ScheduleLike = Callable[[int], float] | LRScheduler | None


@dataclass(frozen=True, eq=False)
class Result:
    """A finished training.

    Attributes
    ----------
    model : Module
        The network that was passed in, trained.
    curves : dict of ndarray, shape (num_epochs,)
        ``loss`` and ``accuracy`` on the batches as they were met, ``learning_rate`` after each epoch, ``seconds`` of
        each epoch, ``test_loss`` and ``test_accuracy`` (NaN where not measured), and what callbacks added.
    num_epochs, num_steps : int
    seconds : float
        Time of all epochs, those before an interruption included.
    device, precision : str
    compiled : bool
    """

    model: nn.Module
    curves: dict[str, np.ndarray]
    num_epochs: int
    num_steps: int
    seconds: float
    device: str
    precision: str
    compiled: bool

    @property
    def test_accuracy(self) -> float:
        """After the last epoch; NaN without test data."""
        return float(self.curves["test_accuracy"][-1])


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each sample, shape (batch,)."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def fit(
    model: nn.Module,
    data: Dataset | tuple[Tensor, Tensor] | DataLoader,
    *,
    optimizer: OptimizerLike,
    num_epochs: int,
    batch_size: int | None = None,
    schedule: ScheduleLike = None,
    loss: Loss = cross_entropy,
    augment: Augment | None = None,
    subset: Tensor | Sequence[int] | np.ndarray | None = None,
    evaluate_every: int | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    compile: Literal["auto"] | bool = "auto",
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> Result:
    """Train a network.

    Data in memory move to the device once and are indexed there, in a new order each epoch; nothing inside an epoch
    waits for the device. Under ``torchrun`` each rank takes its share of each batch, and the gradient is that of the
    whole batch. On a CPU a run that was killed and resumed ends bit for bit as an uninterrupted one.

    Parameters
    ----------
    model : Module
        Trained in place.
    data : Dataset, pair of tensors (inputs, targets), or DataLoader
        A loader yields (inputs, targets) or (inputs, targets, indices), and keeps its own batch size and order; under
        ``torchrun`` give it a ``DistributedSampler``.
    optimizer : Optimizer, or callable from parameters to one
        ``functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)``; a float tensor learning rate works too.
    num_epochs : int
        Epochs in all, those before an interruption included.
    batch_size : int
        Samples an update, over all ranks; the last batch of an epoch may be smaller. Not for loaders.
    schedule : callable, LRScheduler or None
        From the steps done to a factor of the learning rate, such as `training.cosine`; or a scheduler of `optimizer`,
        stepped once an update.
    loss : callable
        (outputs, targets) → loss of each sample, shape (batch,).
    augment : callable, optional
        (inputs, generator) → inputs, a batch at a time on the device; the generator lives on the CPU.
    subset : sequence of int, optional
        Train on these samples only. Callbacks still see the samples' numbers in `data`.
    evaluate_every : int, optional
        Measure loss and accuracy on the test data of a `Dataset` after each so many epochs; by default only after the
        last one. 0 is never.
    precision : {"auto", "float32", "bfloat16"}
        bfloat16 autocast of the forward pass; "auto" uses it on GPUs that have it.
    compile : {"auto", True, False}
        ``torch.compile`` the network; "auto" does on CUDA where the training is long enough to repay it.
    callbacks : sequence of Callback
    checkpoint : path, optional
        Written after each epoch, in one step.
    resume : bool
        Continue from `checkpoint` where it exists; otherwise start anew and overwrite it. One of a run with other data,
        model structure, optimizer, schedule, loss, augmentation, precision, callbacks or seed is refused. Of a loader's
        data only a ``TensorDataset``, or a ``Subset`` of one, is compared by its values.
    seed : int
        Orders, augmentation, and layers that draw at random. Draws are made on the CPU, the same for every device.
    device : str or torch.device
    progress : bool
        Show a bar over the epochs; rank 0 only, and never while a chapter is recorded.

    Raises
    ------
    ValueError
        An argument makes no sense, data do not fit each other, or the checkpoint is damaged or of another run; then the
        message names the file, or what differs.
    FloatingPointError
        The loss is not finite; the message names the epoch, and the checkpoint of the epoch before is kept.
    """
    _check_parts(model, optimizer, schedule, callbacks, checkpoint)
    source = source_of(data, batch_size, subset)
    _check(num_epochs=num_epochs, precision=precision, compile=compile, seed=seed, evaluate_every=evaluate_every)
    ranks = parallel.join_ranks()
    target = parallel.choose_device(device)
    on_cuda = target.type == "cuda"
    layout: dict[str, Any] = {"memory_format": torch.channels_last} if on_cuda and source.are_images else {}
    batches = {} if checkpoint is None else source.identity()
    model.to(target, **layout)
    source.to(target)
    made = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(model.parameters())
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in made.param_groups for p in group["params"]):
        raise ValueError("optimizer holds no parameter of model: was it made for another one?")
    half = precision == "bfloat16" or (precision == "auto" and on_cuda and torch.cuda.is_bf16_supported())
    num_steps = num_epochs * source.batches_per_epoch
    compiled = compile is True or (compile == "auto" and on_cuda and num_steps >= 2000)
    forward = _wrap(model, ranks, target, compiled)
    run = Run(model, made, target, source.num_samples, num_epochs, num_steps)
    identity: dict[str, Any] = {}
    if checkpoint is not None:
        others = {"seed": seed, "loss": loss, "augment": augment, "bfloat16": half}
        others["callbacks"] = [type(callback) for callback in callbacks]
        identity = batches | describe_run(model, made, schedule, **others)
    scheduler = schedule if schedule is None or isinstance(schedule, LRScheduler) else LambdaLR(made, schedule)

    def autocast() -> Any:
        return torch.autocast(target.type, torch.bfloat16) if half else nullcontext()

    with torch.random.fork_rng([target] if on_cuda else []):
        torch.manual_seed(seed)
        if checkpoint is not None and resume and os.path.exists(checkpoint):
            resume_run(checkpoint, identity, partial(_restore, run, scheduler, callbacks))
        for callback in callbacks:
            callback.start(run)
        for _ in _bar(range(run.epoch, num_epochs), progress and parallel.rank() == 0):
            began = time.perf_counter()
            model.train()
            generator = torch.Generator().manual_seed(epoch_seed(seed, run.epoch))
            # sums over the epoch stay on the device: loss, correct, samples
            sums = torch.zeros(3, dtype=torch.float32 if target.type == "mps" else torch.float64, device=target)
            for inputs, targets, indices, size in source.batches(run.epoch, generator, augment, ranks, target):
                made.zero_grad(set_to_none=True)
                with autocast():
                    outputs = forward(inputs)
                outputs = outputs.float() if half else outputs
                losses = loss(outputs, targets)
                if losses.shape != targets.shape[:1]:
                    raise ValueError(
                        f"loss returned shape {tuple(losses.shape)}, expected ({len(targets)},), one a sample"
                    )
                for callback in callbacks:
                    callback.batch(run, indices, outputs.detach(), targets)
                # over ranks gradients are averaged, so that this is the mean over the whole batch
                (losses.sum() * (ranks / size)).backward()
                made.step()
                if scheduler is not None:
                    scheduler.step()
                with torch.no_grad():
                    sums[0] += losses.sum()
                    sums[1] += _count_correct(outputs, targets)
                    sums[2] += len(targets)
                run.step += 1
            parallel.sum_over_ranks(sums)
            mean_loss, accuracy = (sums[:2] / sums[2]).tolist()  # the one place in an epoch that waits for the device
            run.epoch += 1
            if not np.isfinite(mean_loss):
                raise FloatingPointError(
                    f"the loss of epoch {run.epoch} of {num_epochs} is {mean_loss}: lower the learning rate?"
                )
            run.seconds += time.perf_counter() - began
            measured = {"loss": mean_loss, "accuracy": accuracy, "seconds": time.perf_counter() - began}
            measured["learning_rate"] = float(made.param_groups[0]["lr"])
            due = (
                run.epoch == num_epochs
                if evaluate_every is None
                else evaluate_every and run.epoch % evaluate_every == 0
            )
            tested = evaluate(model, *source.test, autocast=autocast) if due and source.test else (np.nan, np.nan)
            measured |= {"test_loss": tested[0], "test_accuracy": tested[1]}
            for name, value in measured.items():
                run.curves.setdefault(name, []).append(value)
            for callback in callbacks:
                callback.epoch(run)
            if checkpoint is not None:
                if parallel.rank() == 0:
                    save_run(checkpoint, identity, _state(run, scheduler, callbacks))
                parallel.wait_for_ranks()
        for callback in callbacks:
            callback.finish(run)
    curves = {name: np.array(values) for name, values in run.curves.items()}
    kind = "bfloat16" if half else "float32"
    return Result(model, curves, run.epoch, run.step, run.seconds, str(target), kind, compiled)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    batch_size: int = 1000,
    autocast: Callable[[], Any] = nullcontext,
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in evaluation mode; the mode of the model is as before afterwards."""
    outputs = predict(model, inputs, batch_size=batch_size, autocast=autocast)
    return float(cross_entropy(outputs, targets).mean()), float(_count_correct(outputs, targets) / len(targets))


@torch.no_grad()
def predict(
    model: nn.Module | Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    batch_size: int = 1000,
    autocast: Callable[[], Any] = nullcontext,
) -> Tensor:
    """Outputs in evaluation mode, shape (n, …), float32, on the device of the inputs.

    `model` may be a method of a module, such as ``model.features``.
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    was_training = isinstance(module, nn.Module) and module.training
    if isinstance(module, nn.Module):
        module.eval()
    try:
        with autocast():
            parts = [model(batch) for batch in inputs.split(batch_size)]
        outputs = torch.cat(parts)
        return outputs.float() if outputs.dtype == torch.bfloat16 else outputs
    finally:
        if was_training:
            module.train()  # type: ignore[union-attr]


def _count_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.ndim != 2 or targets.is_floating_point():
        return torch.full((), torch.nan, device=outputs.device)
    return (outputs.argmax(dim=1) == targets).sum()


# Details ------------------------------------------------------------------------------------------------------------


def _check_parts(model: Any, optimizer: Any, schedule: Any, callbacks: Any, checkpoint: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"model={type(model).__name__} must be a torch.nn.Module")
    if not isinstance(optimizer, torch.optim.Optimizer) and not callable(optimizer):
        raise ValueError(f"optimizer={optimizer!r} must be an Optimizer, or make one of the parameters")
    if not (schedule is None or callable(schedule) or isinstance(schedule, LRScheduler)):
        raise ValueError(f"schedule={schedule!r} must be None, a function of the step, or an LRScheduler")
    if not isinstance(callbacks, (list, tuple)) or not all(isinstance(callback, Callback) for callback in callbacks):
        raise ValueError(f"callbacks={callbacks!r} must be a list of training.Callback")
    if checkpoint is not None and os.path.isdir(checkpoint):
        raise ValueError(f"checkpoint={str(checkpoint)!r} is a folder; the path of a file needed")


def _check(*, num_epochs: Any, precision: Any, compile: Any, seed: Any, evaluate_every: Any) -> None:
    if not isinstance(num_epochs, int) or isinstance(num_epochs, bool) or num_epochs < 1:
        raise ValueError(f"num_epochs={num_epochs!r} must be a positive whole number")
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision={precision!r}; allowed are 'auto', 'float32' and 'bfloat16'")
    if compile not in ("auto", True, False):
        raise ValueError(f"compile={compile!r}; allowed are 'auto', True and False")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number that is not negative")
    if evaluate_every is not None and (not isinstance(evaluate_every, int) or evaluate_every < 0):
        raise ValueError(f"evaluate_every={evaluate_every!r} must be None or a whole number that is not negative")


def _wrap(model: nn.Module, ranks: int, device: torch.device, compiled: bool) -> Callable[[Tensor], Tensor]:
    wrapped: Any = model
    if ranks > 1:
        own = [device.index] if device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(model, device_ids=own)
    return torch.compile(wrapped) if compiled else wrapped


def _bar(epochs: range, show: bool) -> Iterable[int]:
    if not show or len(epochs) < 2:
        return epochs
    from descentlab.figures import progress

    return progress(epochs, desc="epochs")


def _test(model: nn.Module, test: tuple[Tensor, ...], num_epochs: int) -> dict[str, np.ndarray]:
    """Curves of the test measurements of a network measured after its last epoch only."""
    curves = {name: np.full(num_epochs, np.nan) for name in ("test_loss", "test_accuracy")}
    if test:
        curves["test_loss"][-1], curves["test_accuracy"][-1] = evaluate(model, *test)
    return curves


def _state(run: Run, scheduler: LRScheduler | None, callbacks: Sequence[Callback]) -> dict[str, Any]:
    random = {"cpu": torch.get_rng_state()}
    if run.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(run.device)
    return {
        "epoch": run.epoch,
        "step": run.step,
        "seconds": run.seconds,
        "curves": run.curves,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scheduler": _plain(scheduler),
        "random": random,
        "callbacks": [callback.state_dict() for callback in callbacks],
    }


def _plain(scheduler: LRScheduler | None) -> dict[str, Any]:
    """A scheduler's state without the functions it may hold, which are code and come with the call."""
    state = {} if scheduler is None else scheduler.state_dict()
    return {key: value for key, value in state.items() if key != "lr_lambdas"}


def _restore(run: Run, scheduler: LRScheduler | None, callbacks: Sequence[Callback], state: dict[str, Any]) -> None:
    if state["epoch"] > run.num_epochs:
        raise ValueError(f"it is at epoch {state['epoch']}, beyond num_epochs={run.num_epochs}")
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    if scheduler is not None:
        scheduler.load_state_dict({**scheduler.state_dict(), **state["scheduler"]})
    torch.set_rng_state(state["random"]["cpu"])
    if run.device.type == "cuda" and "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"], run.device)
    run.epoch, run.step, run.seconds, run.curves = (state[name] for name in ("epoch", "step", "seconds", "curves"))
    for callback, saved in zip(callbacks, state["callbacks"], strict=True):
        callback.load_state_dict(saved)
