"""Figures: colours that everyone can tell apart on both pages, and drawings that show what they are given."""

import base64
import re
import shutil
import struct
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from descentlab import figures

STYLE_SHEET = Path(__file__).parents[1] / "book" / "_static" / "book.css"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def ax():
    with mpl.rc_context():
        figures.use_style()
        yield Figure().subplots()


# -- colours --------------------------------------------------------------------------------------------------------

WHITE, DARK_PAGE = np.ones(3), np.array([0x12, 0x12, 0x12]) / 255  # the two backgrounds of the book's theme


def rgb(colour):
    return np.array(mpl.colors.to_rgb(colour))


def linear(colour):
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """WCAG 2.2."""
    low, high = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def on_dark_page(colour):
    """CSS Filter Effects: invert(amount), then hue-rotate(180deg)."""
    amount = float(re.match(r"invert\((.*?)\) hue-rotate\(180deg\)$", figures.DARK_FILTER)[1])
    weights = np.array([0.213, 0.715, 0.072])
    rotate = 2 * weights[None, :] - np.eye(3)
    return np.clip(rotate @ (amount * (1 - colour) + (1 - amount) * colour), 0, 1)


@pytest.mark.parametrize(
    ("colours", "least"), [(figures.PALETTE, 3.0), ((figures.INK, figures.GREY), 4.5)], ids=["lines", "text"]
)
def test_contrast_on_white_and_on_dark(colours, least):
    for colour in map(rgb, colours):
        assert contrast(colour, WHITE) >= least
        assert contrast(on_dark_page(colour), on_dark_page(WHITE)) >= least
        assert contrast(on_dark_page(colour), DARK_PAGE) >= least


def test_the_figure_blends_into_the_dark_page():
    assert contrast(on_dark_page(WHITE), DARK_PAGE) < 1.01


# Machado, Oliveira and Fernandes (2009), severity 1
BLINDNESS = {
    "none": np.eye(3),
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(light):
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ light / (TO_XYZ @ WHITE), 1e-9))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("page", ["white", "dark"])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_stay_apart_for_everyone(kind, page):
    seen = [rgb(c) if page == "white" else on_dark_page(rgb(c)) for c in figures.PALETTE]
    seen = [lab(np.clip(BLINDNESS[kind] @ linear(colour), 0, 1)) for colour in seen]
    # CIE 1976: 2.3 is just noticeable
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 12


@pytest.mark.skipif(not STYLE_SHEET.exists(), reason="needs book/_static/book.css")
def test_the_book_applies_the_dark_filter():
    rules = STYLE_SHEET.read_text(encoding="utf-8")
    assert re.search(
        r"\[data-theme=.?dark.?\][^{}]*img:not\(\.keep-colours\)[^{}]*\{[^}]*filter:\s*"
        + re.escape(figures.DARK_FILTER),
        rules,
    )


def test_style_is_set_and_can_be_undone():
    before = mpl.rcParams["axes.spines.top"]
    with mpl.rc_context():
        figures.use_style()
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(figures.PALETTE)
        assert not mpl.rcParams["axes.spines.top"]
    assert mpl.rcParams["axes.spines.top"] == before


def test_torch_is_not_imported():
    code = "import sys, descentlab.figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- guides and bands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [-2, -0.5, 0, 1.5])
@pytest.mark.parametrize("x", [(10, 1e5), (1e5, 10)])
def test_slope_guide_is_a_power_law(ax, x, slope):
    line = figures.slope_guide(ax, x, 3.0, slope)
    along, heights = line.get_data()
    assert along[0] == pytest.approx(x[0]) and heights[0] == pytest.approx(3) and along[-1] == pytest.approx(x[1])
    np.testing.assert_allclose(np.diff(np.log(heights)), slope * np.diff(np.log(along)), atol=1e-12)


def test_slope_guide_labels(ax):
    figures.slope_guide(ax, (1, 10), 1, -0.5)
    figures.slope_guide(ax, (1, 10), 1, -0.5, label=r"$\tau^{-1/2}$")
    figures.slope_guide(ax, (1, 10), 1, -0.5, label="")
    assert [text.get_text() for text in ax.texts] == ["slope −0.5", r"$\tau^{-1/2}$", ""]


