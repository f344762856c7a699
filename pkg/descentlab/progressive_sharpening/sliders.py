"""A figure that computes in the reader's browser: the closed forms of the minimal model behind four sliders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np

from descentlab.figures import BLUE, GREY, ORANGE
from descentlab.progressive_sharpening.difficulty import Spectrum, layer_squares
from descentlab.progressive_sharpening.minimal import sharpness_at_minimum

_DEPTHS, _IMBALANCE, _EDGE = (2, 8), (-3.0, 3.0), (1.0, 3.7)  # ranges of the sliders; 2/η as a power of ten
_WIDTH, _HEIGHT, _LOW, _HIGH = 560.0, 240.0, 1.0, 4.3  # of the plot, and its vertical axis in powers of ten

# The script sits in the figure's own handler: no global names, and it works wherever the markup is pasted. It repeats
# `layer_squares` and the secular equation of `MinimalModel.minimum_sharpness`. No double quotes may occur in it.
_SCRIPT = """
const f=this,g=k=>+f.querySelector('[name='+k+']').value,m=JSON.parse(f.dataset.models)[g('n')],D=g('d'),C=g('c');
const edge=10**g('e'),Q=m.d.reduce((t,d,i)=>t+(d/m.s[i])**2,0);
const square=c=>{const b=Math.max(c,0);let t=Math.log(Q)/D;
for(let i=0;i<60;i++){const e=Math.exp(t),x=e+b,y=e+b-c;
t-=(Math.log(x)+(D-1)*Math.log(y)-Math.log(Q))/(e/x+(D-1)*e/y)}return Math.exp(t)+(b-c)};
const sharp=c=>{const v=square(c),P=v**(D-1),h=(D-1)/v;let lo=P*m.s[0]**2,hi=lo+h*m.d.reduce((t,d)=>t+d*d,0);
const low=lo+h*m.d[0]**2,up=hi;
for(let i=0;i<60;i++){const x=(lo+hi)/2;let F=0;for(let k=0;k<m.s.length;k++)F+=m.d[k]**2/(x-P*m.s[k]**2);
h*F<1?hi=x:lo=x}return [low/m.N,(lo+hi)/2/m.N,up/m.N]};
const X=c=>(c+3)/6*560,Y=s=>240*(1-(Math.log10(s)-1)/3.3),path=p=>p.map((q,i)=>(i?'L':'M')+q[0].toFixed(1)+' '+
q[1].toFixed(1)).join('');
const cs=[...Array(61).keys()].map(i=>i/10-3),all=cs.map(sharp),here=sharp(C);
[0,1,2].forEach(k=>f.querySelector('.s'+k).setAttribute('d',path(cs.map((c,i)=>[X(c),Y(all[i][k])]))));
const dot=f.querySelector('circle'),line=f.querySelector('line');dot.setAttribute('cx',X(C));dot.setAttribute('cy',Y(here[1]));
line.setAttribute('y1',Y(edge));line.setAttribute('y2',Y(edge));
const r=x=>x.toPrecision(4);f.querySelector('.n').textContent=m.N;f.querySelector('.d').textContent=D;
f.querySelector('.c').textContent=C.toFixed(1);f.querySelector('.e').textContent=r(edge);
f.querySelector('.text').textContent='Q = '+r(Q)+': the flow ends with sharpness '+r(here[1])+', between '+r(here[0])+
' and '+r(here[2])+'; '+(here[1]<=edge?'below 2/η, so descent ends there too.':'above 2/η: descent goes to the edge.');
"""


@dataclass(frozen=True, repr=False)
class Playground:
    """The figure as HTML that needs nothing else. See `playground`."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return "Figure with sliders for the number of samples, the depth, the imbalance and the step size"


