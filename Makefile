# Two commands: `make book` and `make test`. What they need is python3 (3.11 or later) and make; they put an
# environment of their own into .venv. Another Python: make book PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready
PYTEST := $(RUN) -m pytest -q -p no:cacheprovider
TWO := -n 2 --dist loadfile # two processes, a file's tests in one of them

export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport MPLBACKEND

.DEFAULT_GOAL := help
.PHONY: help setup ours book test test-pages pdf zip units smoke notebooks classroom teacher colab portability bench measures lint clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the environment alone, in .venv

$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here; install Python 3.11 or later, or name one: make setup PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; ok = sys.version_info >= (3, 11); sys.exit(0 if ok else "$(PYTHON) is Python %d.%d; the book needs 3.11 or later. Name one: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@test -x $(RUN) || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); } || { rm -rf $(VENV); exit 1; }
	@echo "installing what requirements.txt lists (about 1.6 GB with the CPU build of torch, a minute or two)"
	$(RUN) -m pip install --quiet -r requirements.txt
	$(RUN) -m pip install --quiet --no-deps --editable .
	@touch $@

ours: $(READY)
	@$(RUN) tools/same_name.py

book: ours ## run every chapter whose code, library or data has changed, and build the pages
	@$(RUN) tools/notebooks.py site

test: ours ## unit tests, stored outputs, a smoke run of each chapter, the rules of the book
	$(PYTEST) $(TWO) tests
	$(PYTEST) $(TWO) --nbval book/
	@$(RUN) tools/notebooks.py smoke
	@$(RUN) tools/notebooks.py check

test-pages: ours ## every built page in Chromium, at four widths, light and dark; prints a table of them
	AMR_PAGES=full $(PYTEST) tests/pages

pdf: ours ## the built pages as one PDF, by Chromium: _build/book.pdf
	@$(RUN) tools/pdf.py

zip: ours ## the built pages as one file to read without a network
	@$(RUN) tools/zip_pages.py

units: ours ## the unit tests alone
	$(PYTEST) $(TWO) tests

smoke: ours ## each chapter with tiny sizes, on the boutique and on a made public set
	@$(RUN) tools/notebooks.py smoke

notebooks: ours ## run the chapters and store their outputs in book/
	@$(RUN) tools/notebooks.py store

classroom: ours .venv-classroom/ready ## the assignments: every mark as intended, also through nbgrader; about five minutes
	AMR_CLASSROOM=1 $(PYTEST) tests/classroom

teacher: ours .venv-classroom/ready ## what a teacher may want besides: nbgrader and reveal.js (slides), in .venv-classroom

.venv-classroom/ready: classroom/requirements.txt
	$(PYTHON) -m venv .venv-classroom
	@echo "installing nbgrader and reveal.js into .venv-classroom (about 350 MB)"
	.venv-classroom/bin/python -m pip install --quiet -r classroom/requirements.txt
	@touch $@

colab: ours ## each chapter from an empty folder, in an environment with versions like Colab's
	AMRLIB_TEST_COLAB=1 $(PYTEST) -s tests/book/test_colab.py

# One processor as three kinds, by the libraries' own switches: numpy's, torch's, MKL's and oneDNN's (both inside torch),
# OpenBLAS's (inside numpy and scipy) and numba's. Beside them the machine as it is.
AVX2 := NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
  ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell NUMBA_CPU_NAME=haswell
SSE := NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
  ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem NUMBA_CPU_NAME=nehalem
PYTHONS := python3.12 python3.13

portability: ours ## tests and stored outputs as on three kinds of processor, and on other Pythons; about an hour
	$(PYTEST) tests
	$(PYTEST) --nbval book/
	$(AVX2) $(PYTEST) tests
	$(AVX2) $(PYTEST) --nbval book/
	$(SSE) $(PYTEST) tests
	$(SSE) $(PYTEST) --nbval book/
	@for python in $(PYTHONS); do \
	  name=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || \
	    { echo "SKIPPED: there is no $$python here; PYTHONS=/path/to/one names it"; continue; }; \
	  echo "units and smoke on Python $$name"; \
	  $(MAKE) units smoke PYTHON=$$python VENV=.venv-python$$name || exit 1; \
	done

bench: ours $(if $(QUICK),,.venv-bench/ready) ## speed: ours and other programs side by side; QUICK=1: ours alone
	$(RUN) -m bench run $(if $(QUICK),--quick)

.venv-bench/ready: bench/requirements.txt
	$(PYTHON) -m venv .venv-bench
	@echo "installing the other programs into .venv-bench (about 2 GB); without them ours are measured alone: make bench QUICK=1"
	.venv-bench/bin/python -m pip install --quiet -r bench/requirements.txt
	@touch $@

measures: ours ## the same small rankings through other libraries' measures, in environments of their own
	$(RUN) -m measures run

lint: $(READY) ## style, types
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean: ## throw away what was built; the next make book runs every chapter
	rm -rf _build build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov

distclean: clean ## the environment too
	rm -rf $(VENV) .venv-bench .venv-classroom .venv-measures .venv-python3.*
