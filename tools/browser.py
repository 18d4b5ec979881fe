"""Headless Chromium over its own debugging pipe: nothing is installed beside the browser, and no port is opened.

>>> with Browser() as browser:
...     page = browser.page(width=1280)
...     page.open(Path("_build/html/index.html"))
...     page.run("document.title")

The network is cut: every name resolves to nothing, and what a page asked for all the same stands in ``page.requests``.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["Browser", "BrowserError", "Page", "chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class BrowserError(RuntimeError):
    """What the browser refused, or a script that threw."""


def chromium() -> str | None:
    """The browser's program: ``$CHROMIUM``, or what is on the path; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A running Chromium. Leave the ``with`` block, and it and its profile are gone.

    Raises
    ------
    BrowserError
        There is no Chromium, or it ended or stayed silent for ``patience`` seconds.
    """

    def __init__(self, patience: float = 60.0) -> None:
        program = chromium()
        if program is None:
            raise BrowserError("there is no Chromium here; install it (Debian: apt-get install chromium) or set CHROMIUM to it")
        self.patience, self.last, self.unread = patience, 0, b""
        self.events: list[dict[str, Any]] = []
        self.profile = tempfile.mkdtemp(prefix="book-browser-")
        switches = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-extensions", "--disable-component-update", "--disable-background-networking",
            "--disable-sync", "--mute-audio", "--force-color-profile=srgb", "--allow-file-access-from-files",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={self.profile}", "--remote-debugging-pipe",
        ]  # fmt: skip
        (theirs_in, self.write_end), (self.read_end, theirs_out) = os.pipe(), os.pipe()
        far = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]  # away from 3 and 4
        os.close(theirs_in)
        os.close(theirs_out)
        # Chromium reads commands from file 3 and answers on file 4.
        shell = 'exec "$0" "$@" 3<&{0} 4>&{1} {0}<&- {1}>&-'.format(*far)
        self.process = subprocess.Popen(
            ["bash", "-c", shell, program, *switches, "about:blank"],
            pass_fds=far, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in far:
            os.close(end)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _message(self, until: float) -> dict[str, Any] | None:
        """The next message, None after ``until``."""
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.read_end], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            if not (more := os.read(self.read_end, 1 << 20)):
                raise BrowserError("the browser ended")
            self.unread += more
        first, _, self.unread = self.unread.partition(b"\0")
        return json.loads(first)

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer; events that come meanwhile are kept."""
        self.last += 1
        asked = {"id": self.last, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self.write_end, data) :]
        until = time.monotonic() + self.patience
        while (message := self._message(until)) is not None:
            if message.get("id") == self.last:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error'].get('message')}")
                return message["result"]
            self.events.append(message)
        raise BrowserError(f"{method}: no answer within {self.patience:.0f} s")

    def wait(self, session: str, *methods: str) -> dict[str, Any]:
        """The next event of that name, from those kept or still to come."""
        until = time.monotonic() + self.patience
        while True:
            for n, event in enumerate(self.events):
                if event.get("sessionId") == session and event.get("method") in methods:
                    return self.events.pop(n)
            if (message := self._message(until)) is None:
                raise BrowserError(f"no {' or '.join(methods)} within {self.patience:.0f} s")
            self.events.append(message)

    def page(self, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> Page:
        return Page(self, width, height, dark, phone)


class Page:
    """One tab. ``files`` lists what it read from disk, ``requests`` what it asked of the network, ``errors`` what its scripts
    and the console complained of."""

    def __init__(self, browser: Browser, width: int, height: int, dark: bool, phone: bool) -> None:
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        self.files: list[str] = []
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.look(width, height, dark, phone)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **parameters)

    def look(self, width: int, height: int = 900, dark: bool = False, phone: bool = False, still: bool = False) -> None:
        """How wide the window is, whether the reader prefers a dark page, and whether moving things should stand still."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        wishes = {"prefers-color-scheme": "dark" if dark else "light"} | ({"prefers-reduced-motion": "reduce"} if still else {})
        self.call("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in wishes.items()])

    def open(self, address: Path | str, quiet: float = 0.0) -> None:
        """Load a file or an address, and wait until MathJax and the fonts are done, and ``quiet`` seconds more."""
        self.files, self.requests, self.errors = [], [], []
        self.browser.events = [e for e in self.browser.events if e.get("sessionId") != self.session]
        self.call("Page.navigate", url=address.resolve().as_uri() if isinstance(address, Path) else address)
        self.browser.wait(self.session, "Page.loadEventFired")
        self.run(
            "(async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; await document.fonts.ready;"
            f" await new Promise(done => setTimeout(done, {int(quiet * 1000)})) }})()"
        )
        self.listen()

    def listen(self) -> None:
        """Sort what has happened into ``requests`` and ``errors``."""
        others = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                others.append(event)
                continue
            method, told = event["method"], event.get("params", {})
            if method == "Network.requestWillBeSent":
                url = told["request"]["url"]
                if url.startswith("file:"):
                    self.files.append(url)
                elif not url.startswith(("data:", "blob:", "about:")):
                    self.requests.append(url)
            elif method == "Runtime.exceptionThrown":
                detail = told["exceptionDetails"]
                self.errors.append(detail.get("exception", {}).get("description") or detail["text"])
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
                self.errors.append(" ".join(str(a.get("value", a.get("description", ""))) for a in told["args"]))
            elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
                self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}".strip())
        self.browser.events = others

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise; it must be plain JSON.

        Raises
        ------
        BrowserError
            The script threw.
        """
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            detail = done["exceptionDetails"]
            raise BrowserError(detail.get("exception", {}).get("description") or detail["text"])
        return done["result"].get("value")

    def press(self, key: str, code: int = 0) -> None:
        """A key, as ``press("Tab", 9)``: down and up."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, file: Path) -> None:
        """A screenshot of the window as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)
