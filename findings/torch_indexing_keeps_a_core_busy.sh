#!/bin/sh
# After a short look-up by a list of ids, torch keeps the other cores busy for milliseconds.
#
# Guess, written first: rows[ids] for some thousands of int64 ids, which takes some hundredths of a millisecond, is done by the
# calling thread alone (torch divides a simple operation from 32,768 numbers on), so the process uses no other core.
#
# Seen with torch 2.13.0 (its CPU build, OpenMP by libgomp), numpy 2.4.6 on Python 3.11, two threads: the guess is wrong for
# rows[ids] and rows.take(ids), and right for index_select. After each of those calls the other thread looks for more work for
# 4 to 5 ms of its core's time before it sleeps, so a loop of another library that begins then has one core less.
#     rows * 2                   the other threads' processor time is 0.0 ms
#     rows[ids]                  the other threads' processor time is 4.9 ms
#     rows.index_select(0, ids)  the other threads' processor time is 0.0 ms
#     rows.take(ids)             the other threads' processor time is 5.0 ms
#     numpy                      the other threads' processor time is 0.0 ms
# With OMP_WAIT_POLICY=PASSIVE, which has to be set before torch is loaded, all are below 0.1 ms: the second run below.
set -eu
unset OMP_WAIT_POLICY GOMP_SPINCOUNT
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/look.py" <<'PY'
import os
import time

import torch

active = os.environ.get("OMP_WAIT_POLICY") != "PASSIVE"
torch.set_num_threads(2)
rows, ids = torch.arange(6618), torch.randperm(6618)
calls = {
    "rows * 2": lambda: rows * 2,
    "rows[ids]": lambda: rows[ids],
    "rows.index_select(0, ids)": lambda: rows.index_select(0, ids),
    "rows.take(ids)": lambda: rows.take(ids),
    "numpy": lambda: rows.numpy()[ids.numpy()],
}
for name, call in calls.items():
    call()
    time.sleep(0.2)
    others = []
    for _ in range(30):
        all_threads, mine = time.process_time(), time.thread_time()
        call()
        time.sleep(0.03)  # the others' work, if any, goes on here
        others.append((time.process_time() - all_threads) - (time.thread_time() - mine))
    milliseconds = 1000 * sorted(others)[15]
    print(f"{name:26} the other threads' processor time is {abs(milliseconds):.1f} ms")
    busy = active and name in ("rows[ids]", "rows.take(ids)")
    assert (milliseconds > 0.3) == busy, name
PY
for policy in "" PASSIVE; do
  echo "OMP_WAIT_POLICY=$policy"
  env ${policy:+OMP_WAIT_POLICY=$policy} "$folder/venv/bin/python" "$folder/look.py"
done
