"""`kit stream`: raw PCM on stdin becomes frames and tokens on stdout while it comes."""

import json
import signal
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from earkit.cli.progress import say

if TYPE_CHECKING:
    from earkit.runtime.stream import StreamFrames

BLOCK = 1 << 16  # bytes read at most at a time; what is there is read at once


def stream(
    model: Annotated[
        Path | None,
        typer.Option(help="Step graph, or a run that has one; without it, the newest of all runs."),
    ] = None,
    rate: Annotated[int, typer.Option(help="Samples per second; others than 16000 are resampled.")] = 16_000,
    channels: Annotated[int, typer.Option(help="Interleaved; more than one are averaged.")] = 1,
    pcm: Annotated[
        Literal["s16", "f32"],
        typer.Option("--format", help="16-bit integers or 32-bit floats, little-endian."),
    ] = "s16",
    step_ms: Annotated[
        int, typer.Option("--step", help="Milliseconds computed at once, a multiple of 40.")
    ] = 80,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Tokens alone; what is printed without --json, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, with tokens and frames.")] = False,
) -> None:
    """Hear raw PCM on stdin: arecord -f S16_LE -r 16000 | kit stream.

    One line for all frames that come out together: the second at which the first begins, and tokens.
    """
    from earkit.runtime.errors import ConfigError
    from earkit.runtime.pcm import PCM
    from earkit.runtime.streaming_model import StreamingModel

    if sys.stdin.isatty():
        raise ConfigError("kit stream hears what is piped into it: arecord -f S16_LE -r 16000 | kit stream")
    loaded = StreamingModel.load(model)
    if "tokens" not in loaded.no_frames and (tokens or not as_json):
        raise ConfigError(f"{loaded.path} has no tokens: print its frames with --json, without --tokens")
    heard, bytes_heard = loaded.stream(rate, channels=channels, step_ms=step_ms), PCM(pcm, channels)
    say(f"frames come at most {heard.latency_ms / 1000:.2f} s after their sound")

    def show(given: "StreamFrames") -> None:
        if len(given):
            print(_json(given, frames=not tokens) if as_json else _text(given), flush=True)

    def finish() -> None:
        show(heard.flush())
        if bytes_heard.left:
            say(f"left out at the end: {bytes_heard.left} bytes, which are no whole sample of {pcm}")

    try:
        for data in _read(cast(BufferedReader, sys.stdin.buffer)):
            show(heard.push(bytes_heard.decode(data)))
    except KeyboardInterrupt:
        finish()
        raise
    finish()


def _read(file: BufferedReader) -> Iterator[bytes]:
    """Give what there is as soon as it is there; Ctrl-C interrupts the waiting, and nothing else."""
    waiting = interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        if waiting:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        while not interrupted:
            waiting = True
            data = file.read1(BLOCK)
            waiting = False
            if not data:
                return
            yield data
        raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)


def _text(given: "StreamFrames") -> str:
    assert given.tokens is not None
    return f"{given.seconds:.2f}  {' '.join(map(str, given.tokens))}"


def _json(given: "StreamFrames", *, frames: bool) -> str:
    line: dict[str, object] = {"start": given.start, "seconds": given.seconds}
    if given.tokens is not None:
        line["tokens"] = given.tokens.tolist()
    if given.frames is not None and frames:
        line["frames"] = given.frames.astype("float64").round(6).tolist()
    return json.dumps(line)
