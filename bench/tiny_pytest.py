"""tests/cuda without pytest: enough of it for those files. ``python -m bench.tiny_pytest REPORT FOLDER [WORDS]``."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import itertools
import json
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["main"]


class Skipped(Exception):
    pass


class Mark:
    """``pytest.mark``: parametrize is noted on the function, everything else is nothing."""

    cuda = None

    @staticmethod
    def parametrize(names: str, values: list[Any]) -> Callable:
        def note(test: Callable) -> Callable:
            test.__dict__.setdefault("cases", []).append(([n.strip() for n in names.split(",")], list(values)))
            return test

        return note


class Told:
    value: BaseException


@contextlib.contextmanager
def raises(kind: type[BaseException], match: str = "") -> Iterator[Told]:
    told = Told()
    try:
        yield told
    except kind as error:
        told.value = error
        assert re.search(match, str(error)), f"{match!r} is not in {str(error)!r}"
    else:
        raise AssertionError(f"no {kind.__name__}")


class MonkeyPatch:
    def __init__(self) -> None:
        self.before: list[tuple[Any, str, Any]] = []

    def setattr(self, owner: Any, name: str, value: Any) -> None:
        self.before.append((owner, name, inspect.getattr_static(owner, name)))
        setattr(owner, name, value)

    def undo(self) -> None:
        for owner, name, value in reversed(self.before):
            setattr(owner, name, value)


def skip(reason: str) -> None:
    raise Skipped(reason)


def cases(test: Callable) -> Iterator[dict[str, Any]]:
    """Every combination of a test's parameters."""
    noted = getattr(test, "cases", [])
    for chosen in itertools.product(*(values for _, values in noted)):
        given: dict[str, Any] = {}
        for (names, _), value in zip(noted, chosen, strict=True):
            given |= dict(zip(names, value if len(names) > 1 else [value], strict=True))
        yield given


def run(test: Callable, given: dict[str, Any], fixtures: dict[str, Callable]) -> None:
    patch = MonkeyPatch()
    with tempfile.TemporaryDirectory() as folder:
        own = {"tmp_path": lambda: Path(folder), "monkeypatch": lambda: patch, **fixtures}
        try:
            test(**{name: own[name]() for name in inspect.signature(test).parameters if name not in given}, **given)
        finally:
            patch.undo()


def load(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"tiny_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(report: str, folder: str, words: str = "") -> int:
    stub: Any = types.ModuleType("pytest")
    stub.mark, stub.raises, stub.skip, stub.fixture = Mark, raises, skip, lambda function: function
    sys.modules["pytest"] = stub
    place = Path(folder).resolve()
    sys.path[:0] = [str(place), str(place.parent / "parity"), str(place.parents[1])]
    fixtures = {name: f for name, f in vars(load(place / "conftest.py")).items() if inspect.isfunction(f)}
    counts, failures = {"passed": 0, "failed": 0, "skipped": 0}, dict[str, str]()
    for path in sorted(place.glob("test_*.py")):
        for name, test in list(vars(load(path)).items()):
            if not name.startswith("test_") or (words and not any(word in name for word in words.split(" or "))):
                continue
            for number, given in enumerate(cases(test)):
                try:
                    run(test, given, fixtures)
                    kind = "passed"
                except Skipped:
                    kind = "skipped"
                except Exception as error:
                    kind, text = "failed", str(error).strip() or repr(error)
                    failures[f"{name}[{number}]"] = text.splitlines()[0][:300]
                counts[kind] += 1
    with open(report, "a", encoding="utf-8") as file:
        file.write(json.dumps({"tests": {"runner": "the bench's own", **counts, "failures": failures}}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
