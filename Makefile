# `make` lists the targets. Only make and a Python from 3.11 to 3.14 are needed; the rest is installed into .venv.

SHELL := /bin/sh
NAME ?=
SCALE ?= book
CHAPTER_OPTIONS ?=
# Chapters and tests run two at a time, with a thread each.
export OMP_NUM_THREADS = 1

# Programs in .venv/bin begin with the absolute path of their Python, which must not hold a space; modules may.
RUN = .venv/bin/python -m
# A set-up that was interrupted leaves .venv/installing, and the next one starts afresh.
# .venv is kept while these, and its place, are the same; their contents count, not their dates.
STAMP = $$( { pwd; cat pyproject.toml constraints.txt; } | cksum)
FITS = -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null
HEADING = @printf '\n=== %s\n'

.PHONY: help setup book test render chapter store steady bench site lock clean

help: ## this list
	@echo "make TARGET"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1 \2/p' Makefile | while read -r target text; do \
	  printf '  %-9s %s\n' "$$target" "$$text"; done
	@echo "Needs make and Python 3.11 to 3.14 (another one: make PYTHON=/path/to/python TARGET)."

setup: ## install everything into .venv, once
	@if [ "$$(cat .venv/installed 2>/dev/null)" = "$(STAMP)" ] && .venv/bin/python $(FITS); then exit 0; fi; \
	set -e; \
	for python in $(if $(PYTHON),"$(PYTHON)") python3 python3.14 python3.13 python3.12 python3.11 none; do \
	  "$$python" $(FITS) && break || true; \
	done; \
	if [ "$$python" = none ]; then \
	  echo "descentlab needs Python 3.11 to 3.14; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$python has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; \
	fi; \
	echo "Installing into .venv with $$("$$python" -V) ..."; \
	[ ! -e .venv/installing ] && .venv/bin/python $(FITS) && $(RUN) pip --version >/dev/null 2>&1 || \
	  "$$python" -m venv --clear .venv; \
	touch .venv/installing; \
	uv=uv; \
	if ! command -v uv >/dev/null; then \
	  uv="$(RUN) uv"; $$uv --version >/dev/null 2>&1 || $(RUN) pip install --quiet --disable-pip-version-check uv; \
	fi; \
	$$uv pip install --compile-bytecode $(UPGRADE) --python .venv/bin/python --constraint constraints.txt --group dev --editable .; \
	echo "$(STAMP)" > .venv/installed; rm .venv/installing

book: setup ## compute every chapter and build the book
	@$(RUN) descentlab run --all; code=$$?; [ $$code -le 1 ] && $(RUN) descentlab build && exit $$code

render: setup ## build the book from the stored notebooks: the quickest way to read it
	$(RUN) descentlab build --stored

chapter: setup ## compute one chapter: make chapter NAME=per_sample_adam SCALE=full
	$(RUN) descentlab run $(NAME) --scale $(SCALE) $(CHAPTER_OPTIONS)

test: setup ## check everything: style, package, stored notebooks, the built site
	$(HEADING) "Style and types"
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(HEADING) "The package"
	$(RUN) pytest tests -n 2 --dist loadscope --ignore tests/test_site.py
	$(HEADING) "The stored notebooks, computed again"
	$(RUN) descentlab compare
	$(HEADING) "The book"
	$(RUN) descentlab build --stored --strict
	$(HEADING) "The site, in a browser"
	$(RUN) pytest tests/test_site.py -n 2

store: setup ## for maintainers: compute every chapter and replace the stored notebooks
	$(RUN) descentlab run --all --store
	.venv/bin/python book/_ext/descentlab_book.py

steady: setup ## for maintainers: verdicts under other threads, kernels and roundings; about half an hour
	.venv/bin/python tests/steadiness.py

bench: setup ## time the methods against their public peers; writes book/bench.json
	@mkdir -p _build
	@uv=uv; command -v uv >/dev/null || uv="$(RUN) uv"; \
	$$uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --group bench --editable .
	$(RUN) pytest tests/benchmarks --benchmark-only --benchmark-json _build/benchmarks.json

site: render ## _build/site, ready for any static host
	rm -rf _build/site
	cp -R _build/html _build/site
	touch _build/site/.nojekyll
	@echo "Publish the folder _build/site."

# Without torch's libraries for Linux: torch itself asks for the right ones, and other systems have none.
lock: setup ## write constraints.txt anew from the newest versions that fit
	: > constraints.txt
	rm -f .venv/installed
	$(MAKE) setup UPGRADE=--upgrade
	@uv=uv; command -v uv >/dev/null || uv="$(RUN) uv"; \
	$$uv pip install --upgrade --python .venv/bin/python --group bench --editable .
	$(RUN) pip freeze --exclude-editable | grep -Ev '^(nvidia-|cuda-|triton=|uv=)' > constraints.txt
	echo "$(STAMP)" > .venv/installed

clean: ## remove what was built and computed, but not .venv
	rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
