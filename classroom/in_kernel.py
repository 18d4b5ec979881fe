"""The hidden tests where nbgrader runs them: at the end of a test cell, in the notebook's own kernel.

The cell's last value is the mark, a plain float as nbgrader wants it. AMR_COURSE names the course's folder. Here a submission
shares its process with the tests, and nothing keeps it in: `python -m classroom grade` is the safe way.
"""

import os
from pathlib import Path
from typing import Any

from classroom import hidden
from classroom.grade import secret_of
from classroom.session import Local


def mark(name: str, question: str, namespace: dict[str, Any]) -> float:
    """Points of one question for what stands in ``namespace``."""
    secret = secret_of(Path(os.environ.get("AMR_COURSE", ".")))
    return float(sum(row["got"] for row in hidden.mark(name, Local(namespace), secret, {question})))
