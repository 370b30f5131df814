#!/bin/sh
# Install what training on a GPU needs into this Python, in the folder of the requirements files:
#
#     PADDLE_GPU_INDEX=https://www.paddlepaddle.org.cn/packages/stable/cu126/ sh install_train.sh
#
# deploy/gpu/Dockerfile runs it; expect 7 minutes.
# torch is the default index's: a CUDA build that brings CUDA's own libraries as packages. Paddle's GPU build comes from
# an index of its own where that can be had; else the CPU build stays, and Lightning alone trains on the GPU.
set -eu
here=$(dirname "$0")

pin_of() { sed -n "s/^$1==\([^ ]*\).*/\1/p" requirements-cpu.txt; }

install() { python -m pip install "$@"; }

install -r requirements-gpu.txt
[ ! -f requirements-nodeps.txt ] || install --no-deps -r requirements-nodeps.txt

# The GPU build is a package of another name with the same files inside: the CPU build has to go first. What the GPU
# build needs comes from both indexes. Not verified here: no index that has this build could be reached.
paddle=$(pin_of paddlepaddle)
if [ -z "$paddle" ]; then
    echo "paddle: not asked for" # the Paddle engine was deleted
elif python "$here/has_wheel.py" "$PADDLE_GPU_INDEX" paddlepaddle-gpu "$paddle"; then
    python -m pip uninstall --yes paddlepaddle
    install --no-deps --force-reinstall --index-url "$PADDLE_GPU_INDEX" "paddlepaddle-gpu==$paddle"
    install --constraint constraints.txt --extra-index-url "$PADDLE_GPU_INDEX" "paddlepaddle-gpu==$paddle"
else
    echo "##################################################################################################"
    echo "# paddle: $PADDLE_GPU_INDEX has no GPU build to offer."
    echo "# The CPU build stays: trainer.engine=paddle trains on the processor, trainer.engine=lightning on the GPU."
    echo "# Another address of the GPU builds: --build-arg PADDLE_GPU_INDEX=URL"
    echo "##################################################################################################"
fi

# Paddle asks the system for GNU's OpenMP library, which a slim Python does not have; scikit-learn brings a copy of its
# own. In /usr/lib the loader finds it by this name (ldconfig would list it by the name that is written inside it).
if [ -n "$paddle" ] && ! ldconfig -p | grep -q 'libgomp\.so\.1 '; then
    packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    ln -s "$packages"/scikit_learn.libs/libgomp-*.so.1.0.0 /usr/lib/libgomp.so.1
fi
[ -z "$paddle" ] || python -W ignore -c 'import paddle' # a build that fails tells sooner than a training that does
