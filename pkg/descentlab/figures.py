"""One look for all figures, and a few drawings that papers share.

`use_style` sets matplotlib's parameters. Figures are drawn once, with dark ink on white; on a dark page the book's
style sheet applies `DARK_FILTER`, which turns the lightness around and keeps the hues, so that one stored PNG reads
well on both. A picture whose lightness means something, such as a photograph, opts out with the class
``keep-colours`` (``mystnb: {image: {classes: keep-colours}}`` in the cell's metadata). The colours of `PALETTE` have
at least 3 : 1 contrast on both pages and stay apart for colour-blind readers.

The module imports matplotlib and NumPy, not torch.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import style
from matplotlib.patheffects import withStroke

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

T = TypeVar("T")

BLUE, ORANGE, GREEN, PURPLE, BROWN = "#188FDC", "#DB5B02", "#02583A", "#942770", "#754D05"
GREY = "#767676"  # guides and whatever else is not data
INK = "#222222"  # text and axes
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY)

DARK_FILTER = "invert(0.93) hue-rotate(180deg)"

STYLE: dict[str, Any] = {
    "figure.figsize": (6.4, 3.8),
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def use_style() -> None:
    """Set the house style for all figures that follow."""
    style.use(STYLE)


def slope_guide(ax: Axes, x: Sequence[float], y: float, slope: float, *, label: str | None = None) -> Line2D:
    """Draw the power law ``y * (x / x[0]) ** slope`` as a dashed guide; a straight line on log-log axes.

    Parameters
    ----------
    ax : Axes
    x : pair of float
        Where the guide starts and ends.
    y : float
        Its height at ``x[0]``.
    slope : float
        The exponent.
    label : str, optional
        Written next to its middle; ``"slope −2"`` unless given, nothing where it is empty.

    Raises
    ------
    ValueError
        `x` is not a pair of different positive numbers, or `y` is not positive.
    """
    if len(x) != 2 or x[0] == x[1] or min(*x, y) <= 0:
        raise ValueError(f"x={x!r}, y={y!r}: a power law needs two different positive abscissae and a positive height")
    along = np.geomspace(x[0], x[1], 3)
    heights = y * (along / x[0]) ** slope
    (line,) = ax.plot(along, heights, color=GREY, linestyle="--", linewidth=1)
    text = f"slope {slope:g}".replace("-", "−") if label is None else label
    note = ax.annotate(text, (along[1], heights[1]), (5, 4), textcoords="offset points", color=GREY, fontsize=9)
    note.set_path_effects([withStroke(linewidth=3, foreground="white")])  # stays legible across curves
    return line


def band(
    ax: Axes,
    x: np.ndarray,
    samples: np.ndarray,
    *,
    label: str | None = None,
    quantiles: tuple[float, float] = (0.1, 0.9),
    **line: Any,
) -> Line2D:
    """Draw the median over seeds as a line, and the range between two quantiles as a band.

    Parameters
    ----------
    ax : Axes
    x : array, shape (n,)
    samples : array, shape (seeds, n)
    label : str, optional
        Of the line, in the legend.
    quantiles : pair of float
        Lower and upper edge of the band, in [0, 1].
    **line
        Passed to ``Axes.plot``: color, linestyle, …

    Raises
    ------
    ValueError
        `samples` does not have one row a seed and one column an abscissa.
    """
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 2 or samples.shape[1] != len(x):
        raise ValueError(f"samples has shape {samples.shape}, expected (seeds, {len(x)})")
    low, median, high = np.quantile(samples, (quantiles[0], 0.5, quantiles[1]), axis=0)
    (drawn,) = ax.plot(x, median, label=label, **line)
    ax.fill_between(x, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    return drawn


_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def to_plane(weights: np.ndarray) -> np.ndarray:
    """Points of the simplex in the plane: corners at (0, 0), (1, 0) and (½, √3⁄2).

    Parameters
    ----------
    weights : array, shape (..., 3)
        Barycentric coordinates: not negative, of sum 1.

    Returns
    -------
    ndarray, shape (..., 2)

    Raises
    ------
    ValueError
        The last axis has not length 3, or a point lies outside the simplex by more than rounding.
    """
    weights = np.asarray(weights, dtype=float)
    if weights.ndim == 0 or weights.shape[-1] != 3:
        raise ValueError(f"weights has shape {weights.shape}, expected (..., 3)")
    if not (np.all(weights >= -1e-9) and np.allclose(weights.sum(axis=-1), 1, rtol=0, atol=1e-9)):
        raise ValueError("weights must be points of the simplex: not negative, of sum 1")
    return np.asarray(weights @ _CORNERS)


def ternary_axes(ax: Axes, *, labels: Sequence[str] = ("$c_1$", "$c_2$", "$c_3$"), lines: int = 4) -> None:
    """Turn axes into an empty ternary diagram for points of the simplex, placed by `to_plane`.

    Parameters
    ----------
    ax : Axes
    labels : three str
        Names of the corners; a corner is the point at which its coordinate is 1.
    lines : int
        Grid lines for each coordinate, evenly spaced.
    """
    for level in np.arange(1, lines + 1) / (lines + 1):
        for axis in range(3):
            ends = np.zeros((2, 3))
            ends[:, axis] = level
            ends[0, axis - 1] = ends[1, axis - 2] = 1 - level
            ax.plot(*to_plane(ends).T, color=mpl.rcParams["grid.color"], linewidth=0.6, zorder=0.5)
    ax.plot(*_CORNERS[[0, 1, 2, 0]].T, color=INK, linewidth=0.8, zorder=2.5)
    outward = _CORNERS - _CORNERS.mean(axis=0)
    for corner, away, text in zip(_CORNERS, outward, labels, strict=True):
        ax.annotate(text, tuple(corner), tuple(18 * away), textcoords="offset points", ha="center", va="center")
    ax.set_aspect("equal")
    ax.set_axis_off()


@dataclass(frozen=True, repr=False)
class Slider:
    """A figure with a slider, as HTML that needs nothing else; notebooks and the book show it. See `slider`."""

    html: str
    summary: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.summary


# a handler in the element: no identifiers that could clash, and it works wherever the markup is pasted
_ON_INPUT = (
    "const f=this.closest('.dl-slider'),all=f.querySelectorAll('img'),now=all[this.value];"
    "all.forEach(i=>{i.style.display=i===now?'block':'none'});"
    "this.setAttribute('aria-valuetext',now.dataset.label);"
    "f.querySelector('output').textContent=now.dataset.label"
)


def slider(
    frames: Iterable[Figure | Callable[[], Figure]],
    *,
    labels: Sequence[str],
    alt: str | Sequence[str],
    control: str = "",
    caption: str = "",
    dpi: int = 100,
    max_bytes: int = 1_500_000,
) -> Slider:
    """A figure whose frames a slider selects: precomputed, self-contained, the same bytes in every run.

    The slider works by mouse, touch and keyboard, without network or server. Without JavaScript the first frame
    shows. Figures made with pyplot are closed, so that the notebook does not show them a second time.

    Parameters
    ----------
    frames : iterable of Figure, or of functions that make one
        All of one size.
    labels : sequence of str
        What the slider stands at, one a frame: ``"b = 2"``.
    alt : str, or sequence of str
        Text in place of the picture; a single one is completed by the frame's label.
    control : str
        What the slider changes: ``"batch size"``.
    caption : str
        Plain text below the figure.
    dpi : int
        Pixels an inch; a frame 6.4 inches wide at 100 has some 20 to 60 kB.
    max_bytes : int
        Limit on the length of the HTML.

    Raises
    ------
    ValueError
        There are no frames, labels or texts do not match them in number, an alternative text is empty, or the result
        is too long.
    """
    pictures = [_png(frame if not callable(frame) else frame(), dpi) for frame in frames]
    alts = [f"{alt} ({label})" for label in labels] if isinstance(alt, str) else list(alt)
    if not len(pictures) == len(labels) == len(alts) > 0:
        raise ValueError(f"{len(pictures)} frames, {len(labels)} labels, {len(alts)} texts: expected one each a frame")
    if not alt or not all(text.strip() for text in alts):
        raise ValueError("alt: every frame needs a text that says what it shows")
    images = "\n".join(
        f'<img src="data:image/png;base64,{picture}" alt="{escape(text)}" data-label="{escape(label)}" '
        f'style="display:{"none" if number else "block"};width:100%;max-width:50em;height:auto">'
        for number, (picture, text, label) in enumerate(zip(pictures, alts, labels, strict=True))
    )
    html = f"""<figure class="dl-slider" style="margin:1em 0">
{images}
<div style="display:flex;gap:0.75em;align-items:center;max-width:50em;color:var(--pst-color-text-base,inherit)">
<span aria-hidden="true">{escape(control)}</span>
<input type="range" min="0" max="{len(pictures) - 1}" value="0" step="1" autocomplete="off" \
aria-label="{escape(control or "frame")}" aria-valuetext="{escape(labels[0])}" oninput="{_ON_INPUT}" \
style="flex:1;min-width:4em;accent-color:var(--pst-color-primary,{BLUE})">
<output aria-hidden="true" style="min-width:5em">{escape(labels[0])}</output>
</div>
{f"<figcaption>{escape(caption)}</figcaption>" if caption else ""}
</figure>"""
    if len(html) > max_bytes:
        size = f"{len(html) / 1e6:.1f} MB for {len(pictures)} frames"
        raise ValueError(f"{size}, at most {max_bytes / 1e6:g} MB: take fewer or smaller frames, or a lower dpi")
    return Slider(html, f"Figure with a slider: {control or 'frame'} from {labels[0]} to {labels[-1]}")


def _png(figure: Figure, dpi: int) -> str:
    """A figure as a base64 PNG of few colours, without a date or a version in it, the same in every run."""
    from matplotlib import pyplot as plt
    from PIL import Image

    raw, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi)
    plt.close(figure)
    Image.open(raw).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(packed, format="png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode("ascii")


def progress(iterable: Iterable[T], *, desc: str, total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar, written as text to standard error.

    Silent where the environment variable ``DESCENTLAB_QUIET`` is set to anything but ``"0"``, as it is while chapters
    are recorded: a bar would be stored with their outputs.
    """
    if os.environ.get("DESCENTLAB_QUIET", "0") not in ("", "0"):
        return iterable
    from tqdm import tqdm

    bar: Iterable[T] = tqdm(iterable, desc=desc, total=total, dynamic_ncols=True)
    return bar
