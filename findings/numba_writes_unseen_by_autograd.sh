#!/bin/sh
# A table that a numba loop updates through tensor.numpy() has changed without torch knowing it.
#
# Guess, written first: torch notices that a tensor which the backward pass still needs has been written to, as it does for
# tensor.mul_(…), and raises "modified by an inplace operation".
#
# Seen with torch 2.13.0, numpy 2.4.6, numba 0.68.1 on Python 3.11: no error. The tensor's version stays 0 and the gradient is
# computed from the new numbers: [100. 100. 100.] where it should be [0. 1. 2.]. The same write by mul_ raises. After
# torch.autograd.graph.increment_version(tensor) the loop's write raises as well, so whoever writes from outside has to say so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 numba==0.68.1
"$folder/venv/bin/python" - <<'PY'
import numba
import numpy as np
import torch


@numba.njit
def overwrite(rows):
    for k in range(len(rows)):
        rows[k] = 100.0


def gradient(write):
    weight, features = torch.ones(3, requires_grad=True), torch.arange(3.0)
    loss = (weight * features).sum()  # the backward pass needs the features as they are now
    write(features)
    try:
        loss.backward()
    except RuntimeError as error:
        return features._version, "raised" if "inplace operation" in str(error) else str(error)
    return features._version, weight.grad.tolist()


def told(features):
    overwrite(features.numpy())
    torch.autograd.graph.increment_version(features)


seen = {
    "by torch": gradient(lambda features: features.mul_(0).add_(100)),
    "by a numba loop": gradient(lambda features: overwrite(features.numpy())),
    "by a numba loop that says so": gradient(told),
}
for how, (version, result) in seen.items():
    print(f"written {how}: version {version}, gradient {result}")
assert seen["by torch"] == (2, "raised")
assert seen["by a numba loop"] == (0, [100.0, 100.0, 100.0])
assert seen["by a numba loop that says so"] == (1, "raised")
PY
