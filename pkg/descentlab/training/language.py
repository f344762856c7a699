"""Training language models, with the averages and the probes that tell a river from its hills."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from descentlab.data.text import Text
from descentlab.training.checkpoints import describe_run, digest, resume_run, save_run
from descentlab.training.parallel import choose_device, join_ranks, rank, sum_over_ranks, wait_for_ranks

BLOCK = 256  # steps whose offsets are drawn, and moved to the device, together


@dataclass(frozen=True, eq=False)
class LanguageResult:
    """A finished training of a language model.

    Attributes
    ----------
    model : Module
        The network that was passed in, at its gradient points.
    optimizer : Optimizer
    curves : dict of ndarray
        ``step``; ``loss`` on the batches since the last entry; the validation loss at the parameters to use, ``x``, at
        the gradient points, ``y``, and at their exponential averages, ``ema_x`` and ``ema_y`` (NaN where not asked
        for), all in nats a token. Without Schedule-Free averaging `x` and `y` are the same.
    num_steps, num_tokens : int
        Steps done, and tokens trained on.
    seconds : float
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    curves: dict[str, np.ndarray]
    num_steps: int
    num_tokens: int
    seconds: float

    def final(self, name: str = "x") -> float:
        """The last entry of a curve."""
        return float(self.curves[name][-1])


