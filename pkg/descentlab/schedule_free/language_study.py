"""The paper's experiments with language models, at a size for a CPU: settings, and what is measured of each run.

Both tables take many minutes, so that the book reads what was recorded of them: `record_table` trains one anew,
`read_table` reads it back.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from descentlab.data import Text, load_text
from descentlab.networks import Llama, seeded
from descentlab.schedule_free.optimizers import ScheduleFreeAdamW
from descentlab.training import choose_device, fit_language_model, interpolate, sweep


@dataclass(frozen=True)
class LanguageConfig:
    """Size of a language model and of its training.

    Attributes
    ----------
    num_steps, batch_size, context, warmup_steps : int
    probe_steps : int
        Length of the decay and of the probes that follow a run.
    branch_step : int
        Where the segment of the interpolation begins; it ends with the run.
    dim, num_layers, num_heads : int
    num_windows : int
        Validation sequences.
    """

    num_steps: int = 1500
    batch_size: int = 16
    context: int = 64
    warmup_steps: int = 75
    probe_steps: int = 150
    branch_step: int = 1200
    dim: int = 32
    num_layers: int = 2
    num_heads: int = 2
    num_windows: int = 512


RATE = 0.02  # Schedule-Free's learning rate, unless a setting has another


@dataclass(frozen=True)
class Setting:
    """An optimizer and what it is given.

    Attributes
    ----------
    beta : float or None
        Schedule-Free's; None is AdamW with betas (0.9, 0.95) and gradients clipped to norm 1.
    decoupling_c : float or None
    learning_rate : float
    schedule : {"constant", "cosine"}
        After the warmup; the cosine falls to a tenth.
    probes : bool
        Whether the run is followed by decays and interpolations.
    """

    beta: float | None
    decoupling_c: float | None = None
    learning_rate: float = RATE
    schedule: str = "constant"
    probes: bool = True

    @property
    def name(self) -> str:
        if self.beta is None:
            return f"AdamW {self.learning_rate:g}" + (" cosine" if self.schedule == "cosine" else "")
        window = "" if self.decoupling_c is None else f", C={self.decoupling_c:g}"
        rate = "" if self.learning_rate == RATE else f", lr={self.learning_rate:g}"
        return f"SF {self.beta:g}{window}{rate}"


ADAMW = Setting(None, learning_rate=0.005)
# vanilla at four betas, one of them at a second rate, and refined ones
SETTINGS = (
    ADAMW,
    Setting(0.9),
    Setting(0.1),
    Setting(0.1, 50),
    Setting(0.5),
    Setting(0.5, 50, probes=False),
    Setting(0.95),
    Setting(0.95, learning_rate=0.04, probes=False),
    Setting(0.95, 50, probes=False),
    Setting(0.5, 20, probes=False),
)
LARGE_BATCH = LanguageConfig(num_steps=1200, batch_size=64, warmup_steps=180)
LARGE_BATCH_SETTINGS = (
    *(Setting(None, None, rate, "cosine", probes=False) for rate in (0.005, 0.01, 0.02)),
    *(Setting(0.98, c, rate, probes=False) for rate in (0.03, 0.06) for c in (None, 200, 100)),
)


# The tables that are recorded: settings and size
TABLES = {"language": (SETTINGS, LanguageConfig()), "large_batch": (LARGE_BATCH_SETTINGS, LARGE_BATCH)}


@dataclass(frozen=True)
class LanguageRun:
    """Validation losses of a run, nats a token; NaN and empty where the setting has no probes.

    Attributes
    ----------
    seed : int
    x, y, ema_x, ema_y : float
        At the end: at the average and at the gradient point (the same for AdamW), and exponential averages of them.
    decay : float
        After a decay of the learning rate to zero from its full value (AdamW only).
    short : float
        After a decay to zero from a tenth of AdamW's rate, on AdamW or on Schedule-Free's `x`: it removes hills and
        hardly moves along the river.
    longer : float
        After as many more steps at a constant rate.
    steps, x_curve, y_curve : sequence of float
        During the run.
    segment, decay_segment : sequence of float
        On the way from the branch step to the end, and to the end of a decay between the two (AdamW only).
    """

    seed: int
    x: float
    y: float
    ema_x: float = math.nan
    ema_y: float = math.nan
    decay: float = math.nan
    short: float = math.nan
    longer: float = math.nan
    steps: Sequence[float] = ()
    x_curve: Sequence[float] = ()
    y_curve: Sequence[float] = ()
    segment: Sequence[float] = ()
    decay_segment: Sequence[float] = ()


def language_run(
    text: Text,
    setting: Setting,
    config: LanguageConfig,
    *,
    seed: int = 0,
    num_points: int = 9,
    device: str | torch.device = "auto",
) -> LanguageRun:
    """Train at a constant learning rate, then probe what is found.

    Runs of one seed share their initial weights and their batches, so that differences between them are paired.

    Parameters
    ----------
    text : Text
    setting : Setting
    config : LanguageConfig
    seed : int
    num_points : int
        On a segment, both ends included.
    device : str or torch.device
    """
    target, probes = choose_device(device), setting.probes
    tokens, held_out = text.tokens.to(target), text.validation.to(target)
    with seeded(seed):
        model = Llama(
            len(text.vocabulary),
            context=config.context,
            dim=config.dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
        ).to(target)
    train = partial(
        fit_language_model,
        text=(tokens, held_out),
        batch_size=config.batch_size,
        context=config.context,
        num_windows=config.num_windows,
        clip=1.0 if setting.beta is None else None,
        seed=seed,
        device=target,
        progress=False,
    )
    kept: dict[str, Any] = {}  # at the branch step
    optimizer = _optimizer(setting, config, model)

    def look(step: int) -> None:
        if probes and step == config.branch_step:
            kept["x"] = _usable(optimizer, model)
            if setting.beta is None:  # a copy of both at once, so that the optimizer's parameters are the copy's
                kept["branch"] = copy.deepcopy((model, optimizer))

    result = train(
        model,
        optimizer=optimizer,
        num_steps=config.num_steps,
        schedule=_schedule(setting, config) if setting.beta is None else None,
        ema=0.99 if probes else None,
        ema_start=config.warmup_steps,
        evaluate_every=max(config.num_steps // 5, 1),
        callback=look,
    )
    c = result.curves
    found: dict[str, Any] = {}
    if probes:
        fractions = np.linspace(0, 1, num_points).tolist()
        options = {"context": config.context, "num_windows": config.num_windows}
        end = _usable(optimizer, model)
        found["segment"] = interpolate(model, (kept["x"], end), held_out, fractions, **options).tolist()
        more = partial(train, num_steps=config.probe_steps, first_step=config.num_steps)
        if setting.beta is None:
            for name, factor in {"decay": 1.0, "short": 0.1}.items():
                twin, state = copy.deepcopy((model, optimizer))
                lower = _linear(factor, config.probe_steps)
                found[name] = more(twin, optimizer=_at(state, setting.learning_rate), schedule=lower).final()
            branch, state = kept["branch"]
            length = config.num_steps - config.branch_step
            train(
                branch,
                optimizer=_at(state, setting.learning_rate),
                num_steps=length,
                first_step=config.branch_step,
                schedule=_linear(1.0, length),
            )
            lowered = [p.detach() for p in branch.parameters()]
            found["decay_segment"] = interpolate(model, (kept["x"], lowered), held_out, fractions, **options).tolist()
        else:
            twin = copy.deepcopy(model)
            with torch.no_grad():
                torch._foreach_copy_(list(twin.parameters()), end)
            fresh = torch.optim.AdamW(twin.parameters(), lr=ADAMW.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
            found["short"] = more(twin, optimizer=fresh, schedule=_linear(0.1, config.probe_steps), clip=1.0).final()
        found |= {"longer": more(model, optimizer=optimizer).final(), "ema_x": result.final("ema_x")}
        found["ema_y"] = result.final("ema_y")
    curves = {"steps": c["step"].tolist(), "x_curve": c["x"].tolist(), "y_curve": c["y"].tolist()}
    return LanguageRun(seed, result.final("x"), result.final("y"), **found, **curves)


def language_table(
    text: Text,
    settings: Iterable[Setting],
    config: LanguageConfig,
    *,
    seeds: Sequence[int] = (0, 1),
    num_jobs: int = 1,
    device: str | torch.device = "auto",
) -> dict[str, list[LanguageRun]]:
    """Runs by name, one a seed; `num_jobs` of them at a time, each in a process of its own."""
    settings = list(settings)
    common = {"text": text, "config": config, "device": device}
    cases = [{**common, "setting": setting, "seed": seed} for setting in settings for seed in seeds]
    runs = iter(sweep(language_run, cases, num_jobs=num_jobs, progress="language models"))
    return {setting.name: [next(runs) for _ in seeds] for setting in settings}


def language_claims(table: Mapping[str, Sequence[LanguageRun]]) -> dict[str, Any]:
    """What the claims about language models compare, by claim, from a table with all of `SETTINGS`."""
    adamw, best, low = table["AdamW 0.005"], table["SF 0.9"], table["SF 0.1"]
    tuned = [min(a.x, b.x) for a, b in zip(best, table["SF 0.95, lr=0.04"], strict=True)]
    refined = {0.1: table["SF 0.1, C=50"], 0.5: table["SF 0.5, C=50"], 0.95: table["SF 0.95, C=50"]}
    vanilla = {0.1: low, 0.5: table["SF 0.5"], 0.95: table["SF 0.95"]}

    def over(runs: Sequence[LanguageRun], of: Callable[[LanguageRun], float]) -> list[float]:
        return [of(run) for run in runs]

    def gain(run: LanguageRun) -> float:
        return run.x - run.short

    plain = [best, *vanilla.values()]
    return {
        "C11a": over(adamw, lambda r: r.x - r.decay),
        "C11b": over(adamw, lambda r: r.x - r.ema_x),
        "C11c": over(best, lambda r: r.x - r.ema_x),
        "C11d": over(best, gain),
        "C11e": [gain(b) / gain(a) for a, b in zip(adamw, best, strict=True)],
        "C11f": [x - a.decay for a, x in zip(adamw, tuned, strict=True)],
        "C12a": over(adamw, lambda r: min(r.segment[0], r.segment[-1]) - min(r.segment)),
        "C12b": [max(_rise(a.decay_segment), _rise(b.segment)) for a, b in zip(adamw, best, strict=True)],
        "C12c": [_fall(b.segment) / _fall(a.decay_segment) for a, b in zip(adamw, best, strict=True)],
        "C13a": over(low, gain),
        "C13b": over(vanilla[0.5], gain),
        "C13c": over(vanilla[0.95], gain),
        "C14a": over(low, lambda r: r.x - r.y),
        "C14b": [max(r.ema_y - min(r.x, r.y) for r in runs) for runs in zip(*plain, strict=True)],
        "C15a": [v.x - r.x for v, r in zip(vanilla[0.1], refined[0.1], strict=True)],
        "C15b": [v.x - r.x for v, r in zip(vanilla[0.5], refined[0.5], strict=True)],
        "C15c": [v.x - r.x for v, r in zip(vanilla[0.95], refined[0.95], strict=True)],
        "C15d": [max(r.x - r.y for r in runs) for runs in zip(*refined.values(), strict=True)],
        "C15e": [abs(a.x - b.x) for a, b in zip(table["SF 0.5, C=20"], refined[0.5], strict=True)],
    }


def large_batch_claims(table: Mapping[str, Sequence[LanguageRun]]) -> dict[str, list[float]]:
    """What the claims about large batches compare, from a table with all of `LARGE_BATCH_SETTINGS`."""
    cosine = [min(run.x for run in runs) for runs in zip(*_named(table, "cosine"), strict=True)]

    def behind(name: str) -> list[float]:
        return [run.x - best for run, best in zip(table[name], cosine, strict=True)]

    tie = [abs(difference) for difference in behind("SF 0.98, C=200, lr=0.03")]
    return {"C16a": behind("SF 0.98, lr=0.03"), "C16b": tie, "C16c": behind("SF 0.98, C=100, lr=0.03")}


def record_table(
    name: str,
    path: str | os.PathLike[str],
    *,
    seeds: Sequence[int],
    num_jobs: int = 1,
    device: str | torch.device = "auto",
) -> None:
    """Train one of `TABLES` on Shakespeare's plays and store it, with what it was trained on, for `read_table`.

    A seed of "language" takes three minutes of one core, a seed of "large_batch" eight.
    """
    from descentlab.chapters import machine

    settings, config = TABLES[name]
    environment, start = machine(str(device)), time.perf_counter()
    text = load_text("shakespeare")
    table = language_table(text, settings, config, seeds=seeds, num_jobs=num_jobs, device=device)
    seconds = round(time.perf_counter() - start, 1)
    write_table(path, table, {**environment, "seconds": seconds, "seeds": list(seeds), "text": text.name})


def write_table(
    path: str | os.PathLike[str], table: Mapping[str, Sequence[LanguageRun]], environment: Mapping[str, Any]
) -> None:
    """Store runs by name as JSON, one run a line, losses to five decimals: float32 hardly knows more."""
    rows = [
        f"  {json.dumps(name)}: [\n   " + ",\n   ".join(json.dumps(_known(run)) for run in runs) + "\n  ]"
        for name, runs in table.items()
    ]
    head = json.dumps(dict(environment), indent=1).replace("\n", "\n ")
    text = f'{{\n "environment": {head},\n "runs": {{\n' + ",\n".join(rows) + "\n }\n}\n"
    Path(path).write_text(text, encoding="utf-8")


def read_table(path: str | os.PathLike[str]) -> dict[str, list[LanguageRun]]:
    """Runs by name, one a seed, as `write_table` stored them; ValueError if the file is damaged."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))["runs"]
        return {name: [LanguageRun(**run) for run in runs] for name, runs in stored.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a recorded table ({error}); restore it, or call record_table") from None


# Details -------------------------------------------------------------------------------------------------------------


def _optimizer(setting: Setting, config: LanguageConfig, model: nn.Module) -> torch.optim.Optimizer:
    if setting.beta is None:
        return torch.optim.AdamW(model.parameters(), lr=setting.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that C is large beside the warmup: the paper's own are, too
        return ScheduleFreeAdamW(
            model.parameters(),
            lr=setting.learning_rate,
            betas=(setting.beta, 0.99),
            weight_decay=0.1,
            warmup_steps=config.warmup_steps,
            decoupling_c=setting.decoupling_c,
        )


def _usable(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[Tensor]:
    """Copies of the parameters to use: the averages where there are some."""
    if isinstance(optimizer, ScheduleFreeAdamW):
        return optimizer.averages()
    return [p.detach().clone() for p in model.parameters()]


def _schedule(setting: Setting, config: LanguageConfig) -> Callable[[int], float]:
    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / config.warmup_steps)
        if setting.schedule == "constant" or step < config.warmup_steps:
            return rise
        along = (step - config.warmup_steps) / (config.num_steps - config.warmup_steps)
        return 0.1 + 0.9 * (1 + float(np.cos(np.pi * along))) / 2

    return factor


def _known(run: LanguageRun) -> dict[str, Any]:
    """The fields that a run has, rounded."""
    fields = {name: np.round(value, 5).tolist() for name, value in asdict(run).items()}
    return {name: value for name, value in fields.items() if value == value and value != []}


def _named(table: Mapping[str, Sequence[LanguageRun]], part: str) -> list[Sequence[LanguageRun]]:
    return [runs for name, runs in table.items() if part in name]


def _rise(losses: Sequence[float]) -> float:
    return float(np.diff(losses).max())


def _fall(losses: Sequence[float]) -> float:
    return losses[0] - losses[-1]


def _linear(first: float, num_steps: int) -> Callable[[int], float]:
    return lambda step: first * max(0.0, 1 - step / num_steps)


def _at(optimizer: torch.optim.Optimizer, learning_rate: float) -> torch.optim.Optimizer:
    """Set the rate that a schedule multiplies, in place of what an earlier schedule left."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        group.pop("initial_lr", None)
    return optimizer
