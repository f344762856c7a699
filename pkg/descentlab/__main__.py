"""The command line: ``descentlab``, or ``python -m descentlab``."""

from __future__ import annotations

import argparse
import codecs
import difflib
import json
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from descentlab import __version__, chapters, claims

_EPILOG = """\
examples:
  descentlab list                                   which chapters there are
  descentlab run per_sample_adam                    recompute a chapter; the checkout stays as it is
  descentlab run --all --scale smoke                does everything run? (seconds a chapter)
  descentlab run per_sample_adam --only C3          recheck one statement
  descentlab ledger per_sample_adam                 what was claimed, what was measured

exit codes: 0 all is well; 1 a chapter failed; 2 the command was not understood
"""
_RUN = """\
Execute chapters with papermill, two at a time. Results are written under _build/, and verdicts compared with the stored
ones. `descentlab build` then shows the chapters as computed here.

  scale smoke   seconds; does it run                                    -> _build/check/
  scale book    what the book shows, about a minute a chapter           -> _build/book/
  scale full    the paper's scale, may want a GPU; the measurements are -> _build/full/
                also recorded in book/cpu/ or book/gpu/
  another seed, a chosen device, --only                                 -> _build/run/
  --store       for maintainers, at scale book                          -> book/
"""
_RUN_EXAMPLES = """\
examples:
  descentlab run per_sample_adam --seed 7           another seed, beside the stored notebook
  descentlab run per_sample_adam --only C3,C5       two statements alone (C3 includes C3a, C3b)
  descentlab run per_sample_adam --scale full --device cuda
  torchrun --nproc-per-node=2 -m descentlab run dataset_pruning     each training shared by two processes
"""
_LEDGER_EXAMPLES = """\
examples:
  descentlab ledger                                 every statement of every stored chapter
  descentlab ledger --json | jq '.[] | select(.verdict == "fails") | .check'
"""
_NEW_EPILOG = """\
Writes the module, the experiments with one statement, the lesson and the tests, and adds the lesson to _toc.yml.
CONTRIBUTING.md says how a paper becomes a lesson.
"""
_NO_BOOK = (
    "the chapters live in the source checkout, not in the installed package: "
    "git clone https://github.com/descentlab/descentlab, and run this inside it (or name its book with --book PATH)"
)


