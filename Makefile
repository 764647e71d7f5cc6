# `make help` lists what there is. TIERS and MIRROR may also stand in the environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
PYTHON_VENV := .venv/bin/python

.PHONY: help setup repro test lint lab report stale times lock clean

help:
	@echo 'make repro                           every table and figure of the active tiers (params.yaml); resumes where it was'
	@echo 'make repro TIERS="collage mirror"    of these tiers'
	@echo 'make repro MIRROR=folder             with the real photographs in that folder'
	@echo 'make repro JOBS=4                    by so many processes beside each other (default one for each core)'
	@echo 'make repro CLUSTER=address           by the workers of a Dask cluster that sees these files'
	@echo 'make times                           where the time of the last run went, by stage and kind of work'
	@echo 'make report                          tables, figures and verdicts again from the metrics that are there'
	@echo 'make stale                           which results are older than the code, and why'
	@echo 'make test                            style and all tests'
	@echo 'make lint                            style alone: ruff over lib, tests, tools and the cells of the notebooks'
	@echo 'make lab                             the notebooks in JupyterLab'
	@echo 'make lock                            requirements.lock from requirements.txt (UPGRADE=1: newest versions)'
	@echo 'make clean                           remove .venv, .uv, build and caches; data and reports stay'

setup:
	@tools/setup.sh

repro: setup
	$(PYTHON_VENV) -m lib.pipeline repro $(TIERS:%=--tier %) $(if $(MIRROR),--mirror "$(MIRROR)") $(if $(JOBS),--jobs "$(JOBS)") $(if $(CLUSTER),--cluster "$(CLUSTER)")

report: setup
	$(PYTHON_VENV) -m lib.pipeline report

stale: setup
	$(PYTHON_VENV) -m lib.pipeline stale $(TIERS)

times: setup
	$(PYTHON_VENV) -m lib.pipeline times $(TIERS)

lint: setup
	$(PYTHON_VENV) -m ruff check --quiet lib tests tools notebooks

test: lint
	OMP_NUM_THREADS=1 $(PYTHON_VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests

lab: setup
	JUPYTER_TOKEN=$$($(PYTHON_VENV) -c 'import secrets; print(secrets.token_hex(24))') \
	  $(PYTHON_VENV) -m jupyter lab --ip=127.0.0.1 --allow-root notebooks/

lock:
	uv=$$(tools/setup.sh --uv) && "$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate $(if $(UPGRADE),--upgrade) --override requirements.overrides requirements.txt -o requirements.lock

clean:
	rm -rf .venv .uv build reports/smoke .pytest_cache
	find lib tests notebooks -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +
