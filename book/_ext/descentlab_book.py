"""What the book generates while it is built, so that no number is typed twice.

Directives: `{ledger}` the table of all statements with its filter, `{ledger-count}` its sentence, `{papers}` the cards,
`{chapter-figure}` a figure out of a chapter, `{steadiness}`, `{data-sets}`, `{runtimes}` and `{bench}` tables. Each
chapter gets a box with its paper, run time, data and citation, each entry of the package reference a link to its source
code. MathJax is served from an installed package: pages read offline. A damaged file costs what would be read from it,
and a warning.

As a script, ``python book/_ext/descentlab_book.py`` brings the count in README.md up to date.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from html import escape
from importlib.metadata import files
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import descentlab
from descentlab.chapters import PAPERS, runtimes, stored_rows
from descentlab.claims import (
    BASES,
    MARKS,
    VERDICTS,
    by_statement,
    collect,
    count,
    data_used,
    escaped,
    measured_text,
    saw,
)
from descentlab.claims import (
    SOURCES as STATED_BY,
)
from descentlab.data import SOURCES, TEXTS

ORIGINS = {**SOURCES, **TEXTS}  # licence and origin of whatever a chapter reads
MATHJAX = "tex-svg-full.js"  # one file, no fonts: also reads from a folder, where browsers refuse local fonts
LOG = logging.getLogger(__name__)


def html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def undamaged(read: Callable[[Path], Any], path: Path, default: Any) -> Any:
    """What `read` finds in a file; a warning and the default where that cannot be read."""
    try:
        return read(path)
    except ValueError as error:
        LOG.warning(str(error), once=True)  # as text: the same error is another object the next time
        return default


def rows_in(book: Path) -> list[dict[str, Any]]:
    """The ledger rows of all chapters whose notebooks are whole."""
    return [row for path in sorted(book.glob("*.ipynb")) for row in undamaged(stored_rows, path, [])]


def sentence(rows: Iterable[Mapping[str, Any]]) -> str:
    """The ledger's count, also where there is nothing to count."""
    rows = list(rows)
    return count(rows) if rows else "no chapter has been computed yet"


class BookDirective(SphinxDirective):
    """A directive that looks at the notebooks: its page is read anew in every build."""

    @property
    def book(self) -> Path:
        return Path(self.env.srcdir) / "book"

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        return self.content_nodes()

    def inline(self, text: str) -> list[nodes.Node]:
        """Text with ``$math$`` and links, but no HTML."""
        return self.parse_inline(escaped(text))[0] if text else []

    def paragraph(self, text: str, *classes: str) -> nodes.paragraph:
        return nodes.paragraph("", "", *self.inline(text), classes=list(classes))


class LedgerCount(BookDirective):
    def content_nodes(self) -> list[nodes.Node]:
        text = sentence(rows_in(self.book))
        return [self.paragraph(f"**{text[0].upper()}{text[1:]}.** [See the ledger](claims.md).", "dl-count")]


