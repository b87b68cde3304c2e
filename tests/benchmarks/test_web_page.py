"""The page is served as browsers want it, with onnxruntime-web beside it that is what it should be."""

import hashlib
import re
import socket
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from earkit.benchmarks import web_page
from earkit.benchmarks.web_page import PAGE, serving, vendor
from earkit.runtime.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path) -> Path:
    page = tmp_path / "page"
    page.mkdir()
    for name in ("index.html", "page.js", "runtime.mjs", "runtime.wasm"):
        (page / name).write_text(name, encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    return page


def test_browsers_get_types_and_isolation(folder):
    types = {
        "": "text/html",
        "page.js": "text/javascript",
        "runtime.mjs": "text/javascript",
        "runtime.wasm": "application/wasm",
    }
    with serving(folder) as address:
        for name, kind in types.items():
            with urlopen(address + name) as answer:
                assert answer.read().decode() == (name or "index.html")
                assert answer.headers["Content-Type"] == kind
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def status(address: str) -> int:
    with pytest.raises(HTTPError) as refused:
        urlopen(address)
    refused.value.close()
    return refused.value.code


def test_a_model_lies_beside_the_page_and_nothing_else(folder, tmp_path):
    model = tmp_path / "elsewhere.onnx"
    model.write_bytes(b"weights")
    with serving(folder, model) as address, urlopen(address + "model.onnx?1") as answer:
        assert answer.read() == b"weights"
        for name in ("elsewhere.onnx", "../secret", "%2e%2e/secret", "vendor/"):
            assert status(address + name) == 404
    with serving(folder) as address:
        assert status(address + "model.onnx") == 404


def test_it_is_served_to_this_machine_alone_and_ends(folder):
    with serving(folder) as address:
        assert address.startswith("http://127.0.0.1:")
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"port {port} cannot be used"), serving(folder, port=port):
            pass
    with pytest.raises(ConfigError, match="port 70000 cannot be used"), serving(folder, port=70_000):
        pass
    with socket.socket() as again, pytest.raises(ConnectionRefusedError):
        again.connect(("127.0.0.1", port))


@pytest.fixture
def fetched(tmp_path, monkeypatch, folder) -> Path:
    """A package of one file, in place of onnxruntime-web."""
    package = tmp_path / "package"
    (package / "package" / "dist").mkdir(parents=True)
    (package / "package" / "dist" / "ort.mjs").write_text("ort", encoding="utf-8")
    digest = hashlib.sha256(b"ort").hexdigest()

    def fetch(asked: object, wanted: dict[str, str]) -> Path:
        assert asked == web_page.RUNTIME
        assert wanted == {"package/dist/ort.mjs": digest}
        return package

    monkeypatch.setattr(web_page, "fetch", fetch)
    monkeypatch.setattr(web_page, "FILES", {"ort.mjs": digest})
    monkeypatch.setattr(web_page, "PAGE", folder)
    return package


@pytest.mark.usefixtures("fetched")
def test_onnxruntime_is_put_beside_the_page_and_mended(folder):
    assert vendor() == folder
    file = folder / "vendor" / "ort.mjs"
    assert file.read_text(encoding="utf-8") == "ort"
    written = file.stat().st_mtime_ns
    vendor()
    assert file.stat().st_mtime_ns == written
    file.write_text("tampered", encoding="utf-8")
    vendor()
    assert file.read_text(encoding="utf-8") == "ort"


def test_without_the_page_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(web_page, "PAGE", tmp_path / "gone")
    with pytest.raises(DataError, match="the page is not installed"):
        vendor()


def test_the_page_asks_for_the_files_that_are_fetched():
    named = re.findall(r'"(ort[^"]+)"', (PAGE / "embedder.js").read_text(encoding="utf-8"))
    asked = {
        file
        for name in named
        for file in ([name] if name.endswith(".mjs") else [name + ".mjs", name + ".wasm"])
    }
    assert asked == set(web_page.FILES)


def test_the_page_has_nothing_of_other_hosts():
    for file in PAGE.glob("*.*"):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:", text), file
