"""What Schedule-Free optimizers share: three sequences, two modes, checkpoints, and checks of the settings."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from descentlab.schedule_free import _updates

Layout = Literal["in-place", "reference"]
Implementation = Literal["auto", "fused", "foreach", "compiled"]


class ScheduleFree(torch.optim.Optimizer):
    """Sequences, modes and checkpoints; subclasses say what a step's direction is."""

    _layout: Layout
    _implementation: Implementation
    _untouched: dict[int, int]  # version of each parameter that eval() filled with x
    _gradients: dict[int, tuple[int, int]]  # identity and version of each gradient at eval()

    def __init__(self, params: Any, defaults: dict[str, Any], layout: Layout, implementation: Implementation):
        if layout not in ("in-place", "reference"):
            raise ValueError(f"layout={layout!r}; allowed are 'in-place' and 'reference'")
        if implementation not in ("auto", *_updates.IMPLEMENTATIONS):
            allowed = ", ".join(map(repr, ("auto", *_updates.IMPLEMENTATIONS)))
            raise ValueError(f"implementation={implementation!r}; allowed are {allowed}")
        self._layout, self._implementation = layout, implementation
        self._untouched, self._gradients = {}, {}
        super().__init__(params, {**defaults, "train_mode": False, "num_steps": 0, "weight_sum": 0.0})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_layout": self._layout, "_implementation": self._implementation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._untouched, self._gradients = {}, {}
        super().__setstate__(state)

    # -- what differs between methods

    def _beta(self, group: dict[str, Any]) -> float:
        raise NotImplementedError

    def _moment(self, group: dict[str, Any]) -> tuple[float, float] | None:
        """Memory and epsilon of the second moment, where there is one."""
        raise NotImplementedError

    # -- parameters

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        group = {**self.defaults, **param_group}
        _check_group(group, self._beta(group), self._moment(group), self._layout)
        if self.param_groups and "train_mode" not in param_group:
            param_group = {**param_group, "train_mode": self.param_groups[0]["train_mode"]}
        super().add_param_group(param_group)
        added = self.param_groups[-1]["params"]
        try:
            _check_parameters([*self.param_groups[0]["params"], *added])
        except ValueError:
            self.param_groups.pop()
            raise
        _warn_of_large_window(group, self._beta(group))

    # -- modes

    @property
    def training(self) -> bool:
        """Whether the parameters hold the gradient points `y` rather than the averages `x`."""
        return bool(self.param_groups[0]["train_mode"])

    @torch.no_grad()
    def train(self) -> None:
        """Put the gradient points `y` into the parameters, bit for bit as `eval` found them.

        Raises
        ------
        RuntimeError
            A gradient was computed since `eval`, at the averages: training would go on from the wrong place.
        """
        for group in self.param_groups:
            for p in () if group["train_mode"] else group["params"]:
                state = self.state.get(p, {})
                if (
                    "z" in state
                    and p.grad is not None
                    and self._gradients
                    and self._mark(p) != self._gradients.get(id(p))
                ):
                    raise RuntimeError(
                        "a gradient was computed at the averaged parameters, between optimizer.eval() and "
                        "optimizer.train(). Call optimizer.train() before the backward pass of a step, "
                        "or optimizer.zero_grad() if the gradient was for another purpose."
                    )
        for group in self.param_groups:
            beta = self._beta(group)
            for p in () if group["train_mode"] else group["params"]:
                state = self.state.get(p, {})
                if "z" not in state:
                    continue
                y = state.pop("y", None)
                if self._layout == "reference" and "x" not in state:
                    state["x"] = p.clone(memory_format=torch.preserve_format)
                if y is not None and self._untouched.get(id(p), p._version) == p._version:
                    p.copy_(y)
                    continue
                if self._layout == "reference":  # someone has set the parameters: they are the averages now
                    state["x"].copy_(p)
                p.lerp_(state["z"], 1 - beta)
            group["train_mode"] = True
        self._untouched, self._gradients = {}, {}

    @torch.no_grad()
    def eval(self) -> None:
        """Put the averages `x` into the parameters: to evaluate, to save or to use the model."""
        for group in self.param_groups:
            for p in group["params"] if group["train_mode"] else ():
                state = self.state.get(p, {})
                if "z" in state:
                    x = self._average(p, state, self._beta(group))
                    state["y"] = p.clone(memory_format=torch.preserve_format)  # the way back must not round
                    p.copy_(x)
                self._untouched[id(p)] = p._version
                if p.grad is not None:
                    self._gradients[id(p)] = self._mark(p)
            if group["train_mode"] and not self._gradients:
                self._gradients[0] = (0, 0)  # no gradients: any that comes is new
            group["train_mode"] = False

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the parameters are the averages `x`; afterwards training goes on as if nothing had been."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            if was_training:
                self.train()

    @torch.no_grad()
    def averages(self) -> list[Tensor]:
        """Copies of the averages `x` of all parameters, in their order, whatever the mode."""
        found = []
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state.get(p, {})
                known = group["train_mode"] and "z" in state
                found.append(self._average(p, state, self._beta(group)) if known else p.detach().clone())
        return found

    def watch(self, model: nn.Module) -> torch.utils.hooks.RemovableHandle:
        """Let a forgotten `train` or `eval` be an error: compare the modes of model and optimizer at each forward pass.

        Returns
        -------
        handle
            Its method ``remove()`` ends the watch.
        """

        def compare(module: nn.Module, inputs: Any) -> None:
            if module.training and not self.training:
                raise RuntimeError(
                    "the model is in training mode, but its parameters are the averages x: call optimizer.train() "
                    "beside model.train()."
                )
            if not module.training and self.training:
                raise RuntimeError(
                    "the model is in evaluation mode, but its parameters are the gradient points y: call "
                    "optimizer.eval() beside model.eval()."
                )

        return model.register_forward_pre_hook(compare)

    @staticmethod
    def _mark(p: Tensor) -> tuple[int, int]:
        assert p.grad is not None
        return id(p.grad), p.grad._version

    def _average(self, p: Tensor, state: dict[str, Any], beta: float) -> Tensor:
        """The average that belongs to the gradient point in `p`; a copy."""
        if "x" in state:
            return state["x"].clone(memory_format=torch.preserve_format)
        if beta == 0:
            raise ValueError("the checkpoint holds no averages x, and with beta=0 they cannot be found from y")
        return torch.lerp(p.detach(), state["z"], 1 - 1 / beta)

    # -- steps

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; a closure is evaluated, with gradients, at the gradient points.

        Raises
        ------
        RuntimeError
            The optimizer is in evaluation mode.
        ValueError
            A gradient is sparse.
        """
        if not all(group["train_mode"] for group in self.param_groups):
            raise RuntimeError(
                "the optimizer is in evaluation mode: call optimizer.train() before the forward pass of a step "
                "(and optimizer.eval() before evaluating or saving the model)."
            )
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        beta, moment = self._beta(group), self._moment(group)
        group["num_steps"] += 1
        warmup = group["warmup_steps"]
        rate = float(group["lr"]) * (min(1.0, group["num_steps"] / warmup) if warmup else 1.0)
        group["weight_sum"] += rate**2
        average = rate**2 / group["weight_sum"] if group["weight_sum"] > 0 else 0.0
        if group["decoupling_c"] is not None:  # divided by vanilla's C, so that this value is vanilla bit for bit
            average = min(average * (group["decoupling_c"] / (1 / (1 - beta))), 1.0)
        buckets: dict[Any, list[Tensor]] = defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                if p.grad.is_sparse:
                    raise ValueError(
                        f"sparse gradient of a parameter of shape {tuple(p.shape)}: only dense ones allowed"
                    )
                state = self.state[p]
                if "z" not in state:
                    state["z"] = p.detach().clone(memory_format=torch.preserve_format)
                    state["step"] = 0
                    if moment is not None:
                        state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                    if self._layout == "reference":
                        state["x"] = state["z"].clone(memory_format=torch.preserve_format)
                state["step"] += 1  # of this parameter's own: it may have been frozen at first
                buckets[p.dtype, state["step"], self._choose(p, state)].append(p)
        for (_, step, way), params in buckets.items():
            scalars = _updates.Scalars(rate, rate * (beta * (1 - average) - 1), average, group["weight_decay"])
            if moment is not None:
                beta2, eps = moment
                scalars = _updates.Scalars(*_first_four(scalars), beta2, 1 - beta2**step, eps)
            states = [self.state[p] for p in params]
            if self._layout == "reference":
                self._reference(params, states, scalars, beta)
                continue
            vs = None if moment is None else [s["exp_avg_sq"] for s in states]
            grads = [p.grad for p in params if p.grad is not None]
            _updates.IMPLEMENTATIONS[way](params, grads, [s["z"] for s in states], vs, scalars)

    def _choose(self, p: Tensor, state: dict[str, Any]) -> str:
        """Implementation for a parameter: the fused loop where it can be had, foreach elsewhere."""
        if self._implementation in ("foreach", "compiled"):
            return self._implementation
        own = [p, p.grad, state["z"], *([state["exp_avg_sq"]] if "exp_avg_sq" in state else [])]
        return "fused" if _updates.can_fuse(*own) else "foreach"

    @staticmethod
    def _reference(params: list[Tensor], states: list[dict[str, Any]], s: _updates.Scalars, beta: float) -> None:
        """The three sequences word for word, `x` in memory of its own."""
        for p, state in zip(params, states, strict=True):
            g, z = p.grad, state["z"]
            assert g is not None
            if "x" not in state:  # from a checkpoint of the other layout
                state["x"] = torch.lerp(p, z, 1 - 1 / beta)
            if "exp_avg_sq" in state:
                v = state["exp_avg_sq"].mul_(s.beta2).addcmul_(g, g, value=1 - s.beta2)
                g = g / ((v / s.correction).sqrt_() + s.eps)
            z.sub_(g + s.decay * p, alpha=s.rate)
            state["x"].lerp_(z, s.average)
            torch.lerp(z, state["x"], beta, out=p)

    # -- checkpoints

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict()`` of either layout.

        Load the model's parameters that were saved beside it as well: `y` if it was saved in training mode, `x` if in
        evaluation mode.
        """
        super().load_state_dict(state_dict)
        self._untouched, self._gradients = {}, {}
        for state in self.state.values():
            if self._layout == "in-place":
                state.pop("x", None)
            if "step" in state:
                state["step"] = int(state["step"])