def fit_language_model(
    model: nn.Module,
    text: Text | tuple[Tensor, Tensor],
    *,
    optimizer: torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    num_steps: int,
    batch_size: int,
    context: int = 64,
    schedule: Callable[[int], float] | None = None,
    clip: float | None = None,
    accumulate: int = 1,
    ema: float | None = None,
    ema_start: int = 0,
    evaluate_every: int | None = None,
    num_windows: int = 512,
    first_step: int = 0,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    compile: Literal["auto"] | bool = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    callback: Callable[[int], None] | None = None,
    progress: bool = True,
) -> LanguageResult:
    """Train a language model to predict each next token.

    Tokens stay on the device; batches are windows at random offsets, gathered there. Under ``torchrun`` each rank takes
    its share of the sequences. Schedule-Free optimizers are put into the right mode. On a CPU a killed run continues
    from its checkpoint bit for bit.

    Parameters
    ----------
    model : Module
        From tokens (batch, length) to scores (batch, length, vocabulary); trained in place.
    text : Text, or pair of Tensor
        Training and validation tokens.
    optimizer : Optimizer, or callable from parameters to one
    num_steps : int
        Updates, those before an interruption included.
    batch_size : int
        Sequences an update, over all ranks and accumulated parts.
    context : int
        Predictions in a sequence.
    schedule : callable, optional
        From the steps done to a factor of the learning rate.
    clip : float, optional
        Largest norm of the gradient.
    accumulate : int
        Parts into which a batch is split to save memory; divides `batch_size`.
    ema : float, optional
        Decay of exponential averages of the parameters, such as 0.99; needs Schedule-Free optimizers or plain ones alike.
    ema_start : int
        Step from which they average.
    evaluate_every : int, optional
        Steps between entries of the curves; by default there is one, at the end.
    num_windows : int
        Validation sequences, evenly spaced in the held-out text: the same in every run.
    first_step : int
        Where in the stream of batches to begin; a branch of a run goes on where that one ended.
    precision : {"auto", "float32", "bfloat16"}
        bfloat16 autocast around the forward pass; "auto" uses it on GPUs that have it. State is always as the
        parameters, float32.
    compile : {"auto", True, False}
        ``torch.compile`` the network; "auto" does on CUDA for 2000 steps or more.
    checkpoint : path, optional
        Written at each evaluation, in one step.
    resume : bool
        Continue from `checkpoint` where it exists; one of a run with other texts or arguments is refused.
    seed : int
        Of the batches; drawn on the CPU, the same for every device.
    device : str or torch.device
    callback : callable, optional
        Called after each step with the number of steps done.
    progress : bool
        Show a bar; rank 0 only, and never while a chapter is recorded.

    Raises
    ------
    ValueError
        An argument makes no sense, a text is too short, or the checkpoint is damaged or of another run; then the message
        names the file, or what differs.
    FloatingPointError
        The loss is not finite.
    """
    tokens, held_out = (text.tokens, text.validation) if isinstance(text, Text) else text
    sizes = {"num_steps": num_steps, "batch_size": batch_size, "context": context, "accumulate": accumulate}
    _check(**sizes, num_windows=num_windows)
    ranks = join_ranks()
    if batch_size % (accumulate * ranks):
        raise ValueError(
            f"batch_size={batch_size!r} must be divisible by accumulate={accumulate!r} times {ranks} ranks"
        )
    if min(len(tokens), len(held_out)) <= context:
        raise ValueError(f"text: {len(tokens)} + {len(held_out)} tokens; more than context={context!r} of each needed")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"ema={ema!r}: allowed are values between 0 and 1")
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision={precision!r}; allowed are 'auto', 'float32' and 'bfloat16'")
    target = choose_device(device)
    cuda = target.type == "cuda"
    model.to(target)
    tokens, held_out = tokens.to(target), held_out.to(target)
    made = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(model.parameters())
    half = precision == "bfloat16" or (precision == "auto" and cuda and torch.cuda.is_bf16_supported())
    forward: Any = model
    if ranks > 1:
        forward = nn.parallel.DistributedDataParallel(model, device_ids=[target.index] if cuda else None)
    if compile is True or (compile == "auto" and cuda and num_steps >= 2000):
        forward = torch.compile(forward)
    averages = _Averages(model, made, ema, ema_start)
    every = num_steps if evaluate_every is None else evaluate_every
    identity: dict[str, Any] = {}
    if checkpoint is not None:
        others = {"seed": seed, "text": digest((tokens, held_out)), "first_step": first_step, "clip": clip}
        others |= {"evaluate_every": every, "num_windows": num_windows, "ema": ema, "ema_start": ema_start}
        identity = describe_run(model, made, schedule, bfloat16=half, **sizes, **others)
    scheduler = None if schedule is None else LambdaLR(made, schedule)
    curves: dict[str, list[float]] = {name: [] for name in ("step", "loss", "x", "y", "ema_x", "ema_y")}
    done, seconds = 0, 0.0

    def restore(state: dict[str, Any]) -> None:
        nonlocal done, seconds, curves
        model.load_state_dict(state["model"])
        made.load_state_dict(state["optimizer"])
        if scheduler is not None:
            scheduler.load_state_dict({**scheduler.state_dict(), **state["scheduler"]})
        averages.load(state["averages"])
        done, seconds, curves = state["step"], state["seconds"], state["curves"]

    if checkpoint is not None and resume and os.path.exists(checkpoint):
        resume_run(checkpoint, identity, restore)

    def autocast() -> Any:
        return torch.autocast(target.type, torch.bfloat16) if half else nullcontext()

    def measure() -> float:
        return validation_loss(model, held_out, context=context, num_windows=num_windows, autocast=autocast)

    began, total, count = time.perf_counter(), torch.zeros((), device=target), 0
    window = torch.arange(context + 1, device=target)
    share, offsets, block = batch_size // (accumulate * ranks), torch.empty(0), -1
    _mode(made, "train")
    model.train()
    for step in _bar(range(done + 1, num_steps + 1), progress and rank() == 0):
        position = first_step + step - 1
        if position // BLOCK != block:  # what is drawn depends on nothing before it, so that a run can be resumed
            block = position // BLOCK
            draw = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, block]).generate_state(1)[0]))
            offsets = torch.randint(len(tokens) - context, (BLOCK, batch_size), generator=draw).to(target)
        starts = offsets[position % BLOCK].view(ranks, accumulate, share)[rank()]
        made.zero_grad(set_to_none=True)
        for part, own in enumerate(starts):
            sequences = tokens[own[:, None] + window].long()
            alone = ranks > 1 and part < accumulate - 1  # gradients are exchanged with the last part
            with forward.no_sync() if alone else nullcontext():
                with autocast():
                    scores = forward(sequences[:, :-1])
                loss = F.cross_entropy(scores.float().flatten(0, 1), sequences[:, 1:].flatten()) / accumulate
                loss.backward()
            total += loss.detach()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if scheduler is not None:
            scheduler.step()
        averages.update(step)
        if callback is not None:
            callback(step)
        count += 1
        if step % every == 0 or step == num_steps:
            sum_over_ranks(total)
            mean = float(total) / (count * ranks)
            if not np.isfinite(mean):
                raise FloatingPointError(
                    f"the loss up to step {step} of {num_steps} is {mean}: lower the learning rate?"
                )
            values = {"step": step, "loss": mean, **averages.measure(measure)}
            for name, value in values.items():
                curves[name].append(value)
            total.zero_()
            count = 0
            if checkpoint is not None and rank() == 0:
                saved: dict[str, Any] = {"step": step, "curves": curves, "averages": averages.state()}
                saved |= {"model": model.state_dict(), "optimizer": made.state_dict()}
                saved |= {"scheduler": _plain(scheduler), "seconds": seconds + time.perf_counter() - began}
                save_run(checkpoint, identity, saved)
            wait_for_ranks()
    seconds += time.perf_counter() - began
    arrays = {name: np.array(values) for name, values in curves.items()}
    return LanguageResult(model, made, arrays, num_steps, num_steps * batch_size * context, seconds)


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    tokens: Tensor,
    *,
    context: int = 64,
    num_windows: int = 512,
    batch_size: int = 128,
    autocast: Callable[[], Any] = nullcontext,
) -> float:
    """Mean loss in nats a token on `num_windows` evenly spaced windows of a text; the mode of the model is kept."""
    starts = torch.linspace(0, len(tokens) - context - 1, num_windows, dtype=torch.float64).long().to(tokens.device)
    window, was_training = torch.arange(context + 1, device=tokens.device), model.training
    model.eval()
    total = torch.zeros((), device=tokens.device)
    for part in starts.split(batch_size):
        sequences = tokens[part[:, None] + window].long()
        with autocast():
            scores = model(sequences[:, :-1])
        total += F.cross_entropy(scores.float().flatten(0, 1), sequences[:, 1:].flatten(), reduction="sum")
    model.train(was_training)
    return float(total) / (num_windows * context)


