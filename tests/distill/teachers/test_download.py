"""Downloads against a loopback server: whole, broken off, resumed, changed meanwhile."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from earkit.distill.teachers import download as module
from earkit.distill.teachers.download import download
from earkit.runtime.errors import ConfigError, StorageError, TeacherNotFoundError

CONTENT = bytes(range(256)) * 1000


class Server(ThreadingHTTPServer):
    """Serves one file; tests set how."""

    daemon_threads = True
    content = CONTENT
    tag: str | None = '"v1"'
    ranges = True
    cut: int | None = None  # break the connection after so many bytes
    status = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status:
            self.send_error(self.server.status)
            return
        start = 0
        if wanted and self.server.ranges and self.headers.get("If-Range") == self.server.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            total = len(self.server.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join(5)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    monkeypatch.setattr(module, "CHUNK", 10_000)
    return tmp_path / "made" / "file"


def break_off(server: Server, target: Path, after: int) -> None:
    server.cut = after
    with pytest.raises(TeacherNotFoundError, match=f"broke off after {after} of 256000 bytes"):
        download(server.url, target)
    assert not target.exists()
    server.cut = None


def left_beside(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir() if path != target]


def test_a_whole_file(server: Server, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(server.url, target, lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert seen[0] == (10_000, 256_000)
    assert seen[-1] == (256_000, 256_000)
    assert left_beside(target) == []


def test_it_goes_on_where_it_stopped(server: Server, target: Path) -> None:
    break_off(server, target, 100_000)
    seen: list[int] = []
    download(server.url, target, lambda done, _: seen.append(done))
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]
    assert seen[0] == 110_000
    assert left_beside(target) == []


def test_a_server_without_ranges_starts_anew(server: Server, target: Path) -> None:
    server.ranges = False
    break_off(server, target, 100_000)
    download(server.url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['W/"weak"', None])
def test_without_a_version_nothing_is_resumed(server: Server, target: Path, tag) -> None:
    server.tag = tag
    break_off(server, target, 100_000)
    download(server.url, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_a_file_that_changed_meanwhile_is_never_mixed(server: Server, target: Path) -> None:
    break_off(server, target, 100_000)
    server.content, server.tag = CONTENT[::-1], '"v2"'
    download(server.url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_part_that_is_whole_already(server: Server, target: Path) -> None:
    break_off(server, target, 100_000)
    target.with_name("file.part").write_bytes(CONTENT)
    download(server.url, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=256000-", None]


def test_what_ends_a_download(server: Server, target: Path) -> None:
    server.status = 404
    with pytest.raises(TeacherNotFoundError, match="answers 404"):
        download(server.url, target)
    with pytest.raises(TeacherNotFoundError, match="cannot be fetched"):
        download("http://127.0.0.1:1/file", target)
    with pytest.raises(ConfigError, match="no http"):
        download("file:///etc/passwd", target)
    server.status = 0
    (target.parent / "file.part").mkdir()
    with pytest.raises(StorageError, match="could not write"):
        download(server.url, target)
