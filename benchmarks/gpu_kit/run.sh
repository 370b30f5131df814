#!/bin/sh
# Runs benchmarks/gpu.py from the unpacked kit, without an index and without a network: at most 8 minutes.
#
#     sh gpu-kit/run.sh                      on a machine with an NVIDIA GPU; results in gpu-kit/results
#     sh gpu-kit/run.sh --output FOLDER      results elsewhere; all arguments go to benchmarks/gpu.py
#     sh gpu-kit/run.sh --dry                on the CPU: does every part run?
#
# PYTHON=… chooses the interpreter: 3.11 to 3.13, with torch 2.8 or newer and pytorch-lightning 2.6.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
"$python" "$kit/benchmarks/gpu_kit/wheels.py" "$kit/wheels" "$kit/site"
MLSTACK_COMMIT=$(cat "$kit/COMMIT")
PYTHONPATH="$kit/site:$kit/src${PYTHONPATH:+:$PYTHONPATH}"
export MLSTACK_COMMIT PYTHONPATH
exec "$python" "$kit/benchmarks/gpu.py" --output "$kit/results" "$@"
