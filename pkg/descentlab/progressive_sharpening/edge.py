"""Gradient descent at the edge of stability, and what the precision of the arithmetic does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descentlab.geometry import Array
from descentlab.progressive_sharpening.minimal import MinimalModel
from descentlab.progressive_sharpening.problems import START_SCALE, model
from descentlab.progressive_sharpening.trajectories import EdgeLimit, Trajectory


@dataclass(frozen=True)
class EdgeRun:
    """Gradient descent at the edge of stability, beside its closed forms.

    Attributes
    ----------
    edge : float
        2 over the learning rate.
    run : Trajectory
    ratio : ndarray, shape (t,)
        Sharpness over the edge.
    at_minimum : ndarray, shape (t,)
        The sharpness that the imbalance of each iterate would have at zero loss.
    predicted : EdgeLimit
    """

    edge: float
    run: Trajectory
    ratio: Array
    at_minimum: Array
    predicted: EdgeLimit


def edge_run(
    m: MinimalModel,
    edge: float,
    *,
    num_steps: int = 3000,
    seed: int = 0,
    dtype: type = np.float64,
    record: Array | None = None,
) -> EdgeRun:
    """Descent with learning rate ``2 / edge`` from a balanced start."""
    a, v = m.balanced_start(START_SCALE, seed=seed)
    run = m.gradient_descent(a, v, learning_rate=2 / edge, num_steps=num_steps, dtype=dtype, record=record)
    finite = np.where(np.isfinite(run.loss)[:, None], run.a, a), np.where(np.isfinite(run.loss)[:, None], run.v, v)
    return EdgeRun(edge, run, run.sharpness / edge, m.flow_limit(*finite).sharpness, m.edge_limit(2 / edge, (a, v)))


def amplitude_decay(run: EdgeRun, windows: tuple[int, int] = (0, -1), length: int = 300) -> float:
    """Range of the sharpness within one window of steps over that in another: the last over the first."""
    ranges = [float(np.ptp(part)) for part in np.array_split(run.ratio[:-1], len(run.ratio[:-1]) // length)]
    return ranges[windows[1]] / ranges[windows[0]]


@dataclass(frozen=True)
class EdgeEnd:
    """Where descent ended, beside the closed form.

    Attributes
    ----------
    num_samples, depth : int
    edge : float
    sharpness, predicted : float
        Measured, and min of the flow's limit and the edge.
    flow : float
        The flow's limit.
    loss : float
    layer, layer_at_minimum, layer_of_flow : float
        Size of a scalar layer: measured, at the minimum of the final imbalance, and at that of the start's.
    """

    num_samples: int
    depth: int
    edge: float
    sharpness: float
    predicted: float
    flow: float
    loss: float
    layer: float
    layer_at_minimum: float
    layer_of_flow: float


def edge_survey(num_steps: int) -> list[EdgeEnd]:
    """Ends of descent for several data sets, depths and step sizes, the last of which is stable."""
    ends = []
    for N, depth, edge in ((100, 2, 300), (100, 2, 200), (200, 2, 400), (50, 2, 150), (100, 3, 200), (100, 2, 450)):
        m = model(N, depth=depth)
        start = m.balanced_start(START_SCALE)
        run = m.gradient_descent(*start, learning_rate=2 / edge, num_steps=num_steps, record=[0])
        flow, here = m.flow_limit(*start), m.flow_limit(run.a[-1], run.v[-1])
        predicted = m.edge_limit(2 / edge, start).sharpness
        sizes = (float(abs(v[0])) for v in (run.v[-1], here.v, flow.v))
        measured, loss = float(run.sharpness[-1]), float(run.loss[-1])
        ends.append(EdgeEnd(N, depth, edge, measured, predicted, float(flow.sharpness), loss, *sizes))
    return ends


def highest_loss(m: MinimalModel, edge: float, *, dtype: type, seeds: Sequence[int], num_steps: int = 3000) -> Array:
    """Largest loss of a run of descent, for several starts; infinite where it diverges."""
    peaks = []
    for seed in seeds:
        a, v = m.balanced_start(START_SCALE, seed=seed)
        loss = m.gradient_descent(a, v, learning_rate=2 / edge, num_steps=num_steps, dtype=dtype).loss
        peaks.append(float(loss.max()) if np.all(np.isfinite(loss)) else np.inf)
    return np.array(peaks)


def highest_loss_fixed_point(
    m: MinimalModel, edge: float, *, bits: int, seeds: Sequence[int], num_steps: int = 3000
) -> Array:
    """The same in fixed-point arithmetic with `bits` binary digits after the point, at depth 2, by whole numbers.

    A run is called divergent, and reads infinity, where the loss passes 10^6.
    """
    if m.depth != 2:
        raise ValueError(f"depth={m.depth}: fixed-point runs are for depth 2")
    one = 1 << bits
    half = one >> 1

    def fixed(values: Array) -> Any:
        return np.array([int(float(x) * 2**60) * one >> 60 for x in np.atleast_1d(values)], dtype=object)

    s = m.spectrum
    sigma, labels = fixed(s.sigma), fixed(s.labels)
    rate = fixed(np.array(2 / edge / m.num_samples))[0]
    peaks = []
    for seed in seeds:
        start_a, start_v = m.balanced_start(START_SCALE, seed=seed)
        a, v, peak = fixed(start_a), fixed(start_v)[0], 0.0
        for _ in range(num_steps):
            z = (sigma * a + half) >> bits
            residual = ((v * z + half) >> bits) - labels
            peak = max(peak, float(np.sum((residual.astype(float) / float(one)) ** 2)) / (2 * m.num_samples))
            if peak > 1e6:
                peak = np.inf
                break
            pull = (rate * ((sigma * residual + half) >> bits) + half) >> bits
            inner = (int(z @ residual) + half) >> bits
            a, v = a - ((v * pull + half) >> bits), v - ((rate * inner + half) >> bits)
        peaks.append(peak)
    return np.array(peaks)
