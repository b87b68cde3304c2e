"""`kit stream` as a person runs it; what a stream gives is tested where it lives."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from earkit.cli.stream import stream
from earkit.runtime.errors import AudioError, CheckpointError, ConfigError
from earkit.runtime.streaming_model import StreamingModel

SOUND = (np.random.default_rng(0).standard_normal(8000) * 3000).astype(np.int16)


def kit(*arguments: object, data: bytes = SOUND.tobytes()) -> Any:
    app = typer.Typer()
    app.command()(stream)
    return CliRunner().invoke(
        app, list(map(str, arguments)), input=data, catch_exceptions=False, standalone_mode=False
    )


def whole(step_graph: Path, sound: np.ndarray, rate: int = 16_000) -> tuple[np.ndarray, list[int]]:
    """Frames and tokens of the library."""
    made = StreamingModel.load(step_graph).stream(rate)
    given = [made.push(sound), made.flush()]
    return np.concatenate([x.frames for x in given]), np.concatenate([x.tokens for x in given]).tolist()


def test_it_prints_seconds_and_tokens(step_graph: Path) -> None:
    made = kit("--model", step_graph)
    lines = [line.split() for line in made.stdout.splitlines()]
    assert [float(line[0]) for line in lines] == [0, 0.46]  # all of half a second is there at once
    assert [int(each) for line in lines for each in line[1:]] == whole(step_graph, SOUND)[1]
    assert made.stderr == "frames come at most 0.10 s after their sound\n"


def joined(lines: Iterable[str | bytes], key: str) -> list[Any]:
    return list(chain.from_iterable(json.loads(line)[key] for line in lines))


@pytest.mark.parametrize("only_tokens", [False, True])
def test_json_lines(step_graph: Path, only_tokens: bool) -> None:
    made = kit("--model", step_graph, "--json", *["--tokens"] * only_tokens, "--step", 10)
    lines = [json.loads(line) for line in made.stdout.splitlines()]
    frames, tokens = whole(step_graph, SOUND)
    assert [(line["start"], line["seconds"]) for line in lines] == [(0, 0.0), (48, 0.48)]
    assert joined(made.stdout.splitlines(), "tokens") == tokens
    if only_tokens:
        assert all("frames" not in line for line in lines)
    else:
        np.testing.assert_allclose(joined(made.stdout.splitlines(), "frames"), frames, atol=2e-6)


def test_rate_channels_format_and_an_odd_end(step_graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "earkit")
    mono = (SOUND / 32_768).astype(np.float32)
    stereo = np.stack([mono + np.float32(0.25), mono - np.float32(0.25)], axis=1).astype("<f4")
    asked = ("--model", step_graph, "--json", "--rate", 8000, "--channels", 2, "--format", "f32")
    made = kit(*asked, data=stereo.tobytes() + b"\0\0\0\0\0")
    frames = joined(made.stdout.splitlines(), "frames")
    np.testing.assert_allclose(frames, whole(step_graph, mono, 8000)[0], atol=1e-5)
    assert "left out at the end: 5 bytes, which are no whole sample of f32" in made.stderr
    assert "a stream at 8000 Hz is resampled to 16000 Hz" in caplog.messages


def test_nothing_gives_nothing(step_graph: Path) -> None:
    assert kit("--model", step_graph, data=b"").stdout == ""


def test_without_a_model_it_takes_the_newest_and_says_so(
    tmp_path: Path,
    write_step_graph: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "earkit")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no step graph in any run in runs: make one with `kit export"):
        kit()
    write_step_graph(tmp_path / "runs" / "owl" / "owl-stream.onnx")
    assert kit().stdout == kit("--model", "runs/owl").stdout != ""
    assert caplog.messages == ["taking the newest step graph, runs/owl/owl-stream.onnx"] * 2


def test_what_cannot_be_is_refused(
    step_graph: Path, tmp_path: Path, write_step_graph: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="a stream cannot have 5 Hz"):
        kit("--model", step_graph, "--rate", 5)
    with pytest.raises(AudioError, match="not finite: leave it out, or see whether it is float32 at all"):
        kit("--model", step_graph, "--format", "f32", data=b"\xff" * 64)
    text = ("int64[batch, time] tokens,\n", "\n")
    outputs = ("frames", "frame_lengths", "frame_start")
    file = write_step_graph(tmp_path / "f-stream.onnx", text, outputs=outputs, tokens=None)
    for options in ((), ("--tokens",), ("--tokens", "--json")):
        with pytest.raises(ConfigError, match="has no tokens: print its frames with --json"):
            kit("--model", file, *options)
    assert len(kit("--model", file, "--json").stdout.splitlines()) == 2
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    with pytest.raises(ConfigError, match=r"piped into it: arecord .* \| kit stream"):
        stream(step_graph)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_lines_come_while_the_sound_does_and_ctrl_c_gives_the_rest(step_graph: Path) -> None:
    command = [sys.executable, "-m", "earkit.cli", "stream", "--model", str(step_graph), "--json"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(SOUND[:1285].tobytes()[:-1])  # a step, some more, and half a sample
        running.stdin.flush()
        assert select.select([running.stdout], [], [], 60)[0], "nothing came out while the pipe was open"
        first = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        rest, said = running.communicate(timeout=60)
    assert len(first["tokens"]) == 6
    assert first["tokens"] + joined(rest.splitlines(), "tokens") == whole(step_graph, SOUND[:1284])[1]
    assert said.decode().splitlines() == [
        "frames come at most 0.10 s after their sound",
        "left out at the end: 1 bytes, which are no whole sample of s16",
    ]
    assert running.returncode == 130
