# book: build the site | test: run everything that guards the book | lab: open it in JupyterLab
# store NB=…: run a notebook and keep its outputs | anki: write the deck of cards | serve, clean
# models: train data/models again | measurements: repeat those of data/measurements
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/ready
SITE := _build/html
NB ?= $(sort $(wildcard chapters/*.ipynb)) ledger.ipynb

export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)
# Large tensors are freed and allocated every step. Keeping them in the heap instead of giving them
# back to the system halves the CPU time of a training step (glibc; ignored elsewhere).
export MALLOC_MMAP_THRESHOLD_ := 4294967296
export MALLOC_TRIM_THRESHOLD_ := 4294967296

.PHONY: book test lab anki models measurements lighthouse store serve clean format chromium

book: $(READY)
	jupyter-book build . --all -W -n -q
	@echo "The book is built. Open $(CURDIR)/$(SITE)/index.html"

test: book chromium
	ruff check . && ruff format --check .
	lint-imports
	codespell
	pytest tests
	BOOK_QUIET=1 pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg chapters ledger.ipynb

lab: $(READY)
	jupyter lab

anki: $(READY)
	@python -m labs.book.anki

models: $(READY)
	@for config in data/models/*/config.yml; do \
	  python -m labs.train.pretrained $$(basename $$(dirname $$config)) || exit 1; done
	python -m labs.train.trunks
	rm -rf data/models/masking-trunks  # it makes only the runs that are not there
	python -m labs.train.masking

measurements: $(READY)
	python -m labs.train.lengths
	python -m labs.train.extension
	# sweep and next_sentence make only the runs that their files lack.
	rm -f data/measurements/sweep.json data/measurements/next_sentence.json
	python -m labs.train.sweep
	python -m labs.model.span_vectors
	python -m labs.train.next_sentence compare
	rm -f data/measurements/ladder.json  # it makes only the runs that the file lacks; 20 minutes
	python -m labs.train.ladder_runs
	python -m labs.train.step_costs

lighthouse: book chromium
	python -m tests.lighthouse

store: $(READY)
	python -m labs.book.store $(NB)

serve: book
	@echo "Reading at http://127.0.0.1:8000, until Ctrl-C"
	@python -m http.server --bind 127.0.0.1 --directory $(SITE) 8000

format: $(READY)
	ruff check --fix . ; ruff format .

chromium: $(READY)
	@python -m tests.browser --ensure

clean:
	rm -rf _build $(VENV)

$(READY): requirements.txt data/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "The book needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "No virtual environment could be made: install the venv module (Debian: python3-venv)."; exit 1; }
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement data/requirements.txt
	@touch $(READY)
