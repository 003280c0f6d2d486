"""A real headless Chromium, driven over its DevTools protocol through two pipes. Needs no other package."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingresskit.testing import pace

__all__ = ["Browser", "Page"]

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# The browser reads its orders at descriptor 3 and answers at 4.
_LAUNCH = """
import fcntl, os, sys
orders, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(orders, 3)
os.dup2(answers, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_DEADLINE = pace.within(30.0)


def _runs(program: str) -> bool:
    """Whether *program* is there, and is the browser rather than a note on how to install it."""
    path = shutil.which(program)
    if path is None:
        return False
    asked = [path, "--version", "--no-sandbox"]
    return subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Browser:
    """A running browser."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders = orders
        self._number = 0
        self._arrived: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._complaints: dict[str, list[str]] = {}
        self._reader = threading.Thread(target=self._read, args=(answers,))
        self._reader.start()

    @classmethod
    @contextmanager
    def running(cls, profile: Path) -> Generator[Browser]:
        """A browser for as long as the context is open, with *profile* as its folder."""
        program = next(filter(_runs, _PROGRAMS), None)
        if program is None:
            # Ubuntu has it as a snap only, which does not run in a container.
            pytest.skip("no Chromium runs on this machine, so no browser looks at the dashboard")
        (orders, to_orders), (from_answers, answers) = os.pipe(), os.pipe()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _LAUNCH,
                str(orders),
                str(answers),
                program,
                *_FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(orders, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(orders)
        os.close(answers)
        browser = cls(to_orders, from_answers)
        try:
            yield browser
        finally:
            browser.call("Browser.close")
            process.wait(_DEADLINE)
            browser._reader.join(_DEADLINE)
            os.close(to_orders)
            os.close(from_answers)

    @contextmanager
    def page(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Generator[Page]:
        """A page at *url*, with storage of its own. It fails the test if the page complained."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.call("Emulation.setEmulatedMedia", features=[scheme])
            page.call("Page.navigate", url=url)
            page.wait_for("document.readyState === 'complete'")
            yield page
            page.evaluate("1")  # so that complaints on their way have arrived
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)
        assert page.complaints == []

    def call(self, method: str, session: str = "", /, **parameters: object) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        self._number += 1
        order: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session:
            order["sessionId"] = session
        data = json.dumps(order).encode() + b"\0"
        while data:
            data = data[os.write(self._orders, data) :]
        end = time.monotonic() + _DEADLINE
        while True:
            message = self._arrived.get(timeout=max(0.01, end - time.monotonic()))
            assert message is not None, "the browser ended"
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

    def complaints_of(self, session: str) -> list[str]:
        return self._complaints.setdefault(session, [])

    def _read(self, answers: int) -> None:
        buffer = b""
        while data := os.read(answers, 1 << 20):
            *whole, buffer = (buffer + data).split(b"\0")
            for text in whole:
                message = json.loads(text)
                if "id" in message:
                    self._arrived.put(message)
                else:
                    self._note(message.get("sessionId", ""), message["method"], message["params"])
        self._arrived.put(None)

    def _note(self, session: str, method: str, parameters: Mapping[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            self.complaints_of(session).append(text)
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            entry = parameters["entry"]
            self.complaints_of(session).append(f"{entry['text']} {entry.get('url', '')}")


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints = browser.complaints_of(session)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever the page says
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:  # noqa: ANN401 - whatever the page says
        """The value of an expression once it is true."""
        end = time.monotonic() + _DEADLINE
        while True:
            if value := self.evaluate(expression):
                return value
            assert time.monotonic() < end, (
                f"never true: {expression}\n{self.complaints}\n{self.text('body')[:2000]}"
            )
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """The visible text of the first element that matches."""
        text: str = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return text

    def rows(self, selector: str) -> int:
        """How many elements match."""
        count: int = self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")
        return count

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press and release a key: ``"Tab"``, ``"Enter"``, ``"/"``."""
        codes = {"Tab": 9, "Enter": 13, "/": 191, " ": 32}
        text = {"Enter": "\r", "Tab": ""}.get(key, key)
        event = {"key": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self, path: Path) -> None:
        """Write what is visible as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