def max_decoupling_c(warmup_steps: int) -> float:
    r"""The largest `C` that does not lengthen early steps much: a third of the warmup.

    Just after a linear warmup :math:`c_t \approx 3(1-\beta)C/t`, and a step of `y` is :math:`1 + 3\beta C/T_\text{warm}`
    times its late length; up to this `C` at most twice.
    """
    return warmup_steps / 3


# Checks --------------------------------------------------------------------------------------------------------------


def _first_four(s: _updates.Scalars) -> tuple[float, float, float, float]:
    return s.rate, s.pull, s.average, s.decay


def _check_group(group: dict[str, Any], beta: float, moment: tuple[float, float] | None, layout: Layout) -> None:
    if moment is not None and len(group["betas"]) != 2:
        raise ValueError(f"betas={group['betas']!r}: expected a pair")
    name = "momentum" if moment is None else "betas"
    for value in (beta, *(() if moment is None else moment[:1])):
        if not 0 <= value < 1:
            raise ValueError(f"{name}={group[name]!r}: allowed are values in [0, 1)")
    if beta == 0 and layout == "in-place":
        raise ValueError(
            f"{name}={group[name]!r}: with beta 0 the in-place layout cannot recover the average x from y; "
            "use layout='reference'"
        )
    for name in ("lr", "weight_decay", *(() if moment is None else ("eps",))):
        value = float(group[name])
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name}={group[name]!r}: must be a finite number that is not negative")
    warmup = group["warmup_steps"]
    if not isinstance(warmup, int) or isinstance(warmup, bool) or warmup < 0:
        raise ValueError(f"warmup_steps={warmup!r}: must be a whole number that is not negative")
    c = group["decoupling_c"]
    if c is not None and not (c >= 1 and math.isfinite(c)):
        raise ValueError(f"decoupling_c={c!r}: must be None or a finite number of at least 1")


