# Thin over scripts/: each target sets itself up first, quickly when there is nothing to do.
.DEFAULT_GOAL := help
.PHONY: help setup lock format lint types test golden docs all long demo

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /|/' | awk -F'|' '{ printf "%-8s %s\n", $$1, $$2 }'

setup: ## Make .venv and install everything the checks need
	@scripts/setup test

lock: ## Renew all versions in requirements/*.lock
	@scripts/lock --upgrade

format: setup ## Format the code and mend what can be mended
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lint: ## Check the format, the lint rules and the floors
	@scripts/test format lint imports

types: ## Check the types with mypy and pyright, both strict
	@scripts/test mypy pyright

test: ## Run the tests
	@scripts/test pytest

golden: setup ## Write the golden files anew; read what changed before you commit it
	@.venv/bin/python -m pytest tests/scenarios --update-golden

docs: ## Build the documentation into site/
	@scripts/test docs

all: ## Everything, as continuous integration runs it
	@scripts/test

long: ## Everything, and what takes long: other Pythons, newest and lowest dependencies, long histories
	@scripts/test --all

demo: ## Serve the demonstration manifests
	@scripts/demo