@pytest.mark.parametrize(("x", "y"), [((0, 1), 1), ((1, 1), 1), ((1, 2, 3), 1), ((1, 2), 0), ((1, 2), -1)])
def test_slope_guide_needs_positive_ends(ax, x, y):
    with pytest.raises(ValueError, match="a power law needs"):
        figures.slope_guide(ax, x, y, -1)


def test_band_is_median_and_quantiles(ax):
    samples = np.random.default_rng(0).standard_normal((11, 4))
    line = figures.band(ax, np.arange(4), samples, label="runs", color=figures.GREEN)
    ordered = np.sort(samples, axis=0)  # of 11 values, the 10, 50 and 90 % quantiles are values themselves
    np.testing.assert_allclose(line.get_ydata(), ordered[5])
    outline = ax.collections[0].get_paths()[0].vertices
    for x in range(4):
        heights = outline[outline[:, 0] == x, 1]
        assert heights.min() == pytest.approx(ordered[1, x]) and heights.max() == pytest.approx(ordered[9, x])
    assert line.get_label() == "runs" and line.get_color() == figures.GREEN
    np.testing.assert_allclose(ax.collections[0].get_facecolor()[0, :3], rgb(figures.GREEN))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 3, 4)])
def test_band_needs_seeds_by_abscissae(ax, shape):
    with pytest.raises(ValueError, match=r"expected \(seeds, 4\)"):
        figures.band(ax, np.arange(4), np.zeros(shape))


# -- the simplex ----------------------------------------------------------------------------------------------------


def test_corners_form_an_equilateral_triangle():
    corners = figures.to_plane(np.eye(3))
    np.testing.assert_allclose([np.linalg.norm(a - b) for a, b in combinations(corners, 2)], 1)
    np.testing.assert_allclose(figures.to_plane([1 / 3] * 3), corners.mean(axis=0))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda c: sum(c) > 1e-3))
def test_a_weight_is_the_distance_from_the_opposite_side(values):
    weights = np.array(values) / sum(values)
    point = figures.to_plane(weights)
    corners = figures.to_plane(np.eye(3))
    for k in range(3):
        start, end = corners[k - 2], corners[k - 1]
        side, offset = end - start, point - start
        distance = abs(side[0] * offset[1] - side[1] * offset[0])
        assert distance / (np.sqrt(3) / 2) == pytest.approx(weights[k], abs=1e-12)


def test_to_plane_keeps_leading_axes():
    assert figures.to_plane(np.full((4, 5, 3), 1 / 3)).shape == (4, 5, 2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.5], r"shape \(2,\)"),
        (1.0, "shape"),
        ([0.5, 0.5, 0.5], "sum 1"),
        ([1.5, -0.5, 0], "not negative"),
        ([np.nan, 0.5, 0.5], "simplex"),
    ],
)
def test_to_plane_refuses_other_points(weights, message):
    with pytest.raises(ValueError, match=message):
        figures.to_plane(weights)


def test_ternary_axes(ax):
    figures.ternary_axes(ax, labels=("a", "b", "c"), lines=3)
    corners = figures.to_plane(np.eye(3))
    centre = corners.mean(axis=0)
    for text, corner in zip(ax.texts, corners, strict=True):
        np.testing.assert_allclose(text.xy, corner)
        assert np.dot(text.get_position(), corner - centre) > 0  # the label is outside the triangle
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    *grid, outline = ax.lines
    assert len(grid) == 9 and len(outline.get_xdata()) == 4
    inverse = np.linalg.inv(np.column_stack([corners, np.ones(3)]))
    levels = []
    for line in grid:
        ends = np.column_stack([*line.get_data(), np.ones(2)]) @ inverse
        assert ends.min() == pytest.approx(0, abs=1e-12)  # from side to side
        (constant,) = np.flatnonzero(np.abs(ends[0] - ends[1]) < 1e-12)
        levels.append((constant, round(ends[0, constant], 6)))
    assert sorted(levels) == [(axis, level) for axis in range(3) for level in (0.25, 0.5, 0.75)]


# -- sliders --------------------------------------------------------------------------------------------------------


def draw(height):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, height])
    return figure


