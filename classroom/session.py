"""A submission as the grader sees it: cells that ran or did not, and functions that can be called. It outlives its worker."""

import json
import os
import secrets
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from classroom import wire
from classroom.sandbox import Limits, Process, in_words
from classroom.worker import MOST_CREDIT

GRACE = 5.0  # seconds after the worker's own alarm before it is killed
LONGEST_LINE = 64 << 20
MOST_STARTS = 6


class Wrong(Exception):
    """A test that is not passed; the text is for the student, and names no hidden value."""


class NoProcess(Exception):
    """No worker could be started at all: the grader's trouble, and nobody's 0."""


class Died(Exception):
    """The worker is gone, or does not answer."""


@dataclass
class Cell:
    """One cell to run: what it is called in messages, its code, and what became of it."""

    name: str
    code: str
    error: str | None = None
    kind: str | None = None
    output: str = ""
    ran: bool = False


@dataclass
class Session:
    """Runs ``cells`` in a worker, restarts it where one of them ends it, and calls what they define."""

    cells: Sequence[Cell]
    limits: Limits = field(default_factory=Limits)
    broken: dict[str, str] = field(default_factory=dict)  # names whose call ended a worker, and how
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process: Process | None = None
        self.starts = 0
        self.until = time.monotonic() + self.limits.total_seconds
        self.last = self.until + MOST_CREDIT * self.limits.total_seconds
        self.buffer = b""
        self.after: list[Any] = []
        self.number = 0
        self.process_gave_up = False

    # ------------------------------------------------------------ the worker

    def start(self) -> None:
        """A worker that has run every cell that can be run. Died if there is no time or no start left."""
        while self.process is None:
            if self.starts >= MOST_STARTS or time.monotonic() > self.until:
                self.process_gave_up = True
                raise Died("the submission was given up: it ended its process too often, or used up its time")
            self.starts += 1
            try:
                self.process, self.buffer = Process(self.limits), b""
            except OSError as problem:
                raise NoProcess(f"no process could be started: {problem}") from None
            able = [(n, cell.name, cell.code) for n, cell in enumerate(self.cells) if cell.kind not in ("time", "death")]
            order = {
                "cells": able,
                "path": self.process.path,
                "cell_seconds": self.limits.cell_seconds,
                "id": self.token(),
                "memory": self.limits.memory,
                "file_size": self.limits.file_size,
                "processes": self.process.processes,
            }
            running: int | None = None
            try:
                self.send(order)
                while True:
                    message = self.receive((self.limits.cell_seconds if running is not None else 60) + GRACE)
                    if "start" in message:
                        running = int(message["start"])
                    elif "done" in message:
                        cell = self.cells[int(message["done"])]
                        cell.ran, cell.error, cell.kind = True, message["error"], message["kind"]
                        cell.output = str(message["output"])
                        if message["dropped"]:
                            self.remarks.append(
                                f"{cell.name} printed {message['dropped']:,} characters too many; they were dropped"
                            )
                        running = None
                    elif message.get("ready"):
                        break
            except (Died, KeyError, IndexError, TypeError, ValueError) as problem:
                self.stop()
                if running is None and not any(cell.ran for cell in self.cells):
                    raise NoProcess(f"what was started did not answer; {in_words()}") from None
                if running is not None and 0 <= running < len(self.cells):
                    cell = self.cells[running]
                    cell.kind, cell.error, cell.ran = (
                        "death",
                        f"it ended the whole process or never came back ({problem})",
                        True,
                    )

    def stop(self) -> None:
        if self.process is not None:
            self.process.end()
            self.process = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def token(self) -> str:
        """A new word that every answer must carry: what a submission writes into the pipe by itself counts for nothing."""
        self.word = secrets.token_hex(8)
        return self.word

    def send(self, message: dict[str, Any]) -> None:
        assert self.process is not None
        rest = json.dumps(message).encode() + b"\n"
        os.set_blocking(self.process.target, False)
        until = time.monotonic() + 20
        while rest:
            if not select.select([], [self.process.target], [], max(0, until - time.monotonic()))[1]:
                raise Died("it did not listen")
            try:
                rest = rest[os.write(self.process.target, rest) :]
            except OSError:
                raise Died("it ended") from None

    def receive(self, seconds: float) -> dict[str, Any]:
        assert self.process is not None
        until = min(time.monotonic() + seconds, self.until)
        most = MOST_CREDIT * seconds
        while True:
            while b"\n" not in self.buffer:
                left = until - time.monotonic()
                if left <= 0:  # what went by while other programs had the processor is given back, as the worker does
                    credit = min(self.process.waited() - self.process.given_back, most)
                    if credit > 0.05:
                        self.process.given_back += credit
                        most, self.until = most - credit, min(self.until + credit, self.last)
                        until = min(until + credit, self.last)
                        continue
                if left <= 0 or len(self.buffer) > LONGEST_LINE:
                    raise Died("no answer in time")
                if select.select([self.process.source], [], [], left)[0]:
                    piece = os.read(self.process.source, 1 << 20)
                    if not piece:
                        raise Died("it ended")
                    self.buffer += piece
            line, self.buffer = self.buffer.split(b"\n", 1)
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict) and message.get("id") == self.word:
                return message
            if time.monotonic() > until:
                raise Died("no answer in time")

    # ------------------------------------------------------------ what tests use

    def ask(self, name: str, *, call: bool, arguments: tuple[Any, ...] = (), seconds: float | None = None) -> Any:
        """The value of a name, or of calling it. Wrong, in words, if that is not to be had."""
        if name in self.broken:
            raise Wrong(self.broken[name])
        seconds = seconds or self.limits.call_seconds
        try:
            self.start()
            sent = [wire.encode(argument) for argument in arguments]
            self.send({"name": name, "call": call, "arguments": sent, "seconds": seconds, "id": self.token()})
            reply = self.receive(seconds + GRACE)
            if "missing" in reply:
                raise Wrong(f"`{name}` is not defined")
            if "kind" in reply:
                raise Wrong(f"`{name}` gave {str(reply['kind'])[:200]}")
            if "error" in reply:
                if str(reply["error"]).startswith("stopped after"):
                    self.broken[name] = f"`{name}` did not come back within {seconds:g} s"
                    raise Wrong(self.broken[name])
                raise Wrong(f"`{name}` stopped: {reply['error']}")
            value = wire.decode(reply["value"])
            self.after = [wire.decode(argument) for argument in reply.get("after", [])]
            return value
        except (Died, KeyError, TypeError, ValueError, RecursionError) as problem:
            self.stop()
            self.broken[name] = f"`{name}` ended the process, or never came back ({problem})"
            raise Wrong(self.broken[name]) from None

    def call(self, name: str, *arguments: Any, seconds: float | None = None) -> Any:
        """What the submission's function returns; ``after`` then holds the arguments as it left them."""
        return self.ask(name, call=True, arguments=arguments, seconds=seconds)

    def get(self, name: str) -> Any:
        """The value of one of the submission's names."""
        return self.ask(name, call=False)


class Local:
    """The same for a namespace that is at hand: a solution, or a notebook that nbgrader has just run."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.after: list[Any] = []
        self.number = namespace.get("STUDENT", 0)

    def get(self, name: str) -> Any:
        if name not in self.namespace:
            raise Wrong(f"`{name}` is not defined")
        return self.through(self.namespace[name])

    def call(self, name: str, *arguments: Any, seconds: float | None = None) -> Any:
        if not callable(self.namespace.get(name)):
            raise Wrong(f"`{name}` is not a function")
        given = [wire.decode(wire.encode(argument), tensors=True) for argument in arguments]
        try:
            value = self.namespace[name](*given)
        except Exception as problem:
            raise Wrong(f"`{name}` stopped: {type(problem).__name__}: {problem}") from None
        self.after = [self.through(argument) for argument in given]
        return self.through(value)

    @staticmethod
    def through(value: Any) -> Any:
        try:
            return wire.decode(wire.encode(value))
        except TypeError as problem:
            raise Wrong(f"it is {problem}") from None
