"""The DevTools pipe, against a stand-in for Chromium that speaks it: a few lines of Python."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from earkit.benchmarks.chromium import Chromium
from earkit.benchmarks.devtools import Page, headless
from earkit.runtime.errors import EarkitError

# Reads commands from descriptor 3 and answers on 4; `Runtime.evaluate` is answered by Python's eval.
STAND_IN = """
import json, os, sys, time
def messages():
    held = b""
    while more := os.read(3, 4096):
        *whole, held = (held + more).split(b"\\0")
        yield from map(json.loads, whole)
def say(message):
    for byte in json.dumps(message).encode() + b"\\0":
        os.write(4, bytes([byte]))
def evaluate(text):
    try:
        return {"result": {"value": eval(text)}}
    except Exception as error:
        return {"result": {}, "exceptionDetails": {"text": "?", "exception": {"description": str(error)}}}
flags = sys.argv[1:]
for message in messages():
    params, number = message["params"], message["id"]
    say({"method": "Noise.happened", "params": {}})
    match message["method"]:
        case "Target.createTarget":
            say({"id": number, "result": {"targetId": "T"}})
        case "Target.attachToTarget":
            assert params["targetId"] == "T"
            say({"id": number, "result": {"sessionId": "S"}})
        case "Runtime.evaluate":
            assert message["sessionId"] == "S"
            say({"id": number, "result": evaluate(params["expression"])})
        case "Page.navigate":
            say({"id": number, "result": {"errorText": "net::ERR_CONNECTION_REFUSED"}})
        case other:
            say({"id": number, "error": {"message": f"no {other}"}})
"""


@pytest.fixture
def chromium(tmp_path) -> Callable[[str], Chromium]:
    def make(script: str) -> Chromium:
        program = tmp_path / "chromium"
        program.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
        program.chmod(0o755)
        return Chromium(program)

    return make


def test_values_come_back(chromium):
    with headless(chromium(STAND_IN), "--flag=1") as page:
        assert page.evaluate("[1 + 1, 'é\\n', None]") == [2, "é\n", None]
        assert page.evaluate("'--flag=1' in flags and '--remote-debugging-pipe' in flags") is True
        assert page.call("lambda a, b: a + [b]", [1, "x"], 2.5) == [1, "x", 2.5]
        large = "y" * 300_000  # more than a pipe holds
        assert page.call("lambda text: len(text)", large) == len(large)


def test_failures_are_sentences(chromium):
    with headless(chromium(STAND_IN)) as page:
        with pytest.raises(EarkitError, match=r"the page failed at '1/0': division by zero"):
            page.evaluate("1/0")
        with pytest.raises(EarkitError, match=r"Chromium refuses Page\.captureScreenshot: no Page"):
            page.picture()
        with pytest.raises(EarkitError, match="does not open http://x/: net::ERR_CONNECTION_REFUSED"):
            page.go("http://x/")
        assert page.evaluate("3") == 3


def test_waiting_ends(chromium):
    with headless(chromium(STAND_IN)) as page:
        page.evaluate("globals().update(end=time.monotonic() + 0.2)")
        page.wait("time.monotonic() > end", seconds=30)
        with pytest.raises(EarkitError, match=r"did not come to 'False' within 0\.1 s"):
            page.wait("False", seconds=0.1)
        with pytest.raises(EarkitError, match=r"did not answer to Runtime\.evaluate in time"):
            page.evaluate("time.sleep(20)", seconds=0.2)


def test_a_browser_that_ends_says_why(chromium):
    script = "import sys; print('noise\\nno usable sandbox', file=sys.stderr)"
    with pytest.raises(EarkitError, match=r"Chromium ended: no usable sandbox$"), headless(chromium(script)):
        pass


def test_one_that_does_not_start_is_told(tmp_path):
    missing = Chromium(tmp_path / "gone")
    with pytest.raises(EarkitError, match="gone does not start: No such file"), headless(missing):
        pass


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_nothing_stays_behind(chromium):
    before = open_descriptors()

    def profile_of(page: Page) -> Path:
        (flag,) = page.evaluate("[flag for flag in flags if flag.startswith('--user-data-dir=')]")
        return Path(flag.partition("=")[2])

    with headless(chromium(STAND_IN)) as page:
        process, profile = page.evaluate("os.getpid()"), profile_of(page)
        # A child of the browser, as its own are: killed with it.
        child = page.evaluate("__import__('subprocess').Popen(['sleep', '60']).pid")
        assert profile.is_dir()
    assert not profile.exists()
    assert not Path(f"/proc/{process}").exists()
    end = time.monotonic() + 10
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(child)
    assert open_descriptors() == before


def is_running(process: int) -> bool:
    """Whether there is such a process that has not ended; one that nobody waits for stays as a zombie."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
