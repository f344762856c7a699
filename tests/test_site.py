"""The built site in a real browser: quiet, complete, readable on a phone, accessible, and without foreign requests.

Looks at ``_build/html``, or at the folder named by DESCENTLAB_SITE; skips where there is none, or no browser. Each
page is opened once, and all that is wrong with it is reported together.
"""

import os
import re
import shutil
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
SITE = Path(os.environ.get("DESCENTLAB_SITE", ROOT / "_build" / "html")).resolve()
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTENTS = re.findall(
    r"(?:root|file):\s*(\S+?)(?:\.\w+)?$", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.MULTILINE
)
PAGES = [f"{name}.html" for name in (*CONTENTS, "search")]
CHAPTERS = [page for page in PAGES if (ROOT / page).with_suffix(".ipynb").exists()]
NEW_FORM = ("book/per_sample_adam.html",)  # lessons whose formulas are never cut, which open with a drawing
WIDTHS = (1280, 390)
TIMEOUT = 60_000  # milliseconds, for a machine that is busy
NOT_OURS = {"aria-required-children": "citation-list"}  # Sphinx's own markup of a bibliography
MATH_DONE = "() => !window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)"

pytestmark = pytest.mark.skipif(not SITE.is_dir(), reason=f"no built site in {SITE}: run `make render`")


@pytest.fixture(scope="module")
def origin():
    """Address of a small web server over the site."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser found (looked for {', '.join(BROWSERS)}); on Debian: apt install chromium")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, origin):
    """A fresh page of ordinary width; addresses are relative to the site."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, base_url=origin, color_scheme="light")
    page.set_default_timeout(TIMEOUT)
    yield page
    page.close()


def open_page(page, url: str, origin: str) -> list[str]:
    """Open a page until its formulas are typeset; errors, failed requests and foreign ones are listed."""
    complaints: list[str] = []
    page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda r: complaints.append(f"{r.url}: {r.failure}"))
    page.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.url}: {r.status}"))
    page.on("request", lambda r: r.url.startswith((origin, "data:")) or complaints.append(f"{r.url}: not of this site"))
    page.goto(url)
    page.wait_for_function(MATH_DONE)
    return complaints


# -- every page -------------------------------------------------------------------------------------------------------


def formulas(page) -> list[str]:
    """Formulas that are not typeset."""
    count, typeset = (page.locator(s).count() for s in ("article .math", "article .math mjx-container"))
    failed = page.locator("mjx-merror, [data-mjx-error]").count()
    text = page.evaluate(
        "() => { const c = document.querySelector('article')?.cloneNode(true); if (!c) return '';"
        " c.querySelectorAll('pre, code, mjx-container, script').forEach(e => e.remove()); return c.textContent }"
    )
    raw = [f"{mark} in the text" for mark in ("\\(", "\\[", "$$") if mark in text]
    return raw + [f"{typeset} of {count} typeset"] * (typeset < count) + [f"{failed} with an error"] * (failed > 0)


def images(page) -> list[str]:
    """Images without alternative text."""
    sources = "images => images.filter(i => !i.alt.trim()).map(i => i.src.slice(0, 80))"
    return page.locator("article img").evaluate_all(sources)


def width(page) -> list[str]:
    """What is wider than a phone."""
    return page.evaluate("""() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map(e => e.outerHTML.slice(0, 120)).concat(['page is ' + document.documentElement.scrollWidth])""")


def buttons(page) -> list[str]:
    """What a chapter's buttons do not offer: two services, live code, and the notebook of this site."""
    targets, downloads = (
        page.locator(f".dropdown-{kind}-buttons a").evaluate_all("links => links.map(a => decodeURIComponent(a.href))")
        for kind in ("launch", "download")
    )
    address = urlsplit(page.url)
    notebook = address.path.lstrip("/").replace(".html", ".ipynb")
    services = ("colab.research.google.com", "mybinder.org")
    missing = [service for service in services if not any(service in t and notebook in t for t in targets)]
    missing += ["live code"] * (page.locator("[onclick*=Thebe]").count() == 0)
    ours = f"{address.scheme}://{address.netloc}/"
    return missing + ["download"] * (not any(d.startswith(ours) and d.endswith(".ipynb") for d in downloads))


def cut_formulas(page) -> list[str]:
    """Formulas of which a part is out of sight when every fold is open, at the width of a desk and of a phone."""
    page.evaluate(UNFOLD)
    found = []
    for pixels in WIDTHS:
        page.set_viewport_size({"width": pixels, "height": 800})
        found += [f"{pixels} px: {text}" for text in page.evaluate(CUT)]
    return found