class Ledger(BookDirective):
    """All statements of all chapters, their checks folded, with a filter that needs no server (``_static/ledger.js``)."""

    def content_nodes(self) -> list[nodes.Node]:
        statements = by_statement(rows_in(self.book))
        if not statements:
            return [self.paragraph("No chapter has been computed yet: `make book` fills this page.")]
        columns = ("Key", "Statement", "We saw", "Verdict", "Checks")
        head = "".join(f'<th scope="col" role="columnheader">{column}</th>' for column in columns)
        # roles, since the rows are grids, on a phone cards, and browsers then forget that they are a table
        table = f'<table class="dl-ledger" role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        body = [node for statement, checks in statements for node in self.row(statement, checks)]
        form = html(self.filter_form([statement for statement, _ in statements]))
        return [form, html(f'{table}<tbody role="rowgroup">'), *body, html("</tbody></table>")]

    def row(self, statement: Mapping[str, Any], checks: list[Mapping[str, Any]]) -> list[nodes.Node]:
        name, key = (escape(statement[k], quote=True) for k in ("chapter", "claim"))
        words = [statement["claim"], statement["statement"], statement["claim_where"]]
        words += [str(check[k]) for check in checks for k in ("check", "says", "control", "note")]
        text = escape(" ".join(words).lower(), quote=True)
        chapter = f"[{name}]({name}.ipynb)" if f"book/{name}" in self.env.found_docs else name
        return [
            html(
                f'<tr role="row" id="{name}-{key}" data-chapter="{name}" data-verdict="{statement["claim_verdict"]}" '
                f'data-source="{statement["source"]}" data-text="{text}"><th scope="row" role="rowheader">{key}</th>'
                '<td role="cell">'
            ),
            self.paragraph(statement["statement"]),
            self.paragraph(f"{chapter}, {statement['claim_where']}", "dl-where"),
            html('</td><td role="cell" data-label="We saw">'),
            self.paragraph(saw(statement, checks)),
            html(
                f'</td><td role="cell" data-label="Verdict">{badge(statement["claim_verdict"])}</td>'
                '<td role="cell" class="dl-checks">'
                f"<details><summary>{len(checks)} check{'s' * (len(checks) > 1)}</summary>"
            ),
            *[node for check in checks for node in self.check(check)],
            html(f"<p>Evaluate: <code>descentlab run {name} --only {key}</code></p></details></td></tr>"),
        ]

    def check(self, row: Mapping[str, Any]) -> list[nodes.Node]:
        """What a check measures, what was expected, and why."""
        facts = {
            "Expected": f"{row['expectation']} ({row['why']})",
            "Measured": f"{measured_text({**row, 'recorded': None})}: {row['verdict']}"
            + (f". {row['note']}" if row["note"] else ""),
            "From": f"{BASES[row['basis']]}; {row['where']}",
            "The paper prints": str(row["paper_value"] if row["paper_value"] is not None else ""),
            "Must fail": row["control"],
        }
        if run := row["recorded"]:
            facts["Recorded run"] = ", ".join(f"{k} {v}" for k, v in run.items())
        out = [html("<dl>"), *self.fact(row["check"], row["says"])]
        return [*out, *[node for term, text in facts.items() if text for node in self.fact(term, text)], html("</dl>")]

    def fact(self, term: str, text: str) -> list[nodes.Node]:
        return [html(f"<div><dt>{escape(term)}</dt><dd>"), *self.inline(text), html("</dd></div>")]

    def filter_form(self, statements: list[Mapping[str, Any]]) -> str:
        """Hidden until the script that serves it has run."""
        verdicts = [statement["claim_verdict"] for statement in statements]
        tiles = "".join(f"<li>{badge(v)} <strong>{verdicts.count(v)}</strong></li>" for v in VERDICTS)
        chapters = {name: name for name in dict.fromkeys(statement["chapter"] for statement in statements)}
        selects = select("chapter", "Chapter", chapters)
        selects += select("verdict", "Verdict", {v: f"{MARKS[v]} {v}" for v in VERDICTS})
        selects += select("source", "Whose statement", STATED_BY)
        return (
            f'<ul class="dl-tiles" aria-label="Statements by verdict">{tiles}</ul>'
            f'<form class="dl-filter" aria-label="Filter the ledger" hidden>{selects}'
            '<label>Words <input type="search" name="text" autocomplete="off"></label>'
            '<button type="reset">Show all</button> '
            '<button type="button" name="unfold" aria-pressed="false">Unfold details</button>'
            f'<p role="status" class="dl-status">{len(statements)} of {len(statements)} statements shown</p></form>'
        )


def badge(verdict: str) -> str:
    mark = f'<span aria-hidden="true">{MARKS[verdict]}</span>'
    return f'<span class="dl-verdict dl-{verdict.replace(" ", "-")}">{mark} {verdict}</span>'


def select(name: str, label: str, options: Mapping[str, str]) -> str:
    items = "".join(
        f'<option value="{escape(value, quote=True)}">{escape(text)}</option>' for value, text in options.items()
    )
    return f'<label>{label} <select name="{name}"><option value="">all</option>{items}</select></label>'


