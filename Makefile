# One door for each chore; `make help` lists them. Only `env` needs Python alone, the rest an active
# environment with `pip install -e '.[dev]'`.
.DEFAULT_GOAL := help
.PHONY: help env test test-all test-long coverage lint format types docs serve-docs check ci bench images regression clean
PYTHON ?= python3.11
NAME ?=
ARGS ?=

help: ## List the chores.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

env: ## Development environment in .venv, with the commit hooks if pre-commit is installed.
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -e '.[dev]'
	@if command -v pre-commit >/dev/null; then pre-commit install; fi

test: ## Short tests, as a newcomer runs them (about three minutes).
	pytest $(ARGS)

test-all: ## All tests, long ones included.
	pytest -m "" $(ARGS)

test-long: ## The long tests alone.
	pytest -m long $(ARGS)

coverage: ## All tests, with the lines of the package that they leave out.
	pytest -m "" --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: ## Lint and check the format.
	ruff check
	ruff format --check

format: ## Format, and mend what lint can mend.
	ruff check --fix
	ruff format

types: ## Check types.
	mypy

docs: ## The documentation as a site, in site/.
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

serve-docs: ## The same at http://localhost:8000, rebuilt at every change.
	NO_MKDOCS_2_WARNING=1 mkdocs serve

check: lint types test ## What a commit must pass.

ci: ## Everything, in environments of its own, as on the server (about twenty minutes).
	.ci/run

bench: ## One benchmark: make bench NAME=accuracy ARGS=--help
	@test -n "$(NAME)" || { ls benchmarks/*.py | sed 's,.*/\(.*\)\.py,NAME=\1,'; exit 1; }
	python benchmarks/$(NAME).py $(ARGS)

images: ## Pictures of the documentation.
	python tools/make_images.py

regression: ## Files in tests/regression, of a new form.
	python tools/make_regression.py

clean: ## Remove what these chores leave.
	rm -rf site .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