class _UsageError(Exception):
    """A command that cannot be carried out; the message is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # argparse would print the usage, several lines of it
        raise _UsageError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream of somebody's own
            stream.reconfigure(errors="descentlab.spell")  # type: ignore[union-attr]
    try:
        with _signals():
            options = _parser().parse_args(arguments)
            return options.do(options)
    except _Signal as ended:
        print(f"descentlab: ended by {ended.args[0].name}", file=sys.stderr)
        return 128 + ended.args[0]
    except KeyboardInterrupt:
        print("descentlab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (_UsageError, ValueError, OSError) as error:
        print(f"descentlab: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (LookupError, ImportError) as error:
        print(f"descentlab: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


class _Signal(KeyboardInterrupt):
    """The command is to end, as if it had been interrupted."""


@contextmanager
def _signals() -> Iterator[None]:
    """End on SIGTERM and SIGHUP as on Ctrl-C, unless somebody else handles or ignores them."""

    def end(number: int, frame: Any) -> NoReturn:
        raise _Signal(signal.Signals(number))

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="descentlab",
        description="Executable tutorials on how neural networks train, with every statement checked.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"descentlab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, do: Callable[[argparse.Namespace], int], text: str, **more: str) -> argparse.ArgumentParser:
        more.setdefault("description", f"{text[0].upper()}{text[1:]}.")
        sub = commands.add_parser(name, help=text, formatter_class=raw, **more)  # type: ignore[arg-type]
        sub.set_defaults(do=do)
        sub.add_argument("--book", type=Path, metavar="PATH", help="the folder with the chapters (default: found)")
        return sub

    run = command("run", _run, "execute chapters", description=_RUN, epilog=_RUN_EXAMPLES)
    run.add_argument("names", nargs="*", metavar="NAME", help="chapters, by the name of their module")
    run.add_argument("--all", action="store_true", help="every chapter")
    run.add_argument("--scale", type=_one_of("scale", chapters.SCALES), default="book", help="smoke, book or full")
    run.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="seed of the run (default: 0)")
    run.add_argument("--device", type=_device, default="auto", help="auto, cpu or cuda")
    run.add_argument("--jobs", type=_at_least(1), default=2, metavar="N", help="chapters at a time (default: 2)")
    run.add_argument(
        "--only", action="append", default=[], metavar="C3", help="only these statements or checks: C3, or C3,C5a"
    )
    run.add_argument("--backend", type=_one_of("backend", chapters.BACKENDS), help="what spreads sweeps: dask or ray")
    run.add_argument("--store", action="store_true", help="replace the stored notebooks in book/ (for maintainers)")
    run.add_argument("--record-time", action="store_true", help="write the times to book/runtimes.json")

    ledger = command("ledger", _ledger, "what was claimed and what was measured", epilog=_LEDGER_EXAMPLES)
    ledger.add_argument("names", nargs="*", metavar="NAME", help="chapters (default: all)")
    ledger.add_argument("--json", action="store_true", help="a JSON list of objects, nothing else")

    command("list", _list, "chapters with paper, arXiv number, claims and run time")
    compare = command("compare", _compare, "recompute the stored notebooks and compare their verdicts")
    compare.add_argument("names", nargs="*", metavar="NAME", help="chapters (default: all)")
    compare.add_argument("--jobs", type=_at_least(1), default=2, metavar="N", help="chapters at a time (default: 2)")
    new = command("new", _new, "lay out the files of a paper that is not written yet", epilog=_NEW_EPILOG)
    new.add_argument("name", metavar="NAME", help="its module, in lower case: sharpness_aware")
    build = command("build", _build, "render the book into _build/html")
    build.add_argument("--stored", action="store_true", help="from the stored notebooks, whatever was computed last")
    build.add_argument("--strict", action="store_true", help="fail on a warning")
    fetch = command("fetch", _fetch, "download a data set, and say where it is")
    fetch.add_argument("name", metavar="NAME", help="a data set or text, as in the glossary")
    return parser


def _one_of(what: str, valid: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in valid:
            raise argparse.ArgumentTypeError(_unknown(what, text, valid))
        return text

    return parse


def _device(text: str) -> str:
    if text == "mps":
        raise argparse.ArgumentTypeError("mps has no float64, which the chapters need; devices: auto, cpu, cuda")
    if _one_of("device", chapters.DEVICES)(text) == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise argparse.ArgumentTypeError("torch finds no CUDA device here; devices: auto, cpu, cuda")
    return text


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return parse


def _unknown(what: str, text: str, valid: Sequence[str]) -> str:
    """One line for a name that is not there: the nearest one, and all."""
    close = "".join(f" (did you mean {name}?)" for name in difflib.get_close_matches(text, valid, 1))
    return f"no {what} {text!r}{close}; there are: {', '.join(valid) or 'none yet'}"


def _book(options: argparse.Namespace) -> Path:
    book = options.book.resolve() if options.book else chapters.find_book()
    if book is None:
        raise _UsageError(_NO_BOOK)
    if not book.is_dir():
        raise _UsageError(f"--book {options.book}: no such folder")
    return book


def _chosen(options: argparse.Namespace, found: Sequence[chapters.Chapter]) -> list[chapters.Chapter]:
    by_name = {chapter.name: chapter for chapter in found}
    for name in options.names:
        if name not in by_name:
            planned = any(paper.name == name for paper in chapters.PAPERS)
            message = _unknown("chapter", name, list(by_name))
            raise _UsageError(f"{name} is not written yet; there are: {', '.join(by_name)}" if planned else message)
    return [by_name[name] for name in dict.fromkeys(options.names)]


def _run(options: argparse.Namespace) -> int:
    book = _book(options)
    found = chapters.discover(book)
    chosen = list(found) if options.all else _chosen(options, found)
    if options.all and not found:
        print("There is no chapter yet.")
        return 0
    if not chosen:
        raise _UsageError(f"name a chapter, or --all; there are: {', '.join(c.name for c in found) or 'none yet'}")
    whole = (options.scale, options.seed, options.device, options.only) == ("book", 0, "auto", [])
    if options.store and not whole:
        raise _UsageError("--store is for whole chapters at scale book, seed 0, device auto")
    if options.record_time and (options.scale != "book" or options.only):
        raise _UsageError("--record-time is for whole chapters at scale book")
    if options.record_time:
        chapters.runtimes(book)  # better a damaged file now than in ten minutes
    only = [key for text in options.only for key in text.replace(",", " ").split()]
    for chapter in chosen if only else ():
        keys = chapters.claim_keys(chapter)
        for key in only:
            if keys and not any(claims.covers(k, key) or claims.covers(key, k) for k in keys):
                raise _UsageError(f"{chapter.name}: {_unknown('statement or check', key, keys)}")

    if options.backend:
        os.environ["DESCENTLAB_BACKEND"] = options.backend  # for `training.sweep` in the chapters
    start = time.perf_counter()
    settings = {"scale": options.scale, "seed": options.seed, "device": options.device}
    results = chapters.run(chosen, **settings, only=only, jobs=options.jobs, store=options.store)
    good = [result for result in results if not result.error]
    if chapters.rank():  # the first process reports and records
        return int(len(good) < len(results))
    rows = [row for result in good for row in result.rows]
    if only:
        print(_table(rows))
    if options.scale == "full" and options.seed == 0 and not only:
        for result in good:
            path = chapters.record_full(result, seed=options.seed, device=options.device)
            print(f"recorded in {os.path.relpath(path, book.parent)}")
    if options.record_time:
        chapters.record_times(good)
    if whole and good and not options.store:
        print("\n".join(chapters.differences(good)) or "Verdicts as stored.")
    failed = [result.chapter.name for result in results if result.error]
    ran = f"{len(good)} of {len(results)} chapters ran in {time.perf_counter() - start:.0f} s"
    print(f"{ran}; {claims.count(rows)}." + f" Failed: {', '.join(failed)}." * bool(failed))
    return 1 if failed else 0


def _ledger(options: argparse.Namespace) -> int:
    found = chapters.discover(_book(options))
    chosen = _chosen(options, found) if options.names else found
    rows, code = [], 0
    for chapter in sorted(chosen, key=lambda chapter: chapter.name):
        more = _stored_rows(chapter)
        rows += more or []
        code |= more is None
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print(_table(rows) + f"\n{claims.count(rows)}" if rows else "No statement is stored yet.")
    return code


def _stored_rows(chapter: chapters.Chapter) -> list[dict[str, Any]] | None:
    """What a chapter has stored; None, and a line of complaint, if that is damaged."""
    try:
        return chapters.stored_rows(chapter.notebook)
    except ValueError as error:
        print(f"descentlab: {error}", file=sys.stderr)
        return None


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Ledger rows for a terminal: each statement with its verdict, and under it a line of facts a check."""
    width = min(shutil.get_terminal_size((120, 24)).columns, 120)
    lines: list[str] = []
    chapter = None
    for statement, checks in claims.by_statement(rows):
        if statement["chapter"] != chapter:
            chapter = statement["chapter"]
            lines += [""] * bool(lines) + [chapter]
        says = plain(f"{statement['statement']} ({statement['claim_where']})")
        head = f"  {statement['claim']:<5}{statement['claim_verdict']}: "
        lines += textwrap.wrap(head + says, width, subsequent_indent=" " * 7)
        for row in checks:
            facts = f"{row['check']:<6}{row['verdict']}: {claims.measured_text(row)} [{row['expectation']}]  "
            note = f" ({row['note']})" * bool(row["note"])
            margin = " " * 13
            lines += textwrap.wrap(f"       {facts}{plain(row['says'] + note)}", width, subsequent_indent=margin)
    return "\n".join(lines)