def playground(spectra: Mapping[int, Spectrum], *, depth: int = 2, edge: float = 120.0) -> Playground:
    """Sliders for data, depth, imbalance and step size; the sharpness of minima follows at once, without a server.

    Parameters
    ----------
    spectra : mapping of int to Spectrum
        By number of samples.
    depth : int
        Where the slider for the depth stands at first, 2 to 8.
    edge : float
        The same for 2 over the learning rate, 10 to 5000.

    Raises
    ------
    ValueError
        `spectra` is empty, or a value is out of its range.
    """
    if not spectra or not _DEPTHS[0] <= depth <= _DEPTHS[1] or not 10 ** _EDGE[0] <= edge <= 10 ** _EDGE[1]:
        raise ValueError(f"spectra of sizes {list(spectra)}, depth={depth!r}, edge={edge!r}: see the ranges allowed")
    sizes = list(spectra)
    models = [_compact(s) for s in spectra.values()]
    curves = _curves(spectra[sizes[0]], depth)
    here = curves[:, len(curves[0]) // 2]
    state = {"n": str(sizes[0]), "d": str(depth), "c": "0.0", "e": f"{edge:.4g}"}
    paths = "".join(
        f'<path class="s{k}" d="{_path(curve)}" fill="none" stroke="{colour}" stroke-width="{width}"></path>'
        for k, (curve, colour, width) in enumerate(zip(curves, (GREY, BLUE, GREY), (1, 2.5, 1), strict=True))
    )
    level = _y(edge)
    rows = (
        ("n", "samples", 0, len(sizes) - 1, 1, 0),
        ("d", "depth", *_DEPTHS, 1, depth),
        ("c", "imbalance", *_IMBALANCE, 0.1, 0),
        ("e", "2/η", *_EDGE, 0.01, np.log10(edge)),
    )
    controls = "".join(
        f'<label style="display:flex;gap:0.75em"><span style="min-width:6em">{label}</span>'
        f'<input type="range" name="{name}" min="{low}" max="{high}" step="{step}" value="{value:g}" autocomplete="off" '
        f'style="flex:1;min-width:4em"><output class="{name}" style="min-width:4em">{state[name]}</output></label>'
        for name, label, low, high, step, value in rows
    )
    verdict = "below 2/η, so descent ends there too." if here[1] <= edge else "above 2/η: descent goes to the edge."
    text = (
        f"Q = {spectra[sizes[0]].difficulty:.4g}: the flow ends with sharpness {here[1]:.4g}, between {here[0]:.4g} and "
        f"{here[2]:.4g}; {verdict}"
    )
    ticks = "".join(
        f'<text x="4" y="{_y(10**k) - 3:.0f}" fill="currentColor" font-size="11">{10**k}</text>' for k in (1, 2, 3, 4)
    )
    html = f"""<figure class="dl-playground" style="margin:1em 0;max-width:50em" \
data-models='{json.dumps(models, separators=(",", ":"))}' oninput="{escape(_SCRIPT.strip())}">
<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" style="width:100%" aria-label="Sharpness of the minimum against the \
imbalance from -3 to 3, between its bounds, with a dot at the chosen imbalance and a line at 2/η">
{paths}<line x1="0" x2="{_WIDTH:g}" y1="{level:.1f}" y2="{level:.1f}" stroke="{ORANGE}" stroke-dasharray="6 4"></line>\
<circle cx="{_WIDTH / 2:g}" cy="{_y(here[1]):.1f}" r="6" fill="{BLUE}"></circle>{ticks}</svg>
{controls}
<figcaption class="text" aria-live="polite">{text}</figcaption>
</figure>"""
    return Playground(html)


def _compact(s: Spectrum) -> dict[str, object]:
    return {"N": s.num_samples, "s": [float(f"{x:.8g}") for x in s.sigma], "d": [float(f"{x:.8g}") for x in s.labels]}


def _curves(s: Spectrum, depth: int) -> np.ndarray:
    """Lower bound, exact sharpness and upper bound over the imbalances of the plot, shape (3, 61)."""
    C = np.repeat(np.linspace(*_IMBALANCE, 61)[:, None], depth - 1, axis=1)
    v2 = layer_squares(s.difficulty, C)
    exact = sharpness_at_minimum(s, v2)
    first, h = s.sigma[0] ** 2 * np.prod(v2, axis=1), np.sum(1 / v2, axis=1)
    bounds = [(first + h * part) / s.num_samples for part in (s.labels[0] ** 2, s.labels @ s.labels)]
    return np.array([bounds[0], exact, bounds[1]])


def _y(sharpness: float) -> float:
    return float(_HEIGHT * (1 - (np.log10(sharpness) - _LOW) / (_HIGH - _LOW)))


def _path(curve: np.ndarray) -> str:
    points = zip(np.linspace(0, _WIDTH, len(curve)), (_y(s) for s in curve), strict=True)
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
