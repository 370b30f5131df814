#!/bin/sh
# Install what training on a CPU needs into this Python, in the folder of the requirements files:
#
#     TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu sh install_train.sh       # deploy/cpu/Dockerfile runs it
#
# torch and torchvision come as their +cpu builds (1 GB installed) where that index can be had. Else they come from the
# default index, which on Linux has CUDA builds of several GB: they train on a CPU as well. Minutes in either case.
set -eu
here=$(dirname "$0")

pin_of() { sed -n "s/^$1==\([^ ]*\).*/\1/p" requirements-cpu.txt; }

install() { python -m pip install "$@"; }

torch=$(pin_of torch)
if [ -z "$torch" ]; then
    echo "torch: not asked for" # the Lightning engine was deleted
elif python "$here/has_wheel.py" "$TORCH_CPU_INDEX" torch "$torch+cpu"; then
    # --no-deps, because its dependencies come from the default index.
    install --no-deps --index-url "$TORCH_CPU_INDEX" "torch==$torch+cpu" "torchvision==$(pin_of torchvision)+cpu"
else
    echo "##################################################################################################"
    echo "# torch: $TORCH_CPU_INDEX has no build to offer."
    echo "# The default index's CUDA build is taken: the image gets several GB larger, and works all the same."
    echo "# Another address of the CPU builds: --build-arg TORCH_CPU_INDEX=URL"
    echo "##################################################################################################"
fi
install -r requirements-cpu.txt
[ ! -f requirements-nodeps.txt ] || install --no-deps -r requirements-nodeps.txt

# Paddle asks the system for GNU's OpenMP library, which a slim Python does not have; scikit-learn brings a copy of its
# own. In /usr/lib the loader finds it by this name (ldconfig would list it by the name that is written inside it).
paddle=$(pin_of paddlepaddle)
if [ -n "$paddle" ] && ! ldconfig -p | grep -q 'libgomp\.so\.1 '; then
    packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    ln -s "$packages"/scikit_learn.libs/libgomp-*.so.1.0.0 /usr/lib/libgomp.so.1
fi
[ -z "$paddle" ] || python -W ignore -c 'import paddle' # a build that fails tells sooner than a training that does
