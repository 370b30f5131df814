"""A headless Chromium, driven over its DevTools protocol: JSON texts that end in a zero byte, through two pipes.

https://chromedevtools.github.io/devtools-protocol/ ; Chromium reads from file descriptor 3 and writes to 4.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "the tests of the page need Chromium: apt-get install -y chromium fonts-noto-cjk"
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root in a container has none
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # 64 MB in a container
    "--hide-scrollbars",
)
PATIENCE = 60.0  # seconds for any one answer; a loaded machine takes a few


class Chromium:
    """A browser process. `with Chromium(folder) as browser, browser.page() as page: …`

    Args:
        folder: For its profile.
    """

    def __init__(self, folder: Path) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None and "CI" not in os.environ:  # no package of Python's brings one: CI installs it, others may
            pytest.skip(MISSING)
        assert program is not None, MISSING
        child_reads, self._to = os.pipe()
        self._from, child_writes = os.pipe()
        # The shell moves the pipes to 3 and 4 and becomes the browser.
        move = f'exec "$0" "$@" 3<&{child_reads} 4>&{child_writes}'
        command = ["bash", "-c", move, program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, pass_fds=(child_reads, child_writes), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        os.close(child_reads)
        os.close(child_writes)
        self._buffer = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        os.close(self._to)
        os.close(self._from)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; what the browser tells meanwhile goes to `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        text = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while text:
            text = text[os.write(self._to, text) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self._read(deadline)
            if message.get("id") == self._count:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self.events.append(message)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self._from, 1 << 16)
            assert part, f"Chromium has ended, exit status {self._process.poll()}"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    @contextlib.contextmanager
    def page(
        self, *, language: str = "en-US", dark: bool = False, width: int = 1200, height: int = 900
    ) -> Iterator[Page]:
        """A page with a profile of its own: nothing is remembered from another one."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        agent = self.call("Browser.getVersion")["userAgent"]
        page.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        page.prefer(dark=dark)
        page.resize(width, height)
        yield page
        self.call("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """A tab. Expressions are JavaScript."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol, for this tab."""
        return self._browser.call(method, session=self._session, **params)

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, f"{expression}\n{answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true; it is looked at anew each 20 ms, in the page."""
        looking = f"""new Promise((resolve) => {{
            const end = performance.now() + {seconds * 1000};
            const look = () => {{
                if ({expression}) resolve(true);
                else if (performance.now() > end) resolve(false);
                else setTimeout(look, 20);
            }};
            look();
        }})"""
        assert self.run(looking), (
            f"did not come true within {seconds:g} s: {expression}\n{self.run('document.body.innerText')}"
        )

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector: str) -> str:
        """What the first such element shows."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def drop(self, name: str, kind: str, data: bytes, selector: str = "#zone") -> None:
        """Drop a file on an element, as a browser does it: dragover, then drop."""
        text = base64.b64encode(data).decode()
        self.run(f"""(() => {{
            const bytes = Uint8Array.from(atob("{text}"), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], {json.dumps(name)}, {{ type: {json.dumps(kind)} }}));
            for (const type of ["dragover", "drop"]) {{
                const event = new DragEvent(type, {{ bubbles: true, cancelable: true, dataTransfer }});
                document.querySelector({json.dumps(selector)}).dispatchEvent(event);
            }}
        }})()""")

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def type(self, selector: str, text: str) -> None:
        """Go to a field and type."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key, such as `press("Tab", 9)`."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def prefer(self, *, dark: bool) -> None:
        """The system's colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, width: int, height: int, *, scale: float = 1.0, touch: bool = False) -> None:
        """The window's size in CSS pixels; `touch` = a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the window, or of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def requested(self) -> list[str]:
        """Every address that this tab asked for."""
        self.run("1")  # whatever was told before this answer has arrived
        return [event["params"]["request"]["url"] for event in self._told("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """Errors in its scripts, and what the browser blocked: the content security policy among it."""
        self.run("1")
        thrown = [str(event["params"]["exceptionDetails"]) for event in self._told("Runtime.exceptionThrown")]
        logged = [event["params"]["entry"] for event in self._told("Log.entryAdded")]
        return thrown + [str(entry) for entry in logged if entry["level"] == "error" and entry["source"] != "network"]

    def _told(self, method: str) -> list[dict[str, Any]]:
        return [
            one for one in self._browser.events if one.get("method") == method and one.get("sessionId") == self._session
        ]