UNFOLD = """() => {
    document.querySelectorAll('details').forEach(e => e.open = true);
    document.querySelectorAll('.toggle-hidden').forEach(e => e.classList.remove('toggle-hidden'));
}"""
CUT = """() => [...document.querySelectorAll('article mjx-container')].filter(formula => {
    const box = formula.querySelector('svg').getBoundingClientRect();
    for (let e = formula; e !== document.body; e = e.parentElement) {
        const around = e.getBoundingClientRect();
        if (getComputedStyle(e).overflowX !== 'visible' && (box.right > around.right + 1 || box.left < around.left - 1))
            return true;
    }
    return box.right > innerWidth + 1;
}).map(e => (e.textContent || e.outerHTML).slice(0, 80))"""


def accessibility(page) -> list[str]:
    """Serious violations in our content; the frame around it is the theme's. In the dark, contrast is looked at anew.

    axe takes a minute for a page as long as the package reference, most of it for the same few things again. So only
    the rules on scrolling and on repeated names see the whole page; the others see a page without what repeats what
    stands before it: same element, classes, roles, style and attributes, around it, inside it, and at a sibling's.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def violations(theme: str, **options) -> list[str]:
        found = axe.Axe().run(page, context="article", options=AXE | options).response
        return [
            f"{theme}: {v['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
            if NOT_OURS.get(v["id"], "\0") not in node["html"]
        ]

    whole = violations("light", runOnly=["scrollable-region-focusable", "duplicate-id-aria"])
    page.evaluate(ONE_OF_EACH)
    light = violations("light")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    return whole + light + violations("dark", runOnly=["color-contrast"])


AXE = {"resultTypes": ["violations"], "preload": False}  # preloading would ask for style sheets a second time
ONE_OF_EACH = """() => {
    document.querySelectorAll('body *').forEach(e => e.querySelector('article') || e.closest('article') || e.remove());
    const formulas = [...document.querySelectorAll('mjx-container')].filter(e => e.querySelector('svg'));
    formulas.slice(1).forEach(e => e.querySelectorAll('svg *, math *').forEach(part => part.remove()));
    const LITERAL = ['role', 'style', 'class', 'type', 'tabindex', 'scope', 'aria-hidden', 'hidden', 'open'];
    const own = new Map(), inside = new Map();  // the kind of an element, and those below it as paths
    const describe = element => {
        const attributes = [...element.attributes].map(a =>
            a.name + '=' + (LITERAL.includes(a.name) ? a.value : a.value.trim() ? '…' : ''));
        const text = [...element.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
        own.set(element, '>' + [element.localName, ...attributes.sort(), text].join(' '));
        const paths = new Set([own.get(element)]);
        inside.set(element, paths);
        if (element.localName === 'mjx-container') return;
        for (const child of element.children) {
            describe(child);
            inside.get(child).forEach(path => paths.add(own.get(element) + path));
        }
    };
    const seen = new Set();
    const prune = (element, above) => {
        const here = above + own.get(element), kept = new Set();
        seen.add(here);
        for (const child of [...element.children].filter(child => own.has(child))) {
            if (kept.has(own.get(child)) && [...inside.get(child)].every(path => seen.has(here + path))) child.remove();
            else prune(child, here);
            kept.add(own.get(child));
        }
    };
    const article = document.querySelector('article');
    describe(article);
    prune(article, '');
}"""


@pytest.mark.parametrize("name", PAGES)
def test_page(browser, origin, name):
    with browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="light") as context:
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        complaints = {"loading": open_page(page, origin + name, origin)}
        checks = [formulas, images, width]
        checks += [buttons] * (name in CHAPTERS)
        checks += [accessibility] * (name != "search.html")  # the theme's own; this one changes the page: the last
        complaints |= {check.__name__: check(page) for check in checks}
        if name in NEW_FORM:  # on a page of its own, since it changes the width and the theme follows late
            again = context.new_page()
            open_page(again, origin + name, origin)
            complaints["cut_formulas"] = cut_formulas(again)
    assert {what: found for what, found in complaints.items() if found} == {}


@pytest.mark.parametrize(
    "fault", ['<a href="#" style="color: #ccc">pale</a>', "<button></button>", "<b><img src=></b>"]
)
def test_accessibility_sees_the_one_row_that_differs(page, fault):
    row = "<tr><td>A row <a href='#'>like</a> the others</td></tr>"
    table = "<table><thead><tr><th>Rows</th></tr></thead>{}</table>"
    page.set_content(f"<html lang=en><article>{table.format(20 * row)}</article>")
    assert accessibility(page) == []
    page.set_content(f"<html lang=en><article>{table.format(20 * row + row.replace('others', fault))}</article>")
    assert len(accessibility(page)) > 0


def test_a_cut_formula_is_seen(page):
    formula = (
        "<div style='overflow-x: auto; width: {}px'><mjx-container><svg width=300 height=9></svg></mjx-container></div>"
    )
    page.set_content(f"<article><details>{formula.format(310)}</details></article>")
    assert cut_formulas(page) == []
    page.set_content(f"<article><details>{formula.format(290)}</details></article>")
    assert len(cut_formulas(page)) == len(WIDTHS)


@pytest.mark.parametrize("name", NEW_FORM)
def test_lesson_opens_with_a_drawing_and_says_what_holds_in_few_rows(page, origin, name):
    assert open_page(page, origin + name, origin) == []
    drawing = page.locator("article .cell_output img, article .cell_output svg:not(mjx-container svg)").first
    assert drawing.bounding_box()["y"] < 900
    table = page.locator("article table.dl-holds").first  # of the paper's statements; ours stand in a second one
    assert 1 <= table.locator("tbody tr").count() <= 15
    assert table.locator(".dl-verdict").count() == table.locator("tbody tr").count()


def test_first_page_leads_to_the_introduction(page):
    page.goto("")
    page.wait_for_url(f"**/{CONTENTS[0]}.html")


# -- the ledger, the search, the buttons ------------------------------------------------------------------------------


@pytest.fixture
def ledger(page):
    page.route("**/mathjax/*", lambda route: route.abort())  # two thousand formulas that these tests don't look at
    page.goto("book/claims.html")
    return page


def shown(page):
    """Verdicts of the visible rows, after the filter said how many they are."""
    rows = page.locator(".dl-ledger tbody tr")
    verdicts = [v for v in rows.evaluate_all("rows => rows.map(r => r.hidden ? null : r.dataset.verdict)")]
    visible = [v for v in verdicts if v]
    assert page.locator(".dl-status").inner_text() == f"{len(visible)} of {len(verdicts)} statements shown"
    return visible


def test_ledger_filters_by_verdict(ledger):
    everything = shown(ledger)
    for verdict in ("reproduced", "not reproduced", "not at this scale", "not measured"):
        ledger.locator("[name=verdict]").select_option(verdict)
        assert shown(ledger) == [verdict] * everything.count(verdict)
    ledger.get_by_role("button", name="Show all").click()
    ledger.wait_for_function("() => document.querySelectorAll('.dl-ledger tbody tr[hidden]').length === 0")
    assert shown(ledger) == everything


def test_ledger_filters_by_chapter_source_and_words(ledger):
    everything = shown(ledger)
    chapter = ledger.locator(".dl-filter [name=chapter] option").nth(1).get_attribute("value")
    ledger.locator("[name=chapter]").select_option(chapter)
    assert 0 < len(shown(ledger)) <= len(everything)
    ledger.get_by_label("Whose statement").select_option("ours")
    assert len(shown(ledger)) == ledger.locator(f'tr[data-source=ours][data-chapter="{chapter}"]').count()
    ledger.get_by_label("Words").fill("no row has these words")
    assert shown(ledger) == []


def test_ledger_filter_is_kept_in_the_address(ledger):
    ledger.locator("[name=verdict]").select_option("not at this scale")
    assert "verdict=not+at+this+scale" in ledger.url
    before = shown(ledger)
    ledger.reload()
    ledger.wait_for_function("() => !document.querySelector('.dl-filter').hidden")
    assert shown(ledger) == before


def test_ledger_works_by_keyboard(ledger):
    ledger.get_by_role("button", name="Unfold details").focus()
    ledger.keyboard.press("Enter")
    assert ledger.locator(".dl-ledger details[open]").count() == len(shown(ledger))
    ledger.get_by_label("Words").focus()
    ledger.keyboard.type("C1")
    assert len(shown(ledger)) > 0


def test_search_finds_a_word(page):
    page.goto("search.html?q=margin")
    found = page.locator("#search-results li a, ul.search li a")
    found.first.wait_for()
    assert any("glossary" in href for href in found.evaluate_all("links => links.map(a => a.href)"))


def test_dark_mode(page):
    page.goto("book/intro.html")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    for _ in range(3):  # auto, light, dark
        if page.locator("html").get_attribute("data-theme") == "dark":
            break
        page.locator(".theme-switch-button:visible").first.click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(colour) != light


def test_reads_from_a_folder_without_network(browser):
    name = (CHAPTERS or PAGES)[0]
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        assert open_page(page, (SITE / name).as_uri(), "file:") == []
        assert formulas(page) == []


# -- links ------------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Link targets and anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[k] for k in ("id", "name") if values.get(k)}
        if tag == "a" and values.get("href"):
            self.targets.add(values["href"])


def test_internal_links_lead_somewhere():
    pages = {name: Links((SITE / name).read_text(encoding="utf-8")) for name in PAGES}
    broken = []
    for name, links in pages.items():
        for target in links.targets:
            address, fragment = urldefrag(urljoin(f"site:///{name}", target))
            path = unquote(urlsplit(address).path).lstrip("/")
            if not address.startswith("site:") or path == "index.html":
                continue
            known = pages.get(path)
            if not (SITE / path).exists() or (
                known and fragment and "=" not in fragment and unquote(fragment) not in known.anchors
            ):
                broken.append(f"{name}: {target}")
    assert broken == []
