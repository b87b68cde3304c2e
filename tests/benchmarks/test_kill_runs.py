"""The script that kills notices what differs; what is killed has tests beside corpus_run and search.build."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from earkit.benchmarks import kill_runs as module
from earkit.benchmarks.kill_runs import kill_runs, write_clips


def script(monkeypatch: pytest.MonkeyPatch, ends: Iterator[tuple[int, bytes]]) -> None:
    """Have each run end so, and leave this."""

    def run(_verb: str, arguments: list[str], seconds: float | None = None) -> int:
        del seconds
        ended, data = next(ends)
        out = Path(arguments[-1])
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data)
        return ended

    monkeypatch.setattr(module, "_run", run)


KILLED = -signal.SIGKILL


def test_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(monkeypatch, iter([(0, b"whole"), (KILLED, b"h"), (0, b"whole"), (KILLED, b"w"), (0, b"whole")]))
    report = kill_runs("embed", [], tmp_path, kills=2)
    assert (report.kills, report.begun, report.compared, report.differing) == (2, 2, 2, 0)
    assert not (tmp_path / "killed").exists()


@pytest.mark.parametrize("last", [(0, b"hole"), (1, b"whole")])
def test_other_bytes_and_errors_are_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last: tuple[int, bytes]
) -> None:
    script(monkeypatch, iter([(0, b"whole"), (KILLED, b"h"), last]))
    assert kill_runs("embed", [], tmp_path, kills=1).differing == 1


def test_what_is_left_behind_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(monkeypatch, iter([(0, b"whole"), (KILLED, b"h"), (0, b"whole")]))
    (tmp_path / "killed" / ".out.parts").mkdir(parents=True)
    (tmp_path / "killed" / ".out.parts" / "1.npz").write_bytes(b"left")
    assert kill_runs("embed", [], tmp_path, kills=1).differing == 1


def test_the_real_command_runs_to_its_end(clip_model: Path, tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", 3)
    out = tmp_path / "out.npz"
    assert module._run("embed", [str(tmp_path / "clips"), "--model", str(clip_model), "-o", str(out)]) == 0
    assert out.is_file()
    assert module._run("embed", ["nowhere", "-o", str(out)]) == 3
    assert module._run("embed", [str(tmp_path / "clips"), "-o", str(out)], seconds=0.01) == KILLED
