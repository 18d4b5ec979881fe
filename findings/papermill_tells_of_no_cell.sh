#!/bin/sh
# papermill's log at level INFO names the cell that runs only where it also logs what cells print.
#
# Guess, written first: `--log-level INFO` without a progress bar writes "Executing Cell 1---" for every cell, since that line
# is logged at INFO; `--log-output` adds what the cells print, as its name says.
#
# Seen with papermill 2.7.0 on Python 3.11: without `--log-output` there is no such line at all, at INFO or at DEBUG. A program
# that waits for it to know that the kernel is up waits until the notebook has ended: two notebooks that were meant to run side
# by side ran one after the other.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet papermill==2.7.0 ipykernel==7.1.0 nbformat==5.10.4
cd "$folder"
./venv/bin/python - <<'PY'
import subprocess
import sys
from importlib.metadata import version

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
nbformat.write(new_notebook(cells=[new_code_cell("1 + 1"), new_code_cell("2 + 2")], metadata={"kernelspec": kernel}), "two.ipynb")


def cells_told(*words):
    command = [sys.executable, "-m", "papermill", "two.ipynb", "out.ipynb", "-k", "python3", "--no-progress-bar", *words]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return said.count("Executing Cell")


seen = {words: cells_told(*words.split()) for words in ("--log-level INFO", "--log-level DEBUG", "--log-level INFO --log-output")}
print("papermill", version("papermill"))
for words, n in seen.items():
    print(f"{words}: {n} of 2 cells named")
assert list(seen.values()) == [0, 0, 2]
PY
