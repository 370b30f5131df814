# `make help` says what there is. Everything but help, clean and rename works in .venv and makes it when it is missing.

PYTHON ?= python3
DEVICE ?= auto
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
PADDLE_GPU_INDEX ?= https://www.paddlepaddle.org.cn/packages/stable/cu126/
TEST_PROCESSES ?= 2
ENGINE ?=
ARGS ?=
BUNDLE ?= outputs/latest/bundle
DOCKER ?= docker
COMPOSE ?= $(DOCKER) compose
BUILD_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
# Stamps: made when an installation ended well, outdated when one of the files behind it is newer.
TRAIN := $(VENV)/.installed-$(DEVICE)
DEV := $(VENV)/.installed-$(DEVICE)-dev
PINS := constraints.txt requirements-serve.txt requirements-cpu.txt requirements-gpu.txt $(wildcard requirements-nodeps.txt) pyproject.toml
ACCURACY := $(addprefix benchmarks/,time_to_accuracy.py imbalance.py same_accuracy.py parity.py int8.py compression.py distillation.py)
SERVING := throughput.py startup.py
WORKFLOWS := $(wildcard .github/workflows/*.yml)

export PYTHON DEVICE TORCH_CPU_INDEX PADDLE_GPU_INDEX
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev check train validate export benchmark serve validate-venv validate-docker image-cpu image-gpu up down logs k8s-render \
    triton-repo oracles bench bench-accuracy bench-gpu gpu-kit bench-serve bench-containers test test-long test-containers mutants lint format ci clean \
    clean-outputs rename

help:  ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nvariables\n'
	@printf '  %-22s %s\n' \
	    PYTHON=python3.12 'the Python that .venv is made from, 3.11 or newer' \
	    DEVICE=cpu 'or gpu: what to install; auto looks for nvidia-smi' \
	    ENGINE=paddle 'or lightning: which framework train and validate use' \
	    BUNDLE=FOLDER 'what up, bench-serve and bench-containers serve; else that of the newest run' \
    COMPOSE=docker-compose 'where Compose is a program of its own; DOCKER=podman' \
    BUILD_ARGS="'--build-arg X=Y'" 'passed on when images are built, such as PYTHON_IMAGE=a mirror of it' \
	    ARGS="'seed=1'" 'passed on to train, validate, serve, test and others' \
	    TORCH_CPU_INDEX=URL 'where the CPU build of torch comes from' \
	    PADDLE_GPU_INDEX=URL 'where the GPU build of Paddle comes from' \
	    PIP_INDEX_URL=URL "pip's own variable: a mirror of PyPI"

##@ environment

setup: $(TRAIN)  ## make .venv and install what training needs (at most 10 minutes)
	@echo "ready: $(VENV) is up to date"

setup-dev: $(DEV)  ## the same and what tests and linters need
	@echo "ready: $(VENV) is up to date, with the development tools"

$(TRAIN): $(PINS)
	@scripts/setup_environment.sh train
	@touch $@

$(DEV): $(TRAIN) requirements-dev.txt requirements-optional.txt requirements-optional-nodeps.txt
	@scripts/setup_environment.sh dev
	@touch $@

check: $(TRAIN)  ## is this machine ready? names what mends it
	@$(PY) scripts/check_env.py

##@ work

train: $(TRAIN)  ## train on the embedded digits; ARGS="model=resnet34 seed=1" changes settings
	@$(PY) scripts/train.py data=digits $(if $(ENGINE),trainer.engine=$(ENGINE)) $(ARGS)

validate: $(TRAIN)  ## one epoch of every shipped model, with a table (a few minutes)
	@$(PY) scripts/validate.py $(if $(ENGINE),engine=$(ENGINE)) $(ARGS)

export: $(TRAIN)  ## the newest run as a bundle with an int8 model beside it; ARGS="run=FOLDER" another one
	@$(PY) scripts/export.py quantize.mode=int8 $(ARGS)

benchmark: $(TRAIN)  ## size, speed and accuracy of the newest bundle; ARGS="bundle=FOLDER" another one
	@$(PY) scripts/benchmark.py $(ARGS)

serve: $(TRAIN)  ## the newest bundle as a service on http://127.0.0.1:8000; ARGS="bundle=FOLDER" another one
	@$(PY) scripts/serve.py $(ARGS)

oracles: $(DEV)  ## the environments of requirements-oracles.txt (1.6 GB), else made at first use; ARGS=schemathesis one of them
	@$(PY) tests/own_code/oracles.py $(ARGS)

bench: $(DEV)  ## measure speed against named peers; prints ratios (20 minutes)
	@set -e; for file in $(filter-out $(ACCURACY) benchmarks/gpu.py,$(wildcard benchmarks/[a-z]*.py)); do echo "== $$file"; $(PY) $$file; done

bench-accuracy: $(DEV)  ## accuracy on Fashion-MNIST: recipes, both engines, what smaller costs (4 hours)
	@set -e; for file in $(ACCURACY); do echo "== $$file"; OMP_NUM_THREADS=1 $(PY) $$file; done

bench-gpu: $(TRAIN)  ## all that only an NVIDIA GPU can show, in 8 minutes; ARGS="--dry" on the CPU: does every part run?
	@$(PY) benchmarks/gpu.py $(ARGS)

gpu-kit: $(TRAIN)  ## the same for a machine without a network: outputs/gpu-kit.tar.gz, at most 40 MB
	@$(PY) benchmarks/gpu_kit/pack.py

# wrk sends the load (in Debian and Ubuntu a package of that name).
bench-serve: $(DEV)  ## the service against its peers, which it installs (1.1 GB); start, decoders; BUNDLE=FOLDER (25 minutes)
	@command -v wrk >/dev/null || { echo "bench-serve needs wrk: apt-get install wrk" >&2; exit 2; }
	@set -e; for file in $(SERVING); do echo "== benchmarks/serving/$$file"; $(PY) benchmarks/serving/$$file $(BUNDLE); done
	@echo "== benchmarks/serving/fuzz_inputs.py"; $(PY) benchmarks/serving/fuzz_inputs.py --cases 20000

bench-containers: $(DEV)  ## the serving image in figures, then updates and killed replicas behind nginx; BUNDLE=FOLDER (6 minutes)
	@$(PY) benchmarks/containers/serve_image.py $(BUNDLE)
	@$(PY) benchmarks/containers/rolling_update.py

##@ deploy

validate-venv: $(TRAIN)  ## stage 1, on a GPU: one epoch, utilisation, a bundle, a report; ARGS="allow_cpu=true" as a dry run
	@$(PY) scripts/validate.py stage=venv $(if $(ENGINE),engine=$(ENGINE)) $(ARGS)

validate-docker: $(TRAIN)  ## stage 2, in CPU containers: builds them, one epoch, serves the bundle of stage 1, a report
	@$(PY) scripts/validate.py stage=docker $(if $(ENGINE),engine=$(ENGINE)) $(ARGS)

# --build-arg NAME without a value passes on what the environment holds, and nothing where it holds nothing.
INDEXES := $(addprefix --build-arg ,PIP_INDEX_URL PIP_EXTRA_INDEX_URL TORCH_CPU_INDEX PADDLE_GPU_INDEX)
IMAGE = DOCKER_BUILDKIT=1 $(DOCKER) build $(INDEXES) --build-arg REVISION=$$(git rev-parse HEAD) $(BUILD_ARGS)

image-cpu:  ## ml-serve:latest, which answers requests, and ml-cpu:latest, which trains
	@$(IMAGE) --target serve --tag ml-serve:latest --file deploy/cpu/Dockerfile .
	@$(IMAGE) --target train --tag ml-cpu:latest --file deploy/cpu/Dockerfile .

image-gpu:  ## ml-gpu:latest, which trains on NVIDIA GPUs
	@$(IMAGE) --tag ml-gpu:latest --file deploy/gpu/Dockerfile .

# BUNDLE is passed on only where it was given: else deploy/.env says what a rolling update has left running.
up:  ## two replicas behind nginx on http://127.0.0.1:8080; ARGS="--profile monitoring" with Prometheus and Grafana
	@[ -e deploy/.env ] || [ -d "$(BUNDLE)" ] || { echo "there is no bundle in $(BUNDLE): python scripts/export.py run=latest" >&2; exit 2; }
	@cd deploy && $(if $(filter file,$(origin BUNDLE)),,BUNDLE="$(abspath $(BUNDLE))") $(COMPOSE) $(ARGS) up --detach --no-build --wait

down:  ## end what up has started; what it has stored stays
	@cd deploy && $(COMPOSE) --profile '*' down

logs:  ## what the replicas and nginx say, as it comes
	@cd deploy && $(COMPOSE) logs --follow --tail 100

k8s-render: $(DEV)  ## the Kubernetes manifests as outputs/kubernetes/*.yaml, checked against the schemas
	@mkdir -p outputs/kubernetes
	@set -e; for folder in overlays/small overlays/production overlays/canary training; do \
	    file=outputs/kubernetes/$${folder##*/}.yaml; \
	    $(VENV)/bin/kubectl kustomize deploy/kubernetes/$$folder >$$file; \
	    $(VENV)/bin/kubernetes-validate --strict --quiet $$file; \
	    echo "$$file"; \
	done