def make_slider(**changes):
    arguments = {
        "labels": ["b = 1", "b = 2", "b < 5"],
        "alt": 'A line, "rising"',
        "control": "batch size",
        "caption": "Lines & <more>",
    }
    return figures.slider([draw(1), draw(2), lambda: draw(5)], **{**arguments, **changes})


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.text += text

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_slider_markup():
    page = Elements(make_slider().html)
    images, (range_,) = page.all("img"), page.all("input")
    assert [i["alt"] for i in images] == [f'A line, "rising" ({label})' for label in ("b = 1", "b = 2", "b < 5")]
    assert ["display:none" in i["style"] for i in images] == [False, True, True]  # without scripts, the first one shows
    assert (range_["type"], range_["min"], range_["max"], range_["value"]) == ("range", "0", "2", "0")
    assert range_["aria-label"] == "batch size" and range_["aria-valuetext"] == "b = 1"
    assert "Lines & <more>" in page.text
    assert [tag for tag, _ in page.found if tag == "more"] == []
    assert len({i["src"] for i in images}) == 3
    for image in images:
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert struct.unpack(">II", png[16:24]) == (200, 100)
        assert not re.search(rb"tEXt|iTXt|tIME|Software|Matplotlib", png)


def test_slider_is_self_contained_and_cannot_clash():
    html = make_slider().html
    assert not re.search(r"https?:|<script|<link|\bid=|window\.|document\.", html)


def test_slider_in_a_notebook():
    slider = make_slider()
    assert slider._repr_html_() == slider.html
    assert repr(slider) == "Figure with a slider: batch size from b = 1 to b < 5"


def test_slider_alternative_texts_of_their_own():
    page = Elements(make_slider(alt=["one", "two", "three"]).html)
    assert [i["alt"] for i in page.all("img")] == ["one", "two", "three"]


def test_slider_gives_the_same_bytes_in_another_process():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_figures as t;"
        "sys.stdout.write(t.make_slider(caption='x').html)"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert make_slider(caption="x").html == make_slider(caption="x").html == other


def test_slider_closes_pyplot_figures():
    before = plt.get_fignums()
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    figures.slider([figure], labels=["one"], alt="a line")
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["a", "b"]}, "3 frames, 2 labels, 2 texts"),
        ({"alt": ["a"]}, "3 frames, 3 labels, 1 texts"),
        ({"alt": ""}, "alt: every frame needs a text"),
        ({"alt": ["a", "b", " "]}, "alt: every frame needs a text"),
        ({"max_bytes": 1000}, "take fewer or smaller frames"),
    ],
)
def test_slider_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make_slider(**changes)


def test_slider_without_frames():
    with pytest.raises(ValueError, match="0 frames"):
        figures.slider([], labels=[], alt="nothing")


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
def test_two_sliders_in_a_browser(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    body = make_slider().html + make_slider(control="steps").html
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{body}", encoding="utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(error))
        page.goto((tmp_path / "page.html").as_uri())

        def state():
            return [
                (
                    figure.locator("img:visible").get_attribute("alt"),
                    figure.locator("output").inner_text(),
                    figure.locator("input").get_attribute("aria-valuetext"),
                )
                for figure in page.locator(".dl-slider").all()
            ]

        def at(label):
            return (f'A line, "rising" ({label})', label, label)

        assert state() == [at("b = 1"), at("b = 1")]
        first, second = page.get_by_role("slider").all()
        first.press("ArrowRight")
        assert state() == [at("b = 2"), at("b = 1")]
        second.press("End")
        assert state() == [at("b = 2"), at("b < 5")]
        second.fill("1")
        first.press("Home")
        assert state() == [at("b = 1"), at("b = 2")]
        browser.close()
    assert not problems


# -- progress -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "0"])
def test_progress_shows_a_bar(value, monkeypatch, capsys):
    monkeypatch.delenv("DESCENTLAB_QUIET", raising=False)
    if value is not None:
        monkeypatch.setenv("DESCENTLAB_QUIET", value)
    assert list(figures.progress(range(3), desc="seeds")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == "" and "seeds" in captured.err and "3/3" in captured.err


def test_progress_is_silent_while_a_chapter_is_recorded(monkeypatch, capsys):
    monkeypatch.setenv("DESCENTLAB_QUIET", "1")
    assert list(figures.progress(iter(range(3)), desc="seeds", total=3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
