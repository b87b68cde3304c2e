"""A page in headless Chromium, driven over its DevTools pipe: JSON messages, each with a NUL behind it.

The pipe needs no WebSocket and no port: Chromium reads commands from descriptor 3 and answers on 4.
"""

import fcntl
import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from earkit.benchmarks.chromium import Chromium
from earkit.runtime.errors import EarkitError

SECONDS = 120.0  # for an answer: a machine under load is slow
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # which containers and root do not allow; only pages of our own are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
)
_COMMANDS, _ANSWERS = 3, 4


class Page:
    """A page of a running browser."""

    def __init__(self, commands: int, answers: int, log: Path) -> None:
        self._commands, self._answers, self._log = commands, answers, log
        self._number, self._received, self._session = 0, b"", ""
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def go(self, address: str) -> None:
        """Open an address, and wait until it is loaded."""
        failure = self._send("Page.navigate", url=address).get("errorText")
        if failure:
            raise EarkitError(f"Chromium does not open {address}: {failure}")
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str, *, seconds: float = SECONDS) -> Any:  # noqa: ANN401 - JSON
        """Give the value of an expression, of a promise when it is kept; both must be JSON."""
        made = self._send(
            "Runtime.evaluate",
            seconds,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in made:
            details = made["exceptionDetails"]
            said = details.get("exception", {}).get("description") or details["text"]
            raise EarkitError(f"the page failed at {expression[:80]!r}: {said}")
        return made["result"].get("value")

    def call(self, function: str, *arguments: Any, seconds: float = SECONDS) -> Any:  # noqa: ANN401 - JSON
        """Give what a function of JavaScript, written out, makes of arguments that are JSON."""
        given = ", ".join(json.dumps(argument) for argument in arguments)
        return self.evaluate(f"({function})({given})", seconds=seconds)

    def wait(self, condition: str, *, seconds: float = SECONDS) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            if time.monotonic() > end:
                raise EarkitError(f"the page did not come to {condition!r} within {seconds:g} s")
            time.sleep(0.05)

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files in an input, as a user does in the dialogue."""
        chosen = self._send("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        names = [str(file.resolve()) for file in files]
        self._send("DOM.setFileInputFiles", files=names, objectId=chosen["result"]["objectId"])

    def picture(self) -> bytes:
        """Give a PNG of the whole page, in base64."""
        made: str = self._send("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        return made.encode()

    def _send(self, method: str, seconds: float = SECONDS, **params: Any) -> dict[str, Any]:  # noqa: ANN401
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        try:
            _write(self._commands, json.dumps(message).encode() + b"\0")
            return self._answer(method, time.monotonic() + seconds)
        except (BrokenPipeError, EOFError) as error:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise EarkitError(f"Chromium ended: {said[-1] if said else 'it said nothing'}") from error

    def _answer(self, method: str, end: float) -> dict[str, Any]:
        """Wait for the answer to the last command; events in between are of no interest."""
        while True:
            *whole, self._received = self._received.split(b"\0")
            for message in map(json.loads, whole):
                if message.get("id") == self._number:
                    if "error" in message:
                        raise EarkitError(f"Chromium refuses {method}: {message['error']['message']}")
                    result: dict[str, Any] = message["result"]
                    return result
            if not select.select([self._answers], [], [], max(0.0, end - time.monotonic()))[0]:
                raise EarkitError(f"Chromium did not answer to {method} in time")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise EOFError
            self._received += more


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def headless(chromium: Chromium, *flags: str) -> Iterator[Page]:
    """Give a page of a browser of its own, with an empty profile; all of it ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "log"
        heard, commands = _pipe()
        answers, told = _pipe()
        arguments = [str(chromium.program), *_FLAGS, f"--user-data-dir={profile}", *flags]
        try:
            process = os.posix_spawn(
                chromium.program,
                arguments,
                chromium.environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT, 0o600),
                    (os.POSIX_SPAWN_DUP2, heard, _COMMANDS),
                    (os.POSIX_SPAWN_DUP2, told, _ANSWERS),
                ],
                setpgroup=0,
            )
        except OSError as error:
            raise EarkitError(f"{chromium.program} does not start: {error.strerror}") from error
        finally:
            os.close(heard)
            os.close(told)
        try:
            yield Page(commands, answers, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(commands)
            os.close(answers)


def _pipe() -> tuple[int, int]:
    """Give the two ends of a pipe, out of the way of the descriptors that Chromium wants."""
    low = os.pipe()
    reader, writer = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _ANSWERS + 1) for end in low)
    for end in low:
        os.close(end)
    return reader, writer