def _list(options: argparse.Namespace) -> int:
    book = options.book or chapters.find_book()
    found = {chapter.name: chapter for chapter in chapters.discover(book)} if book else {}
    code, times = 0, {}
    try:
        times = chapters.runtimes(book) if book else {}
    except ValueError as error:
        print(f"descentlab: {error}", file=sys.stderr)
        code = 1
    print(f"{'chapter':<26}{'arXiv':<12}{'reproduced':<12}{'run time':<10}paper")
    for paper in chapters.PAPERS:
        rows = _stored_rows(found[paper.name]) if paper.name in found else []
        code |= rows is None
        papers = [s["claim_verdict"] for s, _ in claims.by_statement(rows or []) if s["source"] == "paper"]
        reproduced = f"{papers.count('reproduced')} of {len(papers)}" if papers else "–"
        seconds = f"{times[paper.name]['seconds']:.0f} s" if paper.name in times else "–"
        later = "" if paper.name in found or not book else " (not written yet)"
        print(f"{paper.name:<26}{paper.arxiv:<12}{reproduced:<12}{seconds:<10}{paper.title}{later}")
    if book is None:
        print(f"\nOnly the papers: {_NO_BOOK}.")
    return code


def _new(options: argparse.Namespace) -> int:
    book = _book(options)
    for path in chapters.new_paper(book, options.name):
        print(os.path.relpath(path, book.parent))
    print(f"Next: CONTRIBUTING.md; then  descentlab run {options.name} --store")
    return 0


