# make demo, make test and make bench need nothing but Python 3.11 or newer, make and a package registry.

PYTHON ?= python3

.PHONY: .venv demo test lint bench example docs clean

.venv: .venv/.ready

# .making stands while the environment is being made: found at the start, it tells of an interrupted attempt, and the
# environment is made afresh. A whole one is only brought up to date when the requirements change.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("asterism needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@if [ -e .venv/.making ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --clear .venv; fi
	@touch .venv/.making
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@rm -f .venv/.making
	@touch $@

demo: .venv
	.venv/bin/asterism demo

test: .venv
	.venv/bin/python -m pytest -q -n auto --maxprocesses 4

# make bench BENCH="--recipe stargan --size 128 --batch 16": one case instead of the table's rows.
bench: .venv
	.venv/bin/python -m bench $(BENCH)

# The site, in build/site; a warning is an error. Needs no network once the environment is there.
docs: .venv
	.venv/bin/python -m sphinx -q -W --keep-going -d build/doctrees docs build/site
	@echo build/site/index.html

lint: .venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# The browser example; needs Node.js and npm.
example:
	cd examples/browser && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
