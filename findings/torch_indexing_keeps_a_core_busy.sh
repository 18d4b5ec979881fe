#!/bin/sh
# After a short look-up by a list of ids, torch keeps the other cores busy for milliseconds.
#
# Guess, written first: rows[ids] for some thousands of int64 ids, which takes some hundredths of a millisecond, is done by the
# calling thread alone (torch divides a simple operation from 32,768 numbers on), so the process uses no other core.
#
# Seen with SEEN
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/look.py" <<'PY'
import time

import torch

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
    own, others = [], []
    for _ in range(30):
        all_threads, mine, start = time.process_time(), time.thread_time(), time.perf_counter()
        call()
        own.append(time.perf_counter() - start)
        time.sleep(0.03)  # the others' work, if any, goes on here
        others.append((time.process_time() - all_threads) - (time.thread_time() - mine))
    own, others = (1000 * sorted(times)[15] for times in (own, others))
    print(f"{name:26} takes {own:.3f} ms; the other threads' processor time is {others:.2f} ms")
    busy = others > 0.5
    assert busy == EXPECTED[name], name
PY
