"""Execute the chapters of the book; the engine of the command line.

A chapter is a pair in one folder: ``book/<name>.md``, written by hand, and ``book/<name>.ipynb``, the same cells with
the outputs of the last run. Papermill executes the first into the second, two chapters at a time, each in a process
of its own. Pages without code, such as the ledger, are written by the build from what the chapters stored.

A stored notebook is replaced in one step, and only by a run in which every cell succeeded. Everything else is
written under ``_build``:

=====================  =================================================================
``book/``              the default run (scale ``book``, seed 0, any device, all claims)
``_build/check/``      scale ``smoke``
``_build/full/``       scale ``full``; what it measured goes to ``book/cpu`` or ``book/gpu``
``_build/run/``        another seed, a chosen device, a few claims only
``_build/fallback/``   the default run where a data set is missing; the site then shows this copy
``_build/failed/``     the partial notebook of a chapter that failed
``_build/rank-1/`` …   what the other processes wrote that trained along under ``torchrun``
=====================  =================================================================

Papermill and torch are imported where they are used, so that reading the list of chapters is instant.
"""

from descentlab.chapters.discovery import (
    Chapter,
    claim_keys,
    covers,
    discover,
    find_book,
    missing_data,
    runtimes,
)
from descentlab.chapters.execution import BACKENDS, DEVICES, ENVIRONMENT, SCALES, Run, folder_of, run
from descentlab.chapters.files import rank, replace_text, write_json
from descentlab.chapters.notebooks import execute, source
from descentlab.chapters.papers import PAPERS, Paper
from descentlab.chapters.records import machine, record_full, record_times
from descentlab.chapters.site import build, compare, front_page, site_source

__all__ = [
    "BACKENDS",
    "DEVICES",
    "ENVIRONMENT",
    "PAPERS",
    "SCALES",
    "Chapter",
    "Paper",
    "Run",
    "build",
    "claim_keys",
    "compare",
    "covers",
    "discover",
    "execute",
    "find_book",
    "folder_of",
    "front_page",
    "machine",
    "missing_data",
    "rank",
    "record_full",
    "record_times",
    "replace_text",
    "run",
    "runtimes",
    "site_source",
    "source",
    "write_json",
]
