"""The command line: ``descentlab``, or ``python -m descentlab``."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from descentlab import __version__, chapters, claims

_EPILOG = """\
examples:
  descentlab list                                   which chapters there are
  descentlab run per_sample_adam                    recompute a chapter and store it in book/
  descentlab run --all --scale smoke                does everything run? (seconds a chapter, stores nothing)
  descentlab run per_sample_adam --only C3          recheck one claim
  descentlab ledger per_sample_adam                 what was claimed, what was measured

exit codes: 0 all is well; 1 a chapter failed; 2 the command was not understood
"""
_RUN = """\
Execute chapters with papermill, two at a time. The default (scale book, seed 0, every claim) replaces the stored
notebook in book/ once all its cells have succeeded; any other run writes under _build/ and leaves it alone.

  scale smoke   seconds; does it run                                    -> _build/check/
  scale book    what the book shows, about a minute a chapter           -> book/
  scale full    the paper's scale, may want a GPU; the measurements are -> _build/full/
                also recorded in book/cpu/ or book/gpu/
  another seed, a chosen device, --only                                 -> _build/run/
"""
_RUN_EXAMPLES = """\
examples:
  descentlab run per_sample_adam --seed 7           another seed, beside the stored notebook
  descentlab run per_sample_adam --only C3,C5       two claims alone (C3 includes C3a, C3b)
  descentlab run per_sample_adam --scale full --device cuda
  torchrun --nproc-per-node=2 -m descentlab run dataset_pruning     each training shared by two processes
"""
_LEDGER_EXAMPLES = """\
examples:
  descentlab ledger                                 every claim of every stored chapter
  descentlab ledger --json | jq '.[] | select(.verdict != "reproduced") | .claim'
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
    try:
        options = _parser().parse_args(arguments)
        return options.do(options)
    except _UsageError as error:
        print(f"descentlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("descentlab: interrupted; stored notebooks are as they were", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="descentlab",
        description="Executable tutorials on how neural networks train, with every claim checked.",
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
    run.add_argument("--only", action="append", default=[], metavar="CLAIM", help="only these claims: C3, or C3,C5")
    run.add_argument("--backend", type=_one_of("backend", chapters.BACKENDS), help="what spreads sweeps: dask or ray")
    run.add_argument("--record-time", action="store_true", help="write the times to book/runtimes.json")

    ledger = command("ledger", _ledger, "what was claimed and what was measured", epilog=_LEDGER_EXAMPLES)
    ledger.add_argument("names", nargs="*", metavar="NAME", help="chapters (default: all)")
    ledger.add_argument("--json", action="store_true", help="a JSON list of objects, nothing else")

    command("list", _list, "chapters with paper, arXiv number, claims and run time")
    command("compare", _compare, "recompute the stored notebooks and compare their verdicts")
    build = command("build", _build, "render the book into _build/html")
    build.add_argument("--stored", action="store_true", help="from the stored notebooks, whatever was computed last")
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
    if options.record_time and (options.scale != "book" or options.only):
        raise _UsageError("--record-time is for whole chapters at scale book")
    only = [key for text in options.only for key in text.replace(",", " ").split()]
    for chapter in chosen if only else ():
        keys = chapters.claim_keys(chapter)
        for key in only:
            if not any(chapters.covers(k, key) or chapters.covers(key, k) for k in keys):
                raise _UsageError(f"{chapter.name}: {_unknown('claim', key, keys)}")

    if options.backend:
        os.environ["DESCENTLAB_BACKEND"] = options.backend  # for `training.sweep` in the chapters
    start = time.perf_counter()
    settings = {"scale": options.scale, "seed": options.seed, "device": options.device}
    results = chapters.run(chosen, **settings, only=only, jobs=options.jobs)
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
    failed = [result.chapter.name for result in results if result.error]
    ran = f"{len(good)} of {len(results)} chapters ran in {time.perf_counter() - start:.0f} s"
    print(f"{ran}; {claims.count(rows)}." + f" Failed: {', '.join(failed)}." * bool(failed))
    return 1 if failed else 0


def _ledger(options: argparse.Namespace) -> int:
    book = _book(options)
    rows = claims.collect(book)
    if options.names:
        names = [chapter.name for chapter in _chosen(options, chapters.discover(book))]
        rows = [row for row in rows if row["chapter"] in names]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print(_table(rows) + f"\n{claims.count(rows)}" if rows else "No claim is stored yet.")
    return 0


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Ledger rows for a terminal: a line of facts a claim, and under it the statement."""
    width = min(shutil.get_terminal_size((120, 24)).columns, 120)
    margin = " " * 7
    lines: list[str] = []
    chapter = None
    for row in rows:
        if row["chapter"] != chapter:
            chapter = row["chapter"]
            lines += [""] * bool(lines) + [chapter]
        lines.append(f"  {row['claim']:<5}{row['verdict']:<18}{claims.measured_text(row)}   [{row['expectation']}]")
        text = f"{row['where']}: {row['says']}" + f" ({row['note']})" * bool(row["note"])
        lines += textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin)
    return "\n".join(lines)


def _list(options: argparse.Namespace) -> int:
    book = options.book or chapters.find_book()
    found = {chapter.name: chapter for chapter in chapters.discover(book)} if book else {}
    times = chapters.runtimes(book) if book else {}
    print(f"{'chapter':<26}{'arXiv':<12}{'reproduced':<12}{'run time':<10}paper")
    for paper in chapters.PAPERS:
        stored = found[paper.name].notebook if paper.name in found else None
        rows = claims.collect(stored) if stored and stored.exists() else []
        reproduced = f"{sum(row['verdict'] == 'reproduced' for row in rows)} of {len(rows)}" if rows else "–"
        seconds = f"{times[paper.name]['seconds']:.0f} s" if paper.name in times else "–"
        later = "" if stored or not book else " (not written yet)"
        print(f"{paper.name:<26}{paper.arxiv:<12}{reproduced:<12}{seconds:<10}{paper.title}{later}")
    if book is None:
        print(f"\nOnly the papers: {_NO_BOOK}.")
    return 0


def _compare(options: argparse.Namespace) -> int:
    return chapters.compare(_book(options))


def _build(options: argparse.Namespace) -> int:
    book = _book(options)
    source = chapters.site_source(book, stored=options.stored)
    code = chapters.build(source, book.parent)
    if code == 0:
        print(f"\n{claims.count(claims.collect(source / book.name))}.\nThe book: {chapters.front_page(book).as_uri()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