class Papers(BookDirective):
    """The papers as cards: chapters that are there are linked, the others say that they are not written yet."""

    def content_nodes(self) -> list[nodes.Node]:
        rows = rows_in(self.book)
        cards = "\n".join(self.card(paper, [row for row in rows if row["chapter"] == paper.name]) for paper in PAPERS)
        grid = "::::{grid} 1 1 2 2\n:gutter: 3\n:class-container: dl-papers"
        return self.parse_text_to_nodes(f"{grid}\n\n{cards}\n::::")

    def card(self, paper: Any, rows: list[dict[str, Any]]) -> str:
        there = f"book/{paper.name}" in self.env.found_docs
        link = f":link: {paper.name}\n:link-type: doc\n" if there else ":class-card: dl-unwritten\n"
        arxiv = f"arXiv {paper.arxiv}" if there else f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})"
        state = sentence(rows) if there else "not written yet"
        text = f"{paper.hook}\n\n{paper.authors} · {arxiv}\n\n*{state[0].upper()}{state[1:]}*"
        return f":::{{grid-item-card}} {paper.title}\n{link}\n{text}\n:::\n"


class ChapterFigure(BookDirective):
    """The first PNG figure of an executed chapter; nothing while the chapter is not there."""

    required_arguments = 1
    option_spec: ClassVar = {"name": directives.unchanged}

    def content_nodes(self) -> list[nodes.Node]:
        path = self.book / f"{self.arguments[0]}.ipynb"
        cells = read_json(path).get("cells", []) if undamaged(stored_rows, path, None) is not None else []
        for cell in cells:
            shown = cell["metadata"].get("mystnb", {})
            images = [o["data"]["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
            if images and self.options.get("name") in (None, shown.get("figure", {}).get("name")):
                alt = escape(shown.get("image", {}).get("alt", ""), quote=True)
                source = "".join(images[0]).replace("\n", "")
                image = f'<img alt="{alt}" src="data:image/png;base64,{source}">'
                start = html(f'<figure class="dl-figure">{image}<figcaption>')
                return [start, *self.inline(shown.get("figure", {}).get("caption", "")), html("</figcaption></figure>")]
        return []


class Table(BookDirective):
    """A table of generated cells; `missing` says how to make it where there is none, if that is worth a word."""

    missing = ""

    def content_nodes(self) -> list[nodes.Node]:
        head, body, foot = self.table()
        if not body:
            return [self.paragraph(self.missing)] if self.missing else []
        lines = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in [head, ["---"] * len(head), *body]]
        return self.parse_text_to_nodes("\n".join(lines) + f"\n\n{foot}")


class Runtimes(Table):
    """How long each chapter takes, from ``book/runtimes.json``."""

    missing = "Not recorded yet. `descentlab run --record-time` writes `book/runtimes.json`, and this table appears."

    def table(self) -> tuple[list[str], list[list[Any]], str]:
        body = [
            [
                f"[{name}]({name}.ipynb)",
                duration(time["seconds"]),
                *(time["environment"][k] for k in ("device", "date")),
            ]
            for name, time in undamaged(runtimes, self.book, {}).items()
            if f"book/{name}" in self.env.found_docs
        ]
        return ["Chapter", "Run time at book scale", "On", "Date"], body, ""


class Steadiness(Table):
    """Verdicts computed again under other conditions, from ``book/cpu/steadiness.json``."""

    def table(self) -> tuple[list[str], list[list[Any]], str]:
        recorded = undamaged(read_json, self.book / "cpu" / "steadiness.json", {})
        body = [
            [cell(c["name"]), cell(c["how"]), c["checks"], cell(", ".join(c["moved"]) or "none")]
            for c in recorded.get("conditions", [])
        ]
        run = recorded.get("environment", {})
        where = ", ".join(f"{key} {run[key]}" for key in ("python", "numpy", "torch") if key in run)
        foot = f"Recorded {run.get('date', '')} on {run.get('device', '')}; {where}."
        return ["Computed with", "How", "Checks", "Verdicts that moved"], body, escaped(foot) if run else ""


def cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return escaped(str(text)).replace("|", "\\|")


class DataSets(Table):
    """Licence and origin of each data set, from ``descentlab.data``."""

    def table(self) -> tuple[list[str], list[list[Any]], str]:
        body = [[f"`{name}`", s.title, s.licence, linked(s.origin)] for name, s in ORIGINS.items()]
        return ["Name", "What", "Licence", "Origin"], body, ""


class Bench(Table):
    """Timings side by side with public implementations, from ``book/bench.json`` (pytest-benchmark's format)."""

    missing = "Not recorded yet. `make bench` writes `book/bench.json`, and this table appears."

    def table(self) -> tuple[list[str], list[list[Any]], str]:
        bench = undamaged(read_json, self.book / "bench.json", {})
        body = [
            [
                benchmark_title(b["name"]),
                "; ".join(f"{key}: {value}" for key, value in b.get("extra_info", {}).items()),
                *(engineering(b["stats"][k]) for k in ("min", "median")),
            ]
            for b in bench.get("benchmarks", [])
        ]
        machine = bench.get("machine_info", {})
        cpu = machine.get("cpu", {}).get("brand_raw", machine.get("processor", ""))
        foot = f"Recorded {bench.get('datetime', '')[:10]} on {cpu}, Python {machine.get('python_version', '')}."
        return ["Benchmark", "Beside", "Best", "Median"], body, foot


def benchmark_title(name: str) -> str:
    """``test_step_beside_peers[cpu-0.00194186]`` as "Step beside peers (cpu, 0.00194)"."""
    words, _, parameters = name.removeprefix("test_").removesuffix("]").partition("[")
    parameters = parameters.encode().decode("unicode_escape")  # pytest writes × as \xd7
    shown = re.sub(r"\d+\.\d{4,}", lambda found: f"{float(found[0]):.3g}", parameters.replace("-", ", "))
    words = words.replace("_", " ")
    return words[0].upper() + words[1:] + (f" ({shown})" if shown else "")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file, empty where there is none; `ValueError` names a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def linked(text: str) -> str:
    """Markdown in which ``doi:…`` and ``arXiv:…`` are links."""
    text = re.sub(r"doi:(\S+)", r"[doi:\1](https://doi.org/\1)", text)
    return re.sub(r"arXiv:([\d.]+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def engineering(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g}\u00a0{unit}"
    return f"{seconds / 1e-9:.3g}\u00a0ns"


def bibtex(folder: Path, key: str) -> str:
    """The entry `key` of ``references.bib``, as it stands there."""
    entries = re.split(r"(?m)^(?=@)|^%.*\n", (folder / "references.bib").read_text(encoding="utf-8"))
    return next((e.strip() for e in entries if re.match(rf"@\w+{{{key},", e)), "")


def book_bibtex(app: Sphinx) -> str:
    return (
        f"@misc{{descentlab,\n  title   = {{descentlab: {descentlab.__doc__.split(',')[0].strip()}}},\n"
        f"  author  = {{{{{app.config.author}}}}},\n  year    = {{{app.config.copyright}}},\n"
        f"  version = {{{descentlab.__version__}}},\n  url     = {{{app.config.html_baseurl}}}\n}}"
    )


def introduce(app: Sphinx, document: nodes.document) -> None:
    """Put the box below a chapter's title: paper, run time, data, claims, citation."""
    name = app.env.docname.removeprefix("book/")
    paper = next((p for p in PAPERS if p.name == name), None)
    title = next(document.findall(nodes.title), None)
    if paper is None or title is None:
        return
    book = Path(app.srcdir) / "book"
    notebook = book / f"{name}.ipynb"
    times, data = undamaged(runtimes, book, {}), undamaged(data_used, notebook, [])
    arxiv = f'<a href="https://arxiv.org/abs/{paper.arxiv}">arXiv {paper.arxiv}</a>'
    licences = [f'{d} (<a href="glossary.html#data-sets">{ORIGINS[d].licence}</a>)' for d in data if d in ORIGINS]
    facts = {
        "Paper": f"{escape(paper.title)}. {escape(paper.authors)}. {arxiv}",
        "Run time": duration(times[name]["seconds"]) if name in times else "",
        "Real data": ", ".join(licences),
        "Ledger": f'{sentence(undamaged(stored_rows, notebook, []))} (<a href="claims.html#chapter={name}">open</a>)',
    }
    items = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in facts.items() if text)
    cite = f"{bibtex(book, name)}\n\n{book_bibtex(app)}"
    box = [
        html(f'<div class="dl-facts"><dl>{items}</dl><details><summary>Cite this</summary>'),
        nodes.literal_block(cite, cite, language="bibtex", classes=["dl-cite"]),
        html("</details></div>"),
    ]
    title.parent[title.parent.index(title) + 1 : title.parent.index(title) + 1] = box


def mark_tables(app: Sphinx, document: nodes.document, page: str) -> None:
    """Give the tables of a lesson's ledger a class, and its verdicts the look that they have on the ledger page."""
    kinds = {"The paper says": "dl-holds", "We add": "dl-holds", "Check": "dl-checks"}
    for table in document.findall(nodes.table):
        head = next(table.findall(nodes.thead), None)
        first, last = ([e.astext() for e in head.findall(nodes.entry)][k] for k in (0, -1)) if head else ("", "")
        if last not in ("Verdict", "Measured") or first not in kinds:
            continue
        table["classes"].append(kinds[first])
        for row in next(table.findall(nodes.tbody)) if last == "Verdict" else ():
            verdict = row[-1].astext().partition(" ")[2]
            if verdict in VERDICTS:
                row[-1][:] = [html(badge(verdict))]


def source_link(theme: Mapping[str, str], info: Mapping[str, str]) -> str | None:
    """Where the repository shows the code of a documented name; of one without code of its own, nothing."""
    try:
        thing = inspect.unwrap(reduce(getattr, info["fullname"].split("."), sys.modules[info["module"]]))
        lines, first = inspect.getsourcelines(thing)
        path = Path(inspect.getsourcefile(thing) or "").relative_to(Path(descentlab.__file__).parent)
    except (AttributeError, KeyError, TypeError, OSError, ValueError):
        return None
    place = f"{theme['repository_url']}/blob/{theme['repository_branch']}/pkg/descentlab/{path.as_posix()}"
    return f"{place}#L{first}-L{first + len(lines) - 1}"


def configure(app: Sphinx, config: Any) -> None:
    config.mathjax_path = f"mathjax/{MATHJAX}"

    def linkcode_resolve(domain: str, info: Mapping[str, str]) -> str | None:  # Sphinx stores no function
        return source_link(config.html_theme_options, info)

    config.linkcode_resolve = linkcode_resolve


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        source = next(f for f in files("sphinx-mathjax-offline") or [] if f.name == MATHJAX)
        target = Path(app.outdir) / "_static" / "mathjax"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.locate(), target / MATHJAX)


