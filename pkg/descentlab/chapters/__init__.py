"""Execute the chapters of the book; the engine of the command line.

A chapter is a pair in one folder: ``book/<name>.md``, written by hand, and ``book/<name>.ipynb``, the same cells with
the outputs of the stored run. Papermill executes the first, two chapters at a time, each in a process of its own. Pages
without code, such as the ledger, are written by the build from what the chapters stored.

Only `run` with ``store=True``, the maintainers' command, replaces a stored notebook: in one step, and only if every
cell succeeded. Everything else is written under ``_build``:

=====================  =================================================================
``book/``              the default run (scale ``book``, seed 0, any device, all statements)
``check/``             scale ``smoke``
``full/``              scale ``full``; what it measured goes to ``book/cpu`` or ``book/gpu``
``run/``               another seed, a chosen device, a few checks only
``failed/``            the partial notebook of a chapter that failed
``rank-1/`` …          what the other processes wrote that trained along under ``torchrun``
``source/``            the book with the notebooks that the site shows
``html/``              the site
``home/``              settings of Jupyter and others, where the home folder cannot be written
=====================  =================================================================

Papermill and torch are imported where they are used, so that reading the list of chapters is instant.
"""

from descentlab.chapters.book import (
    PAPERS,
    Chapter,
    Paper,
    claim_keys,
    discover,
    experiments_of,
    find_book,
    machine,
    rank,
    replace_text,
    runtimes,
    stored_rows,
    write_json,
)
from descentlab.chapters.new import new_paper
from descentlab.chapters.notebooks import execute, keep_pictures, source
from descentlab.chapters.processes import ENVIRONMENT
from descentlab.chapters.runs import (
    BACKENDS,
    DEVICES,
    SCALES,
    Run,
    build,
    compare,
    differences,
    folder_of,
    front_page,
    record_full,
    record_times,
    run,
    site_source,
)

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
    "differences",
    "discover",
    "execute",
    "experiments_of",
    "find_book",
    "folder_of",
    "front_page",
    "keep_pictures",
    "machine",
    "new_paper",
    "rank",
    "record_full",
    "record_times",
    "replace_text",
    "run",
    "runtimes",
    "site_source",
    "source",
    "stored_rows",
    "write_json",
]
