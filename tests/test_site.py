"""The built site in a real browser: quiet, complete, readable on a phone, accessible, and without foreign requests.

Looks at ``_build/html``, or at the folder named by DESCENTLAB_SITE; skips where there is none, or no browser.
"""

import os
import shutil
import threading
from dataclasses import dataclass, field
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
PAGES = sorted(
    str(p.relative_to(SITE)) for p in SITE.rglob("*.html") if "_static" not in p.parts and p.name != "index.html"
)
CHAPTERS = [page for page in PAGES if (ROOT / page).with_suffix(".ipynb").exists()]
NOT_OURS = {"aria-required-children": "citation-list"}  # Sphinx's own markup of a bibliography
MATH_DONE = "() => !window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)"

needs_site = pytest.mark.skipif(not PAGES, reason=f"no built site in {SITE}: run `make render`")
pytestmark = needs_site


@dataclass
class Visit:
    """A page that was opened in a window as narrow as a phone, and what happened meanwhile."""

    name: str
    page: object
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, url: str, origin: str) -> None:
        self.page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda r: self.complaints.append(f"{r.url}: {r.failure}"))
        self.page.on("response", lambda r: r.status >= 400 and self.complaints.append(f"{r.url}: {r.status}"))
        self.page.on("request", lambda r: r.url.startswith((origin, "data:")) or self.foreign.append(r.url))
        self.page.goto(url)
        self.page.wait_for_function(MATH_DONE)


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


@pytest.fixture(scope="module")
def phone(browser):
    with browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="light") as context:
        yield context


@pytest.fixture(scope="module", params=PAGES)
def visit(request, phone, origin):
    page = phone.new_page()
    visit = Visit(request.param, page)
    visit.open(origin + request.param, origin)
    yield visit
    page.close()


@pytest.fixture
def page(browser, origin):
    """A fresh page of ordinary width; addresses are relative to the site."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, base_url=origin, color_scheme="light")
    page.set_default_timeout(10_000)
    yield page
    page.close()


# -- every page -------------------------------------------------------------------------------------------------------


def test_loads_without_errors(visit):
    assert visit.complaints == []


def test_asks_no_other_site(visit):
    assert visit.foreign == []


def test_math_is_typeset(visit):
    formulas, typeset = (visit.page.locator(s).count() for s in ("article .math", "article .math mjx-container"))
    assert typeset >= formulas
    assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0
    shown = visit.page.evaluate(
        "() => { const c = document.querySelector('article')?.cloneNode(true); if (!c) return '';"
        " c.querySelectorAll('pre, code, mjx-container, script').forEach(e => e.remove()); return c.textContent }"
    )
    assert [mark for mark in ("\\(", "\\[", "$$") if mark in shown] == []


def test_images_have_alternative_text(visit):
    sources = "images => images.filter(i => !i.alt.trim()).map(i => i.src.slice(0, 80))"
    assert visit.page.locator("article img").evaluate_all(sources) == []


def test_fits_a_phone(visit):
    too_wide = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map(e => e.outerHTML.slice(0, 120)).concat(['page is ' + document.documentElement.scrollWidth])"""
    assert visit.page.evaluate(too_wide) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_is_accessible(visit, theme):
    """Our content; the frame around it is the theme's. Between light and dark, only contrast differs."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    if not visit.name.startswith("book/"):
        pytest.skip("a page of the theme's own")
    visit.page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    options = {"resultTypes": ["violations"]} | ({"runOnly": ["color-contrast"]} if theme == "dark" else {})
    found = axe.Axe().run(visit.page, context="article", options=options).response["violations"]
    assert [
        f"{v['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
        if NOT_OURS.get(v["id"], "\0") not in node["html"]
    ] == []


# -- the ledger, the search, the buttons ------------------------------------------------------------------------------


@pytest.fixture
def ledger(page):
    page.goto("book/claims.html")
    if page.locator(".dl-ledger").count() == 0:
        pytest.skip("the ledger is empty")
    return page


def shown(page):
    """Verdicts of the visible rows, after the filter said how many they are."""
    rows = page.locator(".dl-ledger tbody tr")
    verdicts = [v for v in rows.evaluate_all("rows => rows.map(r => r.hidden ? null : r.dataset.verdict)")]
    visible = [v for v in verdicts if v]
    assert page.locator(".dl-status").inner_text() == f"{len(visible)} of {len(verdicts)} claims shown"
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
    ledger.get_by_label("Whose statement").select_option("derived")
    assert len(shown(ledger)) == ledger.locator(f'tr[data-source=derived][data-chapter="{chapter}"]').count()
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


@pytest.mark.skipif(not CHAPTERS, reason="no chapter has been built")
@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_has_launch_buttons(page, name):
    page.goto(name)
    notebook = name.replace(".html", ".ipynb")
    targets = page.locator(".dropdown-launch-buttons a").evaluate_all(
        "links => links.map(a => decodeURIComponent(a.href))"
    )
    for service in ("colab.research.google.com", "mybinder.org"):
        assert any(service in target and notebook in target for target in targets), targets
    assert page.locator("[onclick*=Thebe]").count() > 0
    downloads = page.locator(".dropdown-download-buttons a").evaluate_all("links => links.map(a => a.href)")
    assert any(link.endswith(".ipynb") and link.startswith(page.url.split("book/")[0]) for link in downloads)


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


@pytest.mark.parametrize("name", CHAPTERS[:1] or ["book/claims.html"])
def test_reads_from_a_folder_without_network(browser, name):
    context = browser.new_context(offline=True)
    visit = Visit(name, context.new_page())
    visit.open((SITE / name).as_uri(), "file:")
    assert (visit.complaints, visit.foreign) == ([], [])
    assert visit.page.locator("article .math mjx-container").count() == visit.page.locator("article .math").count()
    context.close()


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
