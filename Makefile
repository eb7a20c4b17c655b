# The portal's commands. `make help` lists them; .venv holds the packages, var/ (PORTAL_HOME) everything else.

PYTHON ?= python3
EVAL_DIR ?= $(or $(PORTAL_EVAL_DIR),../shared/eval)
RUN = .venv/bin/python cli.py

.DEFAULT_GOAL := help
.PHONY: help run setup install test lint fix eval demo translations lock clean clean-all

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Set up what is missing, then start the portal
	@$(RUN) serve

setup: install ## Packages, database, and the default model: fetched, verified, converted
	@$(RUN) setup

install: # Only the packages
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed. Debian: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) requirements/install.py

engine-llamacpp: install ## Compile llama.cpp, an optional engine for GGUF files (10 minutes; needs cmake and g++)
	@.venv/bin/python requirements/llamacpp.py
.PHONY: engine-llamacpp

engine-vision: install ## What vLLM needs beside the lock for models that see, where there is no GPU
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --upgrade \
		--target .venv/vision -r requirements/vision.txt
.PHONY: engine-vision

test: setup chromium sandbox ## Run all tests, the real engine and a browser included
	@.venv/bin/python -m pytest

chromium: # The browser tests drive the system's browser
	@command -v chromium >/dev/null || { echo "The browser tests need Chromium. Debian: apt install chromium fonts-noto-cjk" >&2; exit 1; }
.PHONY: chromium

sandbox: # The sandbox's tests run programs of every language in both isolations
	@for program in bwrap node javac setpriv; do command -v $$program >/dev/null || { \
		echo "The sandbox tests need $$program. Debian: apt install bubblewrap nodejs default-jdk-headless util-linux" >&2; exit 1; }; done
.PHONY: sandbox

lint: install ## Check style and formatting
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

fix: install ## Correct style and formatting where a machine can
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

eval: setup ## Measure retrieval, answers, refusals and code on the evaluation data (EVAL_DIR)
	@test -d $(EVAL_DIR) || { echo "There is no evaluation data in $(EVAL_DIR): set PORTAL_EVAL_DIR." >&2; exit 1; }
	@for language in zh en; do for kind in retrieval answers; do \
		$(RUN) eval $$kind --passages $(EVAL_DIR)/retrieval/xquad_$$language.passages.jsonl \
			--questions $(EVAL_DIR)/retrieval/xquad_$$language.questions.jsonl || exit 1; \
	done; done
	@$(RUN) eval refusal --folder $(EVAL_DIR)/retrieval
	@$(RUN) eval masking
	@$(RUN) eval code --problems $(EVAL_DIR)/code/HumanEval.jsonl.gz --skip 84

demo: setup ## Ask the samples one question in each language
	@$(RUN) demo

translations: install ## Collect new texts of the screens into locales/, to be translated there
	@mkdir -p var
	@.venv/bin/pybabel extract -F locales/babel.cfg -k N_ --no-location --project=Zhiku --version=0 -w 120 -o var/zhiku.pot .
	@.venv/bin/pybabel update -i var/zhiku.pot -d locales -D zhiku --no-fuzzy-matching --ignore-obsolete -w 120

lock: ## Compile the locks anew: the newest versions that go together
	@$(PYTHON) requirements/lock.py

clean: ## Remove .venv and caches; asks before it removes var/
	@rm -rf .venv .venv-llamacpp .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d var ] && [ -t 0 ]; then \
		printf "Remove var/ too, with all documents, conversations and models? [y/N] "; \
		read answer; if [ "$$answer" = y ]; then rm -rf var; fi; \
	fi

clean-all: ## Remove .venv, caches and var/ without asking
	@rm -rf var
	@$(MAKE) --no-print-directory clean
