# Everything a developer or CI calls. Needs make and Python 3.11 or newer, nothing else.
# The first Python that runs and is new enough; a name on the PATH alone says neither.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
  $$name -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$name; break; }; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test test-slow test-whole check openapi bench bench-compare bench-start bench-stream bench-jobs bench-histories bench-search bench-store bench-usage bench-lists bench-answers bench-published bench-tools bench-knowledge soak requirements libraries clean

help: ## Says what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: $(VENV)/.run ## Starts the whole product on embedded defaults
	@exec $(BIN)/python manage.py run

test: $(VENV)/.dev ## Runs the tests (SQLite; those near the database on PostgreSQL too)
	@$(BIN)/python -m tests.run

test-slow: $(VENV)/.dev ## Runs the heavy tests, and on PostgreSQL all where a database matters
	@$(BIN)/python -m tests.run --slow

test-whole: $(VENV)/.dev ## Runs every test on PostgreSQL, in its large size
	@$(BIN)/python -m tests.run --whole

check: $(VENV)/.dev ## Lint, types, layers, migrations, OpenAPI, deployment settings
	@$(MAKE) --no-print-directory --jobs 2 $(WHOLE) check-types check-style check-layers check-schema check-settings

# Two at a time. Where make can, each one's output stays together.
WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
.PHONY: check-types check-style check-layers check-schema check-settings
check-types:
	@$(BIN)/mypy
check-style:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
check-layers:
	@$(BIN)/lint-imports --no-logo
check-schema:
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null
check-settings:
	@SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))') \
	  PUBLIC_BASE_URL=https://chat.example.com COGNITO_USER_POOL_ID=us-east-1_example COGNITO_CLIENT_ID=example \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING

openapi: $(VENV)/.run ## Prints the OpenAPI document as JSON
	@$(BIN)/python manage.py spectacular --format openapi-json

bench: $(VENV)/.dev ## Prints ratios measured in one run, as JSON (BENCH="--litellm /path/to/litellm")
	@$(BIN)/python -m tests.bench $(BENCH)

bench-compare: $(VENV)/.dev ## Prints this checkout's figures against another revision's (BASE=rev COMPARE="--rounds 20 --postgresql")
	@test -n "$(BASE)" || { echo "BASE names the revision to compare with: make bench-compare BASE=HEAD~1"; exit 1; }
	@$(BIN)/python -m tests.bench.compare $(BASE) $(COMPARE)

bench-start: $(VENV)/.dev ## Prints what a start costs against another revision, as JSON (BASE=rev)
	@test -n "$(BASE)" || { echo "BASE names the revision to compare with: make bench-start BASE=HEAD~1"; exit 1; }
	@$(BIN)/python -m tests.bench.start $(BASE)

bench-stream: $(VENV)/.dev ## Prints what streams cost, measured in one run, as JSON
	@$(BIN)/python -m tests.bench.streams

bench-jobs: $(VENV)/.dev ## Prints how soon and how fast jobs are done, as JSON
	@$(BIN)/python -m tests.bench.jobs

bench-published: $(VENV)/.dev ## Prints what a published API costs against an empty view, as JSON
	@$(BIN)/python -m tests.bench.published

# Tests that are larger with SOAK=1, and that processes, faults or stops concern.
SOAKED := tests/publication/test_workers.py tests/publication/test_stream_servers.py tests/jobs/test_celery.py \
  tests/ledger/test_rollups.py tests/conversations/rounds/test_kills.py tests/conversations/rounds/test_faults.py \
  tests/conversations/rounds/test_stops.py tests/bots/knowledge/sync/test_killed.py \
  tests/bots/knowledge/sync/test_histories.py tests/bots/knowledge/sync/test_leases.py \
  tests/bots/knowledge/sync/test_moments.py tests/bots/knowledge/sync/test_many_faults.py \
  tests/bots/knowledge/test_isolation.py

soak: $(VENV)/.dev ## Ten minutes of everything while processes are killed, then compares (SOAK="--minutes 1")
	@SOAK=1 $(BIN)/python -m pytest -q $(SOAKED)
	@test -z "$$TEST_DATABASE_URL" || \
	  SOAK=1 DEBUG=true DATABASE_URL="$$TEST_DATABASE_URL" $(BIN)/python -m pytest -q -m both $(SOAKED)
	@$(BIN)/python -m tests.soak $(SOAK)

bench-tools: $(VENV)/.dev ## Prints what rounds with tools cost against boto3, and what hanging tools cost others, as JSON
	@$(BIN)/python -m tests.bench.tools

bench-histories: $(VENV)/.dev ## Prints what opening a long conversation with images costs, as JSON
	@$(BIN)/python -m tests.bench.histories

bench-search: $(VENV)/.dev ## Prints how fast a million messages are searched, as JSON (SEARCH="--quick")
	@$(BIN)/python -m tests.bench.search $(SEARCH)

bench-store: $(VENV)/.dev ## Prints how fast a store of 100,000 bots answers, as JSON (STORE="--quick")
	@$(BIN)/python -m tests.bench.store $(STORE)

bench-usage: $(VENV)/.dev ## Prints how fast reports are read from ten million calls, as JSON (USAGE="--quick")
	@$(BIN)/python -m tests.bench.usage $(USAGE)

bench-lists: $(VENV)/.dev ## Prints how fast the console lists a million rows, as JSON (LISTS="--quick")
	@$(BIN)/python -m tests.bench.lists $(LISTS)

bench-knowledge: $(VENV)/.dev ## Prints how well and how fast bots find what they know, as JSON (KNOWLEDGE="--million")
	@$(BIN)/python -m tests.bench.knowledge $(KNOWLEDGE)

bench-answers: $(VENV)/.dev ## Prints what an answer that grows costs the chat page, as JSON (ANSWERS="--quick"; Chromium)
	@$(BIN)/python -m tests.bench.answers $(ANSWERS)

requirements: $(VENV)/.dev ## Pins the requirements anew
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	@for name in requirements requirements-celery requirements-tracing requirements-dev; do \
	  $(BIN)/python -m uv pip compile --quiet --upgrade --universal --no-emit-index-url --no-header \
	    --python-version 3.11 $$name.in -o $$name.txt; done

libraries: $(VENV)/.dev ## Fetches the chat page's libraries as pinned (LIBRARIES=--update: the newest; npm)
	@$(BIN)/python -m tests.libraries $(LIBRARIES)

clean: ## Removes the virtual environment and all local data
	rm -rf $(VENV) var

$(VENV)/.python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; PYTHON=/path/to/python3.11 make run names one."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "This Python has no venv module; on Debian and Ubuntu: apt install python3-venv."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: requirements.txt | $(VENV)/.python
	@echo "Installing requirements ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements-tracing.txt requirements.txt | $(VENV)/.python
	@echo "Installing requirements and test tools ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-tracing.txt \
	  -r requirements-dev.txt
	@touch $@ $(VENV)/.run
