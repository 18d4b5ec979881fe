"""What every test run needs, so that the bare commands `pytest` and `pytest --nbval book/` work in a fresh clone."""

import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools import same_name  # noqa: E402
from tools.runner import STORED_UNDER  # noqa: E402

# Before anything imports torch or numpy: the tests, too, get the same numbers whatever the machine's cores.
for name in STORED_UNDER:
    if name.endswith("_NUM_THREADS"):
        os.environ.setdefault(name, STORED_UNDER[name])


def pytest_configure(config: pytest.Config) -> None:
    if wrong := same_name.problem():
        raise pytest.UsageError(wrong)
    option = config.option
    if not re.search(r"(?<!not )\bcuda\b", option.markexpr or ""):
        # The tests speak of the CPU: device="auto" must not find a card. `pytest -m cuda` is what tries one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if getattr(option, "nbval", False) or getattr(option, "nbval_lax", False):
        os.environ.update(STORED_UNDER)  # for the kernels: the chapters' outputs were stored like this
        os.environ.pop("MPLBACKEND", None)  # a backend set outside would keep the figures out of the notebooks
        if not option.nbval_kernel_name:
            option.nbval_current_env = True  # this Python, whatever the kernels of this machine are called
        option.nbval_sanitize_with = option.nbval_sanitize_with or str(ROOT / "tests" / "book" / "sanitize.cfg")
        if option.nbval_cell_timeout == 2000:  # nbval's default: half an hour before a hanging cell is noticed
            option.nbval_cell_timeout = 600