triton-repo: $(TRAIN)  ## the newest run as a model repository for Triton, outputs/triton
	@$(PY) scripts/export.py target=triton quantize.mode=int8 $(ARGS)
	@rm -rf outputs/triton && cp -R outputs/latest/targets/triton outputs/triton

##@ quality

# One thread a process: several processes whose torch threads compete for the same cores crawl. Without bytecode, each
# of hundreds of processes would compile the package anew. Coverage makes Python run 1.7 times as long.
PYTEST = env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(PY) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
COVERED = --cov --cov-report=term --cov-fail-under=$(if $(ARGS),0,95)

test: $(DEV)  ## run the suite (9 minutes); ARGS="--changed", "-k loader" picks tests; COVERAGE=1 measures coverage
	@$(PYTEST) --durations=20 $(if $(COVERAGE),$(COVERED)) $(ARGS)

test-long: $(DEV)  ## what it leaves out: dozens of kills, an engine deleted from a copy, stage 1 (4 minutes)
	@$(PYTEST) --long --durations=10 $(ARGS)

test-containers: $(DEV)  ## build the images and run them for real; an engine is started where none answers (20 minutes)
	@OMP_NUM_THREADS=1 $(PY) -m pytest --durations=15 $(or $(ARGS),tests/containers)

ROOM ?= metrics
NUMBER ?= 40
SEED ?= 0
mutants: $(DEV)  ## changes in ROOM=metrics that no test notices; NUMBER=40 and SEED=0 draw them (seconds each)
	@$(PY) benchmarks/mutants/survivors.py $(ROOM) --number $(NUMBER) --seed $(SEED) $(ARGS)

lint: $(DEV)  ## ruff, mypy, and the schemas of the workflow files
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(VENV)/bin/pre-commit validate-config

format: $(DEV)  ## mend what ruff can mend
	@$(VENV)/bin/ruff check --fix
	@$(VENV)/bin/ruff format

ci:  ## everything that CI runs, in its order (up to 40 minutes)
	@.ci/run

##@ tidy

clean:  ## remove caches and build products; never data/ or outputs/
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@rm -rf build .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov

clean-outputs:  ## remove outputs/: every run, its checkpoints and its figures
	@rm -rf outputs

rename:  ## make it yours: NAME=my_project renames the package everywhere
	@$(PYTHON) scripts/rename.py "$(NAME)" $(if $(FORCE),--force)