def _compare(options: argparse.Namespace) -> int:
    book = _book(options)
    names = [chapter.name for chapter in _chosen(options, chapters.discover(book))]
    return chapters.compare(book, names, options.jobs)


def _build(options: argparse.Namespace) -> int:
    book = _book(options)
    code = chapters.build(book, stored=options.stored, strict=options.strict)
    if code == 0:
        print(f"\nThe book: {chapters.front_page(book).as_uri()}")
    return code


def _fetch(options: argparse.Namespace) -> int:
    from descentlab import data

    print(data.fetch(options.name))
    return 0


# -- text for terminals -----------------------------------------------------------------------------------------------

_GREEK = {"lambda": "LAMDA", "varepsilon": "EPSILON", "varphi": "PHI", "vartheta": "THETA", "varrho": "RHO"}
_SYMBOLS = {
    **{"le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "sim": "∼", "propto": "∝"},
    **{"pm": "±", "times": "×", "cdot": "·", "to": "→", "in": "∈", "infty": "∞", "sum": "∑", "prod": "∏", "mid": "|"},
    **{"nabla": "∇", "partial": "∂", "ell": "ℓ", "top": "ᵀ", "star": "*", "ast": "*", "dots": "…", "ldots": "…"},
    **{"cdots": "⋯", "circ": "∘", "odot": "⊙", "otimes": "⊗", "int": "∫", "ll": "≪", "gg": "≫", "equiv": "≡"},
    **dict.fromkeys(("|", "lVert", "rVert", "Vert"), "‖"),
    **dict.fromkeys(("lvert", "rvert", "vert"), "|"),
    **{"langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "{": "{", "}": "}"},
    **dict.fromkeys((",", ";", ":", " ", "quad", "qquad"), " "),
    **dict.fromkeys(("!", "left", "right", "big", "bigl", "bigr", "Big", "Bigl", "Bigr", "limits", "displaystyle"), ""),
}
_ACCENTS = {
    "hat": "\u0302",
    "widehat": "\u0302",
    "tilde": "\u0303",
    "bar": "\u0304",
    "overline": "\u0304",
    "dot": "\u0307",
}
_UPRIGHT = {"text", "operatorname", "mathrm", "mathbf", "mathbb", "mathcal", "mathsf", "boldsymbol", "textstyle"}
_SCRIPTS = {
    "^": dict(zip("0123456789+-=()niTᵀ", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵀᵀ", strict=True)),
    "_": dict(zip("0123456789+-=()aehijklmnoprstuvxβγρφ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩ", strict=True)),
}
_ASCII = dict(
    zip(
        "–−≤≥≠≈∼±×·→…ℓ∞‖∈∑√∇⟨⟩|✓✗◐",
        [
            "-",
            "-",
            "<=",
            ">=",
            "!=",
            "~",
            "~",
            "+-",
            "x",
            "*",
            "->",
            "...",
            "l",
            "inf",
            "||",
            "in",
            "sum",
            "sqrt",
            "grad",
            "<",
            ">",
            "|",
            "+",
            "-",
            "o",
        ],
        strict=True,
    )
)

_FRACTIONS = {"1/2": "½", "1/3": "⅓", "2/3": "⅔", "1/4": "¼", "3/4": "¾", "1/8": "⅛"}
_ASCII |= {sign: text for text, sign in _FRACTIONS.items()}


def plain(text: str) -> str:
    r"""Text in which formulas, ``$\beta_1^2 \ge 10^{-3}$``, are readable: ``β₁² ≥ 10⁻³``."""
    return re.sub(r"\$(.+?)\$", lambda formula: _formula(_tokens(formula[1])), text)


def _tokens(tex: str) -> list[str]:
    """Commands and characters, the first one last."""
    return re.findall(r"\\[A-Za-z]+|\\.|[^\\]", tex)[::-1]


def _formula(tokens: list[str]) -> str:
    """Text of the formula up to the end of its group."""
    out = ""
    while tokens and (token := tokens.pop()) != "}":
        out += _atom(token, tokens)
    return out


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[-1] == " ":
        tokens.pop()
    return _atom(tokens.pop(), tokens) if tokens else ""


def _atom(token: str, tokens: list[str]) -> str:
    if token == "{":
        return _formula(tokens)
    if token in _SCRIPTS:
        text, table = _argument(tokens), _SCRIPTS[token]
        if all(c in table for c in text):
            return "".join(table[c] for c in text)
        return token + (f"({text})" if "_" in text else _group(text))
    if not token.startswith("\\"):
        return token
    name = token[1:]
    if name.endswith("frac"):
        text = f"{_group(_argument(tokens))}/{_group(_argument(tokens))}"
        return _FRACTIONS.get(text, text)
    if name == "sqrt":
        return "√" + _group(_argument(tokens))
    if name in _ACCENTS:
        text = _argument(tokens)
        return text[:1] + _ACCENTS[name] + text[1:]
    if name in _UPRIGHT:
        return _argument(tokens)
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    with suppress(KeyError):
        case = "CAPITAL" if name[0].isupper() else "SMALL"
        return unicodedata.lookup(f"GREEK {case} LETTER {_GREEK.get(name.lower(), name)}")
    return name  # log, max, …


def _group(text: str) -> str:
    """In parentheses, unless it reads as one thing."""
    return text if re.fullmatch(r"[\w.*∞]*", text) or re.fullmatch(r"\([^()]*\)", text) else f"({text})"


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Characters that the terminal cannot show, spelled: ``β₁² ≥ 1`` as ``beta_1^2 >= 1``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = ""
    for c in error.object[error.start : error.end]:
        kind, _, code = unicodedata.decomposition(c).rpartition(" ")
        name = unicodedata.name(c, "")
        if c in _ASCII:
            out += _ASCII[c]
        elif kind in ("<super>", "<sub>") and int(code, 16) < 128:
            out += "^_"[kind == "<sub>"] + chr(int(code, 16))
        elif name.startswith("GREEK"):
            out += name.split()[-1].lower().replace("lamda", "lambda")
        elif kind and not kind.startswith("<") and int(kind.split()[0], 16) < 128:
            out += chr(int(kind.split()[0], 16))  # a letter without its accent
        else:
            out += "" if unicodedata.combining(c) else "?"
    return out, error.end


codecs.register_error("descentlab.spell", _spell)


if __name__ == "__main__":
    sys.exit(main())
