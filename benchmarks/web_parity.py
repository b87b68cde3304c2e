"""Model files in Chromium beside Python on the same machine: whether they agree, and what the browser costs.

    python -m earkit.benchmarks.web_parity MODEL.onnx …

Prints a row for each model and number of threads. `make test-web` checks what stands in it.
"""

import argparse
import base64
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earkit.benchmarks.chromium import find_chromium
from earkit.benchmarks.devtools import Page, headless
from earkit.benchmarks.web_page import serving, vendor
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import EarkitError
from earkit.runtime.machine import machine
from earkit.runtime.trial_sounds import sounds

Samples = NDArray[np.float32]

SECONDS = (0.3, 1.0, 2.5, 10.0)
RUNS = 15

_RUN = """
async (clips, threads) => {
  const { Embedder, loadRuntime } = await import("./embedder.js");
  const runtime = await loadRuntime("wasm", threads);
  const bytes = await (await fetch("model.onnx")).arrayBuffer();
  const begin = performance.now();
  const embedder = await Embedder.open(runtime, bytes, "model.onnx");
  const opened = performance.now() - begin;
  const audio = clips.map((text) =>
    new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer));
  const alone = [];
  for (const clip of audio) alone.push(await embedder.hear(clip));
  const together = await embedder.embed(audio);
  globalThis.timed = async () => (await embedder.hear(audio.at(-1))).milliseconds;
  return {
    alone: alone.map(({ embedding }) => Array.from(embedding)),
    tokens: alone.flatMap(({ tokens }) => tokens),
    together: together.map((row) => Array.from(row)),
    opened,
  };
}
"""


@dataclass(frozen=True)
class Parity:
    """One model in the browser. Differences are of embeddings, and largest ones."""

    precision: str
    threads: int
    megabytes: float
    difference: float
    """To Python's."""
    difference_together: float
    """Of clips in one padded batch to the same clips alone."""
    cosine: float
    """The least, to Python's and to a batch's."""
    tokens: float
    """Share of tokens that are Python's; 1 where the model has none."""
    opened: float
    """Milliseconds to open the file."""
    milliseconds: float
    """Per second of audio, for a clip of 10 s, median."""
    times_python: float
    """How many times as long as Python takes with as many threads, median of runs that took turns."""


def compare(browser: Page, address: str, model: Path, threads: int) -> Parity:
    """Run clips of 0.3 to 10 s through a model that is served as `model.onnx` at `address`."""
    browser.go(address)  # anew: a page has one number of threads
    if not browser.evaluate("crossOriginIsolated"):
        raise EarkitError(f"{address} is not cross-origin isolated, so that it has one thread")
    clips = sounds(SECONDS)
    made = browser.call(_RUN, [in_base64(clip) for clip in clips], threads)
    embedder = Embedder.load(model, threads=threads)
    wanted = embedder.embed(clips, 16_000)
    alone, together = np.array(made["alone"]), np.array(made["together"])
    times, python = _take_turns(browser, embedder, clips[-1])
    return Parity(
        precision=embedder.info.precision,
        threads=threads,
        megabytes=model.stat().st_size / 1e6,
        difference=float(np.abs(alone - wanted).max()),
        difference_together=float(np.abs(together - alone).max()),
        cosine=min(least_cosine(alone, wanted), least_cosine(alone, together)),
        tokens=_equal(made["tokens"], embedder, clips),
        opened=made["opened"],
        milliseconds=statistics.median(times) / SECONDS[-1],
        times_python=statistics.median(a / b for a, b in zip(times, python, strict=True)),
    )


def _take_turns(browser: Page, embedder: Embedder, clip: Samples) -> tuple[list[float], list[float]]:
    """Time one clip in the browser and in Python, in milliseconds; what else runs disturbs both alike."""
    times, python = [], []
    for _ in range(RUNS):
        times.append(browser.evaluate("timed()"))
        begin = time.perf_counter()
        embedder.embed(clip, 16_000)
        python.append(1000 * (time.perf_counter() - begin))
    return times, python


def _equal(tokens: Sequence[int], embedder: Embedder, clips: Sequence[Samples]) -> float:
    if "tokens" not in embedder.info.outputs:
        return 1.0
    wanted = np.concatenate(embedder.embed(list(clips), 16_000, output="tokens"))
    return float(np.mean(np.array(tokens) == wanted)) if len(tokens) == len(wanted) else 0.0


def in_base64(data: Samples | bytes) -> str:
    """Write samples, or the bytes of a file, so that they fit in JSON."""
    return base64.b64encode(data if isinstance(data, bytes) else data.tobytes()).decode()


def least_cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Give the least cosine between rows of the same place."""
    return float(((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).min())


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m earkit.benchmarks.web_parity", description="Model files in Chromium, beside Python."
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    chosen = parser.parse_args()
    try:
        page, chromium = vendor(), find_chromium()
        print(
            "| file | MB | threads | off by | in a batch | cosine | tokens | opened | 1 s of audio | Python |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for model in chosen.models:
            with headless(chromium) as browser, serving(page, model) as address:
                for threads in (1, 2):
                    print(row(model, compare(browser, address, model, threads)), flush=True)
        print(f"\nOn {machine()}.")
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def row(model: Path, made: Parity) -> str:
    """Write a row of the table."""
    return (
        f"| `{model.name}` | {made.megabytes:.2f} | {made.threads} | {made.difference:.1e} "
        f"| {made.difference_together:.1e} | {made.cosine:.6f} | {made.tokens:.1%} | {made.opened:.0f} ms "
        f"| {made.milliseconds:.2f} ms | x {made.times_python:.1f} |"
    )


if __name__ == "__main__":
    main()