def _check_parameters(params: list[Tensor]) -> None:
    devices = sorted({str(p.device) for p in params})
    if len(devices) > 1:
        raise ValueError(f"params lie on different devices ({', '.join(devices)}): allowed is one device")
    for p in params:
        if p.is_complex():
            raise ValueError(f"params: one of shape {tuple(p.shape)} is complex; allowed are real numbers")
        if p.layout != torch.strided:
            raise ValueError(f"params: one of shape {tuple(p.shape)} is sparse; allowed are dense tensors")
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in params):
        warnings.warn(
            "params of low precision: steps smaller than the last digit of a parameter vanish. Keep parameters in "
            "float32 and use torch.autocast around the forward pass.",
            UserWarning,
            stacklevel=5,
        )


def _warn_of_large_window(group: dict[str, Any], beta: float) -> None:
    c, warmup = group["decoupling_c"], group["warmup_steps"]
    if c is None or c <= max(max_decoupling_c(warmup), 1 / (1 - beta)):
        return
    factor = 1 + 3 * beta * c / warmup if warmup else math.inf
    length = f"{factor:.1f} times" if warmup else "many times"
    warnings.warn(
        f"decoupling_c={c!r} is large beside warmup_steps={warmup}: just after the warmup, steps are {length} as long "
        f"as later ones. Take warmup_steps of at least {math.ceil(3 * c)}, or a smaller decoupling_c.",
        UserWarning,
        stacklevel=5,
    )