@torch.no_grad()
def interpolate(
    model: nn.Module,
    ends: tuple[Sequence[Tensor], Sequence[Tensor]],
    tokens: Tensor,
    fractions: Sequence[float],
    **options: Any,
) -> np.ndarray:
    """Validation loss on the segment between two sets of parameters, shape (len(fractions),); the model is left as it was."""
    losses = []
    for fraction in fractions:
        between = [torch.lerp(a, b, fraction) for a, b in zip(*ends, strict=True)]
        with placed(model, between):
            losses.append(validation_loss(model, tokens, **options))
    return np.array(losses)


@contextmanager
def placed(model: nn.Module, parameters: Sequence[Tensor]) -> Iterator[None]:
    """Within the block the model has these parameters; afterwards its own, bit for bit."""
    own = list(model.parameters())
    kept = [p.detach().clone() for p in own]
    with torch.no_grad():
        torch._foreach_copy_([p.detach() for p in own], list(parameters))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_([p.detach() for p in own], kept)


# Details -------------------------------------------------------------------------------------------------------------


class _Averages:
    """The averages of a run: Schedule-Free's `x`, and exponential ones of `x` and `y`."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, decay: float | None, start: int):
        self.model, self.optimizer, self.decay, self.start = model, optimizer, decay, start
        self.free = hasattr(optimizer, "averages")
        self.of: dict[str, list[Tensor]] = {}

    def _now(self) -> dict[str, list[Tensor]]:
        points = {"ema_y": [p.detach() for p in self.model.parameters()]}
        return {**points, "ema_x": self._x()} if self.free else points

    def _x(self) -> list[Tensor]:
        """The averages, in the model's order."""
        order = [p for group in self.optimizer.param_groups for p in group["params"]]
        found = dict(zip(map(id, order), self.optimizer.averages(), strict=True))  # type: ignore[attr-defined]
        return [found.get(id(p), p.detach()) for p in self.model.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        if self.decay is None or step <= self.start:
            return
        for name, tensors in self._now().items():
            if name not in self.of:
                self.of[name] = [t.clone() for t in tensors]
            else:
                get_ema_multi_avg_fn(self.decay)(self.of[name], tensors, 0)

    def measure(self, loss: Callable[[], float]) -> dict[str, float]:
        """Validation losses at all the points that there are."""
        values = {"y": loss(), "ema_x": float("nan"), "ema_y": float("nan")}
        values["x"] = values["y"]
        if self.free:
            with placed(self.model, self._x()):
                values["x"] = loss()
        for name, tensors in self.of.items():
            with placed(self.model, tensors):
                values[name] = loss()
        if not self.free:
            values["ema_x"] = values["ema_y"]
        return values

    def state(self) -> dict[str, list[Tensor]]:
        return self.of

    def load(self, state: dict[str, list[Tensor]]) -> None:
        like = list(self.model.parameters())
        self.of = {name: [t.to(p) for t, p in zip(kept, like, strict=True)] for name, kept in state.items()}


def _mode(optimizer: torch.optim.Optimizer, name: str) -> None:
    getattr(optimizer, name, lambda: None)()


def _plain(scheduler: LambdaLR | None) -> dict[str, Any]:
    """A scheduler's state without its functions, which are code and come with the call."""
    return {} if scheduler is None else {k: v for k, v in scheduler.state_dict().items() if k != "lr_lambdas"}


def _bar(steps: range, show: bool) -> Iterable[int]:
    if not show:
        return steps
    from descentlab.figures import progress

    return progress(steps, desc="steps")


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if not (isinstance(size, int) and size > 0):
            raise ValueError(f"{name}={size!r} must be a positive whole number")
