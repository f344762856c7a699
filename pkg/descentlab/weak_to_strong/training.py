"""Gradient descent for teacher and student."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from descentlab.weak_to_strong.engines import ENGINES, Split, Streamed
from descentlab.weak_to_strong.history import History, Log, joined
from descentlab.weak_to_strong.losses import CrossEntropy, Loss, as_loss
from descentlab.weak_to_strong.models import LinearCNN, ReluCNN, outputs
from descentlab.weak_to_strong.patches import PatchData, as_labels, fingerprints

Method = Literal["auto", "split", "gram", "autograd"]
METHODS = ("auto", "split", "gram", "autograd")
_CACHED = 2**17  # numbers in a data set beyond which teachers are quicker one after the other, on a CPU
_LARGE = 3 * 2**20  # numbers in a data set beyond which a batch of them saves nothing
_HUGE = 2**24  # numbers in a data set beyond which it is read once a step


def train_weak(
    data: PatchData,
    *,
    learning_rate: float = 0.05,
    num_steps: int = 300,
    labels: Any = None,
    record: Sequence[int] | None = None,
    test: PatchData | None = None,
) -> tuple[LinearCNN, History]:
    r"""Gradient descent from zero for the linear model, :math:`w \leftarrow w + \frac{\eta}{n} \sum_i y_i \varsigma(-y_i f_i) \sum_p x_i^{(p)}`.

    Parameters
    ----------
    data : PatchData
        A batch of data sets trains a batch of models.
    learning_rate : float
    num_steps : int
    labels : array, shape (..., n), optional
        Instead of the true ones.
    record : sequence of int, optional
        Steps to log, 0 being the start; only the last unless given.
    test : PatchData, optional

    Returns
    -------
    LinearCNN, History

    Raises
    ------
    ValueError
        An argument is out of range, or a label is not 1 or -1.
    """
    steps = _check_run(learning_rate, num_steps, [num_steps] if record is None else record)
    y = data.labels if labels is None else as_labels(labels, data.labels.shape, data.rows)
    model = LinearCNN(data.dim, batch=data.batch, dtype=data.rows.dtype).to(data.rows.device)
    arguments: dict[str, Any] = {"learning_rate": learning_rate, "num_steps": num_steps, "record": sorted(steps)}
    n, length = data.num_samples, data.rows.shape[-1]
    # a product is as slow as its matrix is read, but for the kernel itself; of that half is read, as it is symmetric
    gram = num_steps * n / 2 + n * length / 10 < num_steps * 2 * length and not data.rows.is_cuda
    gram = gram and (not data.batch or data.rows.ndim > 2)  # networks that share their rows share one product as well
    if data.rows.ndim > 2 and n * (n if gram else length) > _CACHED and not data.rows.is_cuda:
        # each on its own to the end, so that it is read from the cache and not from memory
        runs = [
            train_weak(data.of_seed(i), labels=y[i], test=_of_seed(test, i), **arguments) for i in range(data.batch[0])
        ]
        with torch.no_grad():
            model.weight.copy_(torch.stack([run.weight for run, _ in runs]))
        model.seen = torch.cat([run.seen for run, _ in runs])
        return model, joined([history for _, history in runs], np.stack)
    rows = data.rows if data.signals is not None else data.patch_sums()
    rows = rows[0] if rows.ndim > data.rows.ndim == 2 else rows  # the same for all networks of a batch
    log = Log(data, y, test)
    descent = _linear_gram if gram else _linear_descent
    with torch.no_grad():
        for t, f in descent(model.weight, rows, data, y, learning_rate, num_steps, steps):
            if t in steps:
                log.add(t, f, f, None, None if test is None else outputs(model, test))
    model.seen = fingerprints(data)
    return model, log.history()


Steps = Iterator[tuple[int, Tensor]]


def _of_signals(data: PatchData) -> Tensor:
    """Sum of the signal patches, shape (..., n, 4), or without columns where all patches are among the rows."""
    if data.signals is None or data.counts is None:
        return data.labels.new_zeros(*data.labels.shape, 0)
    return data.counts @ data.signals


def _linear_descent(
    weight: Tensor, rows: Tensor, data: PatchData, y: Tensor, rate: float, num_steps: int, steps: set[int]
) -> Steps:
    """Steps and outputs, from zero; networks that share the rows read them once."""
    signals, away = _of_signals(data), -y
    start = signals.shape[-1]
    for t in range(num_steps + 1):
        of_signals = (signals @ weight[..., :start].unsqueeze(-1)).squeeze(-1)
        # matrices are multiplied where rows are shared, a matrix and a vector each where they are not
        noise = weight[..., start:]
        f = (noise @ rows.mT if rows.ndim == 2 else (rows @ noise.unsqueeze(-1)).squeeze(-1)) + of_signals
        yield t, f
        if t < num_steps:
            pull = torch.sigmoid(away * f).mul_(y).mul_(rate / data.num_samples)
            noise += pull @ rows if rows.ndim == 2 else (pull.unsqueeze(-2) @ rows).squeeze(-2)
            weight[..., :start] += (pull.unsqueeze(-2) @ signals).squeeze(-2)


def _linear_gram(
    weight: Tensor, rows: Tensor, data: PatchData, y: Tensor, rate: float, num_steps: int, steps: set[int]
) -> Steps:
    """The same with the noise weights as a sum over samples; they are written out at the steps to log."""
    from scipy.linalg.blas import get_blas_funcs

    signals, away, a = _of_signals(data), -y, torch.zeros_like(y)
    start, kernel = signals.shape[-1], rows @ rows.mT
    symmetric = kernel.numpy().T if kernel.ndim == 2 else None
    product = None if symmetric is None else get_blas_funcs("symv", (symmetric,))
    for t in range(num_steps + 1):
        if product is not None:  # BLAS reads half of the matrix; it knows no batches
            f = torch.as_tensor(product(1.0, symmetric, a.numpy())).addmv_(signals, weight[:start])
        else:
            f = (kernel @ a.unsqueeze(-1) + signals @ weight[..., :start].unsqueeze(-1)).squeeze(-1)
        if t in steps or t == num_steps:
            weight[..., start:] = (a.unsqueeze(-2) @ rows).squeeze(-2)
        yield t, f
        if t < num_steps:
            pull = torch.sigmoid(away * f).mul_(y).mul_(rate / data.num_samples)
            a += pull
            weight[..., :start] += (pull.unsqueeze(-2) @ signals).squeeze(-2)


def train_strong(
    model: ReluCNN,
    data: PatchData,
    labels: Any,
    *,
    learning_rate: float,
    num_steps: int,
    method: Method = "auto",
    record: Sequence[int] | None = None,
    test: PatchData | None = None,
    keep_predictions: bool = False,
    loss: str | Loss = "xent",
    optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    batch_size: int | None = None,
    train_output: bool = False,
    seed: int = 0,
) -> tuple[ReluCNN, History]:
    r"""Full-batch gradient descent for the ReLU network on given labels, :math:`W \leftarrow W - \eta \nabla L(W)`.

    Parameters
    ----------
    model : ReluCNN
        The start; it is left unchanged. A batch of models or of data sets trains a batch of networks.
    data : PatchData
    labels : array, shape (..., n)
        1 or -1: pseudo-labels, or the true ones.
    learning_rate : float
    num_steps : int
    method : {"auto", "split", "gram", "autograd"}
        The same iterates up to rounding. ``"auto"`` takes the cheaper of the first two that can do what is asked. With
        data from arrays nothing can be split off, and ``"split"`` is the plain gradient without autograd.
    record : sequence of int, optional
        Steps to log, 0 being the start; every step unless given.
    test : PatchData, optional
        Logged beside the training set.
    keep_predictions : bool
        Log the signs on each test sample.
    loss : {"xent", "logconf"} or Loss
        What becomes of the labels; see `losses`.
    optimizer : callable, optional
        ``optimizer(parameters, lr=learning_rate)``, such as ``torch.optim.Adam``; not with ``"gram"``.
    batch_size : int, optional
        Samples a step, in reshuffled order; all of them unless given; not with ``"gram"``.
    train_output : bool
        Train the second layer too; not with ``"gram"``.
    seed : int
        Of the order of mini-batches.

    Returns
    -------
    ReluCNN, History

    Raises
    ------
    ValueError
        An argument is out of range, shapes do not fit, or a label is not 1 or -1.
    """
    steps = _check_run(learning_rate, num_steps, range(num_steps + 1) if record is None else record)
    if model.weights.shape[-1] != data.dim or (test is not None and test.dim != data.dim):
        raise ValueError(f"model has filters of length {model.weights.shape[-1]}, data patches of length {data.dim}")
    if batch_size is not None and not 1 <= batch_size <= data.num_samples:
        raise ValueError(f"batch_size={batch_size} must be between 1 and the {data.num_samples} samples")
    plain = optimizer is None and batch_size is None and not train_output
    engine_type = ENGINES[_choose(method, plain, model, data, num_steps)]
    batch = _common_batch(model, data, test)
    y = as_labels(labels, data.labels.shape, data.rows)
    own = data.rows.ndim > 2 and len(batch) == 1
    if own and data.rows[0].numel() > _LARGE and not data.rows.is_cuda:
        arguments: dict[str, Any] = {"learning_rate": learning_rate, "num_steps": num_steps, "method": method}
        arguments |= {"record": sorted(steps), "keep_predictions": keep_predictions, "loss": loss, "seed": seed}
        arguments |= {"optimizer": optimizer, "batch_size": batch_size, "train_output": train_output}
        return _one_by_one(model, data, y, test, arguments)
    rule, log = as_loss(loss), Log(data, y, test, keep_predictions)
    huge = data.rows.numel() > _HUGE and not batch and data.signals is not None
    if engine_type is Split and huge and plain and isinstance(rule, CrossEntropy):
        engine_type = partial(Streamed, y=y)
    engine = engine_type(_batched(model, batch, data.rows), data, test, learning_rate, optimizer, train_output)
    orders = None if batch_size is None else _reshuffled(data.num_samples, batch_size, seed)
    for t in range(num_steps + 1):
        if t in steps:
            log.add(t, engine.outputs(None), *engine.state())
        if t == num_steps:
            break
        index = None if orders is None else next(orders)
        f = engine.outputs(index)
        given = y if index is None else y[..., index]
        engine.step(f, given, *_target(rule, f, given, t / num_steps), index)
    return engine.model(), log.history()


def _of_seed(test: PatchData | None, index: int) -> PatchData | None:
    return None if test is None else test.of_seed(index) if test.batch else test


def _one_by_one(
    model: ReluCNN, data: PatchData, y: Tensor, test: PatchData | None, arguments: dict[str, Any]
) -> tuple[ReluCNN, History]:
    """A batch of large data sets: each is trained on to the end, so that it is read from the cache and not from memory."""
    end, histories = _batched(model, data.batch, data.rows), []
    for i in range(data.batch[0]):
        run, history = train_strong(end.of_seed(i), data.of_seed(i), y[i], test=_of_seed(test, i), **arguments)
        with torch.no_grad():
            end.weights[i], end.output[i] = run.weights, run.output
        histories.append(history)
    return end, joined(histories, np.stack)


def _choose(method: str, plain: bool, model: ReluCNN, data: PatchData, num_steps: int) -> str:
    if method not in METHODS:
        raise ValueError(f"method={method!r}; allowed are {', '.join(map(repr, METHODS))}")
    if method == "gram" and not plain:
        raise ValueError("method='gram' is for plain full-batch gradient descent; use 'split' or 'auto'")
    if method != "auto":
        return method
    rows, length = data.rows.shape[-2:]
    filters = 2 * model.num_filters
    gram = rows * rows * (length + num_steps * filters) + 2 * rows * length * filters
    return "gram" if plain and gram < num_steps * 2 * rows * length * filters else "split"


def _common_batch(model: ReluCNN, data: PatchData, test: PatchData | None) -> tuple[int, ...]:
    shapes = {"model": tuple(model.weights.shape[:-3]), "data": data.batch}
    if test is not None:
        shapes["test"] = test.batch
        if test.rows.dtype != data.rows.dtype:
            raise ValueError(f"test has numbers of type {test.rows.dtype}, data of type {data.rows.dtype}")
    try:
        np.broadcast_shapes(*shapes.values())  # that of torch imports a compiler
    except ValueError:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"batches of seeds must agree or be absent; found {found}") from None
    return tuple(np.broadcast_shapes(shapes["model"], shapes["data"]))


def _batched(model: ReluCNN, batch: Sequence[int], like: Tensor) -> ReluCNN:
    """A copy of the model, with the batch axis, beside the data."""
    start = copy.deepcopy(model).to(device=like.device, dtype=like.dtype)
    start.weights = torch.nn.Parameter(start.weights.detach().expand(*batch, *start.weights.shape[-3:]).clone())
    output = start.output.detach().expand(*batch, *start.output.shape[-2:]).clone()
    start.output = torch.nn.Parameter(output, requires_grad=False)
    return start


def _reshuffled(num_samples: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    rng = np.random.default_rng([seed, 11])
    while True:
        order = torch.as_tensor(rng.permutation(num_samples))
        yield from (order[i : i + batch_size] for i in range(0, num_samples - batch_size + 1, batch_size))


@torch.no_grad()
def _target(rule: Loss, f: Tensor, y: Tensor, progress: float) -> tuple[Tensor | None, Tensor | None]:
    """Target probability of the class 1 where it is not that of the label, and weights, shape (..., n)."""
    if isinstance(rule, CrossEntropy):
        return None, None
    one = ((1 + y) / 2).expand_as(f)
    f = f.detach()
    predicted = torch.stack([torch.sigmoid(-f), torch.sigmoid(f)], dim=-1)
    target, weight = rule(predicted, torch.stack([1 - one, one], dim=-1), progress)
    return target[..., 1], weight


def _check_run(learning_rate: float, num_steps: int, record: Sequence[int]) -> set[int]:
    if not (np.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate={learning_rate} must be positive and finite")
    if num_steps < 1:
        raise ValueError(f"num_steps={num_steps} must be at least 1")
    steps = {int(t) for t in record}
    if not steps or min(steps) < 0 or max(steps) > num_steps:
        raise ValueError(f"record={sorted(steps)} must be steps between 0 and num_steps={num_steps}")
    return steps


def warn_of_seen(model: LinearCNN, data: PatchData) -> None:
    """Warn if the teacher was trained on some of the samples that it is about to label."""
    shared = torch.isin(fingerprints(data), model.seen.to(data.rows.device)).sum()
    if shared:
        warnings.warn(
            f"the teacher was trained on {int(shared)} of these samples and may have memorised their labels; "
            "let it label fresh ones",
            UserWarning,
            stacklevel=3,
        )
