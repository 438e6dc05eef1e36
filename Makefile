# make demo: train on real data beside a float twin, emit C, compare every wire.   make test: everything that CI runs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# extra options for pip, such as an index of CPU builds of PyTorch
PIP    := $(BIN)/pip --disable-pip-version-check install --quiet $(PIP_OPTIONS) --constraint constraints.txt
DEMO   := demo
DATA   ?= digits
JOBS   ?= 2
# what an installation depends on: the compiled kernels are built by it
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/zahlen/kernels/*.c src/zahlen/kernels/*.h)

.PHONY: demo test lint studies docs clean

demo: $(VENV)/demo.stamp
	$(BIN)/zahlen train $(DATA) --epochs 40 --seed 0 --twin --out $(DEMO)
	$(CC) -std=c99 -pedantic -Wall -Wextra -Werror -Os -DMODEL_SELFTEST $(DEMO)/c/model.c -o $(DEMO)/selftest
	$(DEMO)/selftest | tail -n 1
	$(BIN)/zahlen check $(DEMO)/model.zn
	@echo "A trained machine, its curves, figures and C program are in $(DEMO)/. Print it: $(BIN)/zahlen show $(DEMO)/model.zn"

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

studies: $(VENV)/test.stamp
	$(PIP) -e '.[studies]'
	$(BIN)/python studies/fashion.py
	$(BIN)/python studies/equality.py
	$(BIN)/python studies/levels.py
	$(BIN)/python studies/text.py
	$(BIN)/python studies/series.py
	$(BIN)/python studies/continuum.py
	$(BIN)/python studies/integer.py
	$(BIN)/python studies/vgg.py
	$(BIN)/python studies/integer_rules.py
	$(BIN)/python studies/robust.py
	$(BIN)/python studies/tomita.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/recurrent_step.py

docs: $(VENV)/test.stamp
	$(PIP) -e '.[docs]'
	$(BIN)/mkdocs build --strict

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(VENV)/pyvenv.cfg $(SOURCES)
	$(PIP) -e '.[all]'
	touch $@

$(VENV)/test.stamp: $(VENV)/pyvenv.cfg $(SOURCES)
	$(PIP) -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) .hypothesis .mypy_cache .pytest_cache .ruff_cache site
