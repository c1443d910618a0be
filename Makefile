# Everything a developer does has a target here; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
C_SOURCES = $(shell find runtime boards rnnc -name '*.[ch]' | sort)

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint check format wheel clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing: .venv, Debian packages, CMSIS-DSP sources
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/setup.sh

demo: setup ## A photograph through RNNPool-Face-M4 in Python, host C and QEMU, byte for byte
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh build/demo

test: setup ## Run all tests
	@$(BIN)/python -m pytest -n auto --dist worksteal

bench: setup ## Measure networks of the zoo on the emulated Cortex-M4 into docs/benchmarks.md
	@$(BIN)/python scripts/benchmark.py --into docs/benchmarks.md

lint: setup ## Run the linters, the type checker and the format checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo "clang-format --dry-run -Werror (C sources of runtime/, boards/ and rnnc/)"
	@clang-format --dry-run -Werror $(C_SOURCES)

check: lint test ## What CI runs: lint, then test

format: setup ## Format Python and C, apply ruff's safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	@clang-format -i $(C_SOURCES)

wheel: setup ## Build dist/*.tar.gz, and dist/*.whl from it
	$(BIN)/python -m build --outdir dist

clean: ## Remove what these targets made, except .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find rnnc tests scripts -name __pycache__ -type d -exec rm -rf {} +
