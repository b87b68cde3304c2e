"""The page in examples/web: fetch what it needs, and serve it as browsers want it.

    python -m earkit.benchmarks.web_page [MODEL.onnx] [--port 8000]

onnxruntime-web comes from npm into examples/web/vendor, which git ignores; then the page is static files.
"""

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from earkit.benchmarks.packages import Package, fetch
from earkit.runtime.atomic import replacing
from earkit.runtime.errors import CheckpointError, ConfigError, DataError, EarkitError

PAGE = Path(__file__).parent.parent / "examples" / "web"
RUNTIME = Package("npm", "onnxruntime-web", "1.30.0")
FOLDER = "package/dist"
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": (
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
    ),
}
"""Name -> sha256: onnxruntime for WASM, then for WebGPU, which a page loads only on request."""

HEADERS = {
    # Both together isolate the page from other origins, without which browsers give it no threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",  # ask each time whether it changed
}


def vendor() -> Path:
    """Put onnxruntime-web beside the page, verified, and give the folder of the page."""
    if not PAGE.is_dir():
        raise DataError(f"there is no {PAGE}: the page is not installed, run this in a checkout of earkit")
    fetched = fetch(RUNTIME, {f"{FOLDER}/{name}": digest for name, digest in FILES.items()})
    for name in FILES:
        source, target = fetched / FOLDER / name, PAGE / "vendor" / name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            with replacing(target) as temporary:
                shutil.copyfile(source, temporary)
    return PAGE


@contextmanager
def serving(folder: Path, model: Path | None = None, port: int = 0) -> Iterator[str]:
    """Serve the page on loopback while the block runs, and give its address; port 0 is any free one."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, model, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} cannot be used ({error}): give another --port") from error
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 - as its base declares it
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def __init__(self, model: Path | None, *arguments: object, **settings: object) -> None:
        self._model = model
        super().__init__(*arguments, **settings)  # type: ignore[arg-type]  # as the server gives them

    def translate_path(self, path: str) -> str:
        """Find the model beside the page, wherever it really is."""
        if self._model and path.split("?", maxsplit=1)[0] == "/model.onnx":
            return os.fspath(self._model)
        return super().translate_path(path)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m earkit.benchmarks.web_page", description="Serve the page."
    )
    parser.add_argument("model", type=Path, nargs="?", help="a model file, which the page opens at once")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    try:
        if chosen.model and not chosen.model.is_file():
            raise CheckpointError(f"there is no model file {chosen.model}: make one with `kit export --web`")
        with serving(vendor(), chosen.model, chosen.port) as address:
            print(address, flush=True)
            print("Ctrl-C ends it", file=sys.stderr)
            threading.Event().wait()
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
