# Everything a person does with the project. Needs make, and Python 3.11 or newer with its venv module.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
IS_NEW := import sys; sys.exit(sys.version_info < (3, 11))

# The first Python that is new enough; `make install PYTHON=/path/to/python3` takes another one.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(IS_NEW)' >/dev/null 2>&1 && { echo $$p; break; }; done)

PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 $(BIN)/python -m pip --quiet

.PHONY: help install run test lint bench soak docs screenshots dist prices lock

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '%-14s %s\n' "$$target" "$$text"; done

install: $(STAMP) ## Make .venv with the locked packages, smarttext and dagster

run: install ## Start everything on this machine; ARGS="--port 3001" and the like
	@exec $(BIN)/smarttext up $(ARGS)

test: lint ## Check style and types, and run every test; T=alerting runs those of one room
	@$(BIN)/python -m pytest -n 3 --dist worksteal $(if $(T),smarttext_pipelines_tests/$(T)) $(ARGS)

lint: install ## Check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: install ## Measure the rollup and the archive
	@exec $(BIN)/python -m smarttext_pipelines_tests.bench $(ARGS)

soak: install ## Look for counterexamples for a long time
	@HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -n 2 $(ARGS)

docs: install ## Write the parts of docs/ that follow from the code
	@$(BIN)/python -m smarttext_pipelines_tests.docs

screenshots: install ## Write the pictures of the README; needs Chromium and a running `make run`
	@$(BIN)/python -m smarttext_pipelines_tests.screenshots $(ARGS)

dist: install ## Build the wheel, which runs without a checkout, into dist/
	@$(BIN)/python -m flit_core.wheel --outdir dist

prices: install ## Write the table of upper prices from genai-prices
	@$(BIN)/python -m smarttext_pipelines_tests.prices

lock: ## Choose the versions of all packages anew; needs uv
	@command -v uv >/dev/null || { echo "error: uv is missing: install it with 'pip install uv'" >&2; exit 1; }
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --extra dev pyproject.toml -o requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@python='$(PYTHON)'; \
	"$${python:-python3}" -c '$(IS_NEW)' 2>/dev/null || { \
		echo "error: Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $$python has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }; \
	$(BIN)/python -c '$(IS_NEW)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || \
		"$$python" -m venv --clear $(VENV)
	@echo "Installing into $(VENV): about 310 MB to download, two or three minutes"
	@$(PIP) install --no-deps --only-binary :all: --no-binary pyspark-client --require-hashes -r requirements.lock
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
