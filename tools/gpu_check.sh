#!/bin/sh
# Everything about a CUDA card in one command and under six minutes: the tests of tests/cuda, a chain trained on card and
# processor, and speed at the size of the AMR paper's women set.
#
#   tools/gpu_check.sh [OUT.json [--only PART …] [--seconds N]]        by default bench/results/gpu.json, which `python -m bench page` puts on the page
#
# Needs: a Python 3.11 or later with torch, numpy, pandas, scipy, tqdm, safetensors, filelock and pillow; no network.
# pytest and numba are used where they are there. PYTHON=… names another interpreter.
#
# What is missing there can be carried along as wheels in .wheels/ (git does not see that folder). Before, with a network:
#   python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#       --platform manylinux2014_x86_64 -d .wheels NAME …
# They are put into a temporary folder, and nothing of that Python is changed.
#
# AMRLIB_GPU_CHECK_DEVICE=cpu tries the command itself, on tiny sizes; its figures mean nothing.
# Each part is a process with a time limit of its own, and one that fails leaves the others their say (bench/gpu.py).
set -u
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
device=${AMRLIB_GPU_CHECK_DEVICE:-cuda}
if ls .wheels/*.whl >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .wheels/*.whl \
        || echo "the wheels of .wheels could not be installed; going on without them"
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
if [ "$device" = cpu ]; then
    [ $# -gt 0 ] || set -- _build/bench/gpu.json
    set -- "$@" --device cpu --size 40,50,200,16,4 --batches 32,64
fi
"$python" -m bench gpu "$@"
