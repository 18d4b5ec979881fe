"""The grader needs a Unix: its processes, signals and limits. On Windows these tests are left out; the book's are not."""

import sys

collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []
