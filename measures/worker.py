"""python -m measures.worker NAME: every case through one library, in the environment that has it; JSON on the last line."""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from typing import Any

from .adapters import CannotAsk
from .cases import CASES


def work(name: str) -> dict[str, Any]:
    """The library's version, and of each case its numbers, or why there are none. NaN is the text "nan"."""
    adapter, found = import_module(f".adapters.{name}", __package__), {}
    for case in CASES:
        try:
            values = {measure: round(value, 6) for measure, value in adapter.measure(case).items()}
            found[case.name] = {"values": {m: value if math.isfinite(value) else str(value) for m, value in values.items()}}
        except CannotAsk as reason:
            found[case.name] = {"cannot be asked": str(reason)}
        except Exception as error:  # what a user would see
            found[case.name] = {"raises": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
    installed = "as it is here" if name == "amrlib" else version(adapter.DISTRIBUTION)
    rivals = {"sampled": adapter.sampled()} if hasattr(adapter, "sampled") else {}
    return rivals | {"distribution": adapter.DISTRIBUTION, "version": installed, "cases": found}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):  # libraries that print
        result = work(sys.argv[1])
    print(json.dumps(result), flush=True)
    os._exit(0)  # some leave threads behind
