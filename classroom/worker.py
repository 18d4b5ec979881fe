"""Runs one submission's cells, then its functions as the grader asks for them. This runs inside the sandbox.

It holds no test and no expected value, so there is nothing here to read or to forge: the grader sends arguments, gets
values back, and judges them outside. Messages are lines of JSON on two pipes of its own; what the cells print is theirs.
"""

import ast
import io
import json
import os
import re
import signal
import sys
import types
from typing import Any

MOST_CREDIT = 3  # times its limit may a cell or a call go on because others had the processor
MOST_OUTPUT = 20_000  # characters that are kept of what a cell prints


def waited() -> float:
    """Seconds for which this process could have run and got no processor; 0 where the system does not say."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class TimeUp(BaseException):
    """Not an Exception: `except Exception` in a submission does not catch it."""


class Capped(io.TextIOBase):
    """Keeps the first characters and counts the rest."""

    def __init__(self) -> None:
        self.text, self.dropped = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        room = max(0, MOST_OUTPUT - len(self.text))
        self.text += text[:room]
        self.dropped += max(0, len(text) - room)
        return len(text)

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        pass


def limit(memory: int, file_size: int, processes: int) -> None:
    """Bounds on this process and its children, where the system has them."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in (
        ("RLIMIT_DATA", memory),
        ("RLIMIT_FSIZE", file_size),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_NPROC", processes),
    ):
        if hasattr(resource, name) and most >= 0:
            resource.setrlimit(getattr(resource, name), (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a full file is an OSError that can be told, not a death


def without_magics(code: str) -> str:
    """Lines that only a notebook understands (%matplotlib, !pip) as comments, if the cell cannot be read with them."""
    try:
        ast.parse(code)
        return code
    except SyntaxError:
        return re.sub(r"^(\s*)([%!].*|[\w.]+\?{1,2})$", r"\1pass  # \2", code, flags=re.M)


def told(error: BaseException, at: str, words: bool = True) -> str:
    """The error in one line, with the last line of the submission that it passed.

    Without its words where a test called: a submission could write what it was given into them, and read it in its feedback.
    """
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<cell"):
            line = f"{trace.tb_frame.f_code.co_filename[6:-1]}, line {trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        line = f"{at}, line {error.lineno}"
    text = str(error)[:300] if words else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}" + (f" ({line})" if line else "")


class Worker:
    def __init__(self, source: int, target: int) -> None:
        self.source = os.fdopen(source, "r", encoding="utf-8")
        self.target = os.fdopen(target, "w", encoding="utf-8")
        self.word = ""
        self.module = types.ModuleType("__main__")
        self.namespace: dict[str, Any] = self.module.__dict__
        sys.modules["__main__"] = self.module
        self.namespace["display"] = lambda *things, **_: print(*things)
        self.namespace["get_ipython"] = lambda: None
        self.waited_before = self.most_credit = 0.0
        signal.signal(signal.SIGALRM, self.alarm)

    def give(self, seconds: float) -> None:
        """So much time from now on. What goes by while other programs have the processor is given back, up to three times."""
        self.waited_before, self.most_credit = waited(), MOST_CREDIT * seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def alarm(self, *_: Any) -> None:
        credit = min(waited() - self.waited_before, self.most_credit)
        if credit > 0.05:
            self.waited_before += credit
            self.most_credit -= credit
            signal.setitimer(signal.ITIMER_REAL, credit)
            return
        signal.setitimer(signal.ITIMER_REAL, 1)  # once more, should a bare `except:` have swallowed it
        raise TimeUp

    def say(self, **message: Any) -> None:
        self.target.write(json.dumps({**message, "id": self.word}) + "\n")
        self.target.flush()

    def cell(self, number: int, name: str, code: str, seconds: float) -> str | None:
        """Run one cell; what kind of error it met, if any."""
        self.say(start=number)
        out = sys.stdout = sys.stderr = Capped()
        error = kind = None
        try:
            self.give(seconds)
            try:
                exec(compile(without_magics(code), f"<cell {name}>", "exec"), self.namespace)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except TimeUp:
            error, kind = f"stopped after {seconds:g} s", "time"
        except BaseException as problem:
            error, kind = told(problem, name), type(problem).__name__
        self.say(done=number, error=error, kind=kind, output=out.text, dropped=out.dropped)
        return kind

    def answer(self, request: dict[str, Any], wire: Any) -> dict[str, Any]:
        name = request["name"]
        if name not in self.namespace:
            return {"missing": name}
        value = self.namespace[name]
        if not request["call"]:
            return {"value": wire.encode(value)}
        if not callable(value):
            return {"error": f"`{name}` is a {type(value).__name__}, not a function"}
        arguments = [wire.decode(argument, tensors=True) for argument in request["arguments"]]
        self.give(request["seconds"])
        try:
            value = value(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            return {"value": wire.encode(value), "after": [wire.encode(argument) for argument in arguments]}
        except TypeError as problem:  # these words are the grader's own
            return {"kind": str(problem)}

    def serve(self) -> None:
        order = json.loads(self.source.readline())
        self.word = order["id"]
        sys.path[:0] = order["path"]
        limit(order["memory"], order["file_size"], order["processes"])
        cells, seconds = order["cells"], order["cell_seconds"]
        early = [(n, name, code) for n, name, code in cells if self.cell(n, name, code, seconds) == "NameError"]
        for n, name, code in early:  # it used what a later cell defines, as a notebook allows that is not run from the top
            self.cell(n, name, code, seconds)
        import wire  # late: NumPy's own start is the submission's, under its limits

        self.say(ready=True)
        for line in self.source:
            sys.stdout = sys.stderr = Capped()
            request = json.loads(line)
            self.word = request["id"]
            try:
                reply = self.answer(request, wire)
            except TimeUp:
                reply = {"error": f"stopped after {request['seconds']:g} s"}
            except BaseException as problem:
                reply = {"error": told(problem, request["name"], words=False)}
            self.say(**reply)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    Worker(int(sys.argv[1]), int(sys.argv[2])).serve()
