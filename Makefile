# Chores; `make help` lists them. All but `env` need an active environment with `pip install -e '.[dev]'`.
.DEFAULT_GOAL := help
.PHONY: help env test test-all test-long coverage lint format types docs tutorials outdated check ci bench images regression clean
PYTHON ?= python3.11
NAME ?=
ARGS ?=

help: ## List the chores.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

env: ## Development environment in .venv, with the commit hooks if pre-commit is installed.
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -e '.[dev]'
	@if command -v pre-commit >/dev/null; then pre-commit install; fi

test: ## Short tests, as a newcomer runs them (about four minutes).
	pytest $(ARGS)

test-all: ## All tests, with the long ones.
	pytest -m "" $(ARGS)

test-long: ## The long tests alone.
	pytest -m long $(ARGS)

coverage: ## All tests; lists the lines of the package that none of them runs.
	pytest -m "" --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: ## Lint and check the format.
	ruff check
	ruff format --check

format: ## Format, and fix what lint can fix.
	ruff check --fix
	ruff format

types: ## Check types.
	mypy

docs: ## The documentation as a site, in site/.
	sphinx-build --fail-on-warning --keep-going --quiet docs site

tutorials: ## Execute the notebooks of the documentation that changed, and store their outputs.
	python tools/run_tutorials.py $(ARGS)

outdated: ## List numbers and pictures of the documentation that are older than what makes them.
	@python tools/list_outdated.py

check: lint types test ## Lint, types and short tests.

ci: ## Everything, in environments of its own, as in CI (23 minutes).
	.ci/run

bench: ## One benchmark: make bench NAME=accuracy ARGS=--help
	@test -n "$(NAME)" || { ls benchmarks/*.py | sed 's,.*/\(.*\)\.py,NAME=\1,'; exit 1; }
	python benchmarks/$(NAME).py $(ARGS)

images: ## Draw the pictures of the documentation.
	python tools/make_images.py blase3d-demo

regression: ## Write the files of tests/regression, of a new form.
	python tools/make_regression.py

clean: ## Remove the files that these chores write.
	rm -rf site .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
