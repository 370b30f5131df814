#!/usr/bin/env bash
# Makes .venv or brings it up to date. `make setup` and `make setup-dev` call it:
#
#     scripts/setup_environment.sh train     what training needs, and this package (editable)
#     scripts/setup_environment.sh dev       what tests and linters need, on top
#
# Variables: PYTHON, DEVICE (auto, cpu, gpu), TORCH_CPU_INDEX, PADDLE_GPU_INDEX; the Makefile says what they mean.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
device=${DEVICE:-auto}
cpu_index=${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}
gpu_index=${PADDLE_GPU_INDEX:-https://www.paddlepaddle.org.cn/packages/stable/cu126/}
venv=.venv

fail() {
    echo "$*" >&2
    exit 2
}

pin_of() { sed -n "s/^$1==\([^ ]*\).*/\1/p" requirements-cpu.txt; }

install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }

make_venv() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Python 3.11 or newer is needed, and $python is $("$python" --version 2>&1 | tail -1): give another one, make setup PYTHON=python3.12"
    "$python" -m venv "$venv" >/dev/null 2>&1 || {
        rm -rf "$venv" # half of one would look ready the next time
        fail "$python cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)"
    }
}

uninstall() { "$venv/bin/python" -m pip uninstall --quiet --disable-pip-version-check --yes "$@"; }

has_wheel() { "$venv/bin/python" scripts/has_wheel.py "$@"; }

installed() { "$venv/bin/python" -c "import importlib.metadata as m; print(m.version('$1'))" 2>/dev/null || true; }

# The CPU build of torch is a fifth of the size. --no-deps, because its dependencies come from the default index.
install_cpu_torch() {
    [ "$(uname -s)" = Linux ] || return 0             # elsewhere the default index has the CPU build
    [ -n "$(pin_of torch)" ] || return 0              # the Lightning engine was deleted
    case "$(installed torch)" in "$(pin_of torch)"*) return 0 ;; esac
    if has_wheel "$cpu_index" torch "$(pin_of torch)+cpu" &&
        install --no-deps --index-url "$cpu_index" "torch==$(pin_of torch)+cpu" "torchvision==$(pin_of torchvision)+cpu"; then
        echo "torch: CPU build from $cpu_index"
    else
        echo "torch: $cpu_index has no build to offer, the default index's is taken (on Linux several GB)"
    fi
}

# Paddle's GPU build is a package of another name with the same files inside: the CPU build has to go first. What the
# GPU build needs comes from both indexes.
install_gpu_paddle() {
    local pin
    pin=$(pin_of paddlepaddle)
    [ -n "$pin" ] || return 0                         # the Paddle engine was deleted
    if ! has_wheel "$gpu_index" paddlepaddle-gpu "$pin"; then
        echo "paddle: $gpu_index has no GPU build to offer, the CPU build stays"
        return 0
    fi
    uninstall paddlepaddle
    if install --no-deps --force-reinstall --index-url "$gpu_index" "paddlepaddle-gpu==$pin" &&
        install --constraint constraints.txt --extra-index-url "$gpu_index" "paddlepaddle-gpu==$pin"; then
        echo "paddle: GPU build from $gpu_index"
    else
        uninstall paddlepaddle-gpu
        install --no-deps --force-reinstall "paddlepaddle==$pin"
        echo "paddle: the GPU build of $gpu_index could not be installed, the CPU build stays"
    fi
}

case "$device" in
    auto) if nvidia-smi >/dev/null 2>&1; then device=gpu; else device=cpu; fi ;;
    cpu | gpu) ;;
    *) fail "DEVICE=$device is not known: auto, cpu or gpu" ;;
esac

[ -x "$venv/bin/python" ] || make_venv

case "${1:-}" in
    train)
        echo "installing what training needs ($device) into $venv, some minutes …"
        if [ "$device" = cpu ]; then
            install_cpu_torch
            [ -z "$(installed paddlepaddle-gpu)" ] || uninstall paddlepaddle-gpu
        elif [[ "$(installed torch)" == *+cpu ]]; then
            # To pip the CPU build fulfils the pin as well; it has to go before the CUDA build is taken.
            uninstall torch torchvision
        fi
        install -r "requirements-$device.txt" --editable .
        [ ! -f requirements-nodeps.txt ] || install --no-deps -r requirements-nodeps.txt
        [ "$device" = cpu ] || install_gpu_paddle
        ;;
    dev)
        echo "installing what tests and linters need into $venv …"
        install -r requirements-dev.txt
        install --no-deps -r requirements-optional-nodeps.txt
        ;;
    *) fail "usage: scripts/setup_environment.sh train|dev" ;;
esac
echo "installed in $SECONDS s"