def drop_repeated_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Live code's settings are registered twice, which browsers report as an error on each page."""
    scripts = {(script.filename or "", script.attributes.get("body")): script for script in context["script_files"]}
    context["script_files"] = list(scripts.values())


def update_count(readme: Path, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Write the ledger's count between the markers of `readme`; returns whether it changed."""
    old = readme.read_text(encoding="utf-8")
    new = re.sub(r"(<!-- ledger -->).*?(<!-- /ledger -->)", rf"\g<1>{sentence(rows)}\g<2>", old, flags=re.DOTALL)
    if new != old:
        readme.write_text(new, encoding="utf-8")
    return new != old


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in {
        "ledger": Ledger,
        "ledger-count": LedgerCount,
        "steadiness": Steadiness,
        "papers": Papers,
        "chapter-figure": ChapterFigure,
        "data-sets": DataSets,
        "runtimes": Runtimes,
        "bench": Bench,
    }.items():
        app.add_directive(name, directive)
    app.setup_extension("sphinx.ext.linkcode")
    app.connect("config-inited", configure)
    app.connect("doctree-read", introduce)
    app.connect("doctree-resolved", mark_tables)
    app.connect("html-page-context", drop_repeated_scripts)
    app.connect("build-finished", copy_mathjax)
    return {"version": descentlab.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    changed = update_count(root / "README.md", collect(root / "book"))
    print("README.md updated" if changed else "README.md is up to date")
