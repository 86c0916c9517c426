# Two commands do all the set-up: `make demo` and `make test`. uv keeps a fresh install under a minute; the
# constraints file holds torch to the build that was tested, so that no CUDA download is made where none is needed.
VENV ?= .venv
UV := $(VENV)-uv/bin/uv
PYTHON := $(VENV)/bin/python
INSTALL = VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --compile-bytecode $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)") -c ci/constraints.txt
export OMP_WAIT_POLICY ?= PASSIVE
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296
export MALLOC_TOP_PAD_ ?= 536870912
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test check clean

demo: $(VENV)/.demo
	$(VENV)/bin/reground quickstart --out runs/quickstart-$$(date +%Y%m%d-%H%M%S)

test: $(VENV)/.test
	$(PYTHON) -m pytest

check: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

$(UV):
	python3 -m venv $(VENV)-uv
	$(VENV)-uv/bin/pip install --quiet uv
	[ -x $(PYTHON) ] || $(UV) venv --quiet --python python3 $(VENV)

$(VENV)/.demo: pyproject.toml ci/constraints.txt | $(UV)
	$(INSTALL) -e .
	touch $@

$(VENV)/.test: pyproject.toml ci/constraints.txt | $(UV)
	$(INSTALL) -e '.[test]'
	touch $@

$(VENV)/.dev: pyproject.toml ci/constraints.txt | $(UV)
	$(INSTALL) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-uv
