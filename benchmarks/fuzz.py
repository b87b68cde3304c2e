"""Judging damaged files: each goes to a worker, a process of its own that may die, hang or eat memory.

What comes of a file is a result, one sentence of ours, or a failure. The worker is `fuzz_worker`; it is
started again where it died or was ended.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

SECONDS = 30.0
"""A file that takes longer hangs; the slowest that are right take one."""
MEGABYTES = 1024
"""A file for which the process grows by more is a memory bomb; a minute of sound needs 60."""
WORKER = (sys.executable, "-m", "earkit.benchmarks.fuzz_worker")
FAILURES = ("wrong", "crash", "hang", "memory")


@dataclass(frozen=True)
class Verdict:
    """What came of a file: "result", "sentence", or one of `FAILURES`."""

    kind: str
    said: str = ""


class Worker:
    """A process that tries files one after the other: `WORKER` with its arguments."""

    def __init__(self, command: Sequence[str], seconds: float = SECONDS) -> None:
        self._command = command
        self._seconds = seconds
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._errors.close()

    def judge(self, file: Path, **how: Any) -> Verdict:  # noqa: ANN401 - JSON
        """Have a file tried."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((json.dumps({"file": str(file), **how}) + "\n").encode())
        process.stdin.flush()
        if not select.select([process.stdout], [], [], self._seconds)[0]:
            self._end()
            return Verdict("hang", f"no answer after {self._seconds:g} s")
        if not (line := process.stdout.readline()):
            code = process.wait()
            said = self._last_words()
            self._end()
            return Verdict("crash", f"ended with {code}: {said}")
        kind, said, megabytes = json.loads(line)
        if megabytes > MEGABYTES:
            self._end()  # its peak would hide the next one's
            return Verdict("memory", f"{megabytes:.0f} MB more; {kind}: {said}")
        return Verdict(kind, said)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._process = subprocess.Popen(  # noqa: S603 - no shell
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the worker did not start: {self._last_words()}")
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process = None

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-300:].strip()


@dataclass
class Tally:
    """Verdicts, counted by what had been done to the files, and every failure."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, index: int, mutation: str, verdict: Verdict) -> None:
        """Count one."""
        self.counts.setdefault(mutation, Counter())[verdict.kind] += 1
        if verdict.kind in FAILURES:
            self.failures.append({"index": index, "mutation": mutation, **vars(verdict)})

    @property
    def total(self) -> Counter[str]:
        """Verdicts of all files."""
        return sum(self.counts.values(), Counter())

    def text(self) -> str:
        """Show the counts, a line for each mutation, and the failures."""
        kinds = ("result", "sentence", *FAILURES)
        rows = {**dict(sorted(self.counts.items())), "all": self.total}
        width = max(map(len, rows))
        lines = [f"{'':{width}}" + "".join(f"{kind:>10}" for kind in kinds)]
        lines += [
            f"{name:{width}}" + "".join(f"{count[kind]:>10}" for kind in kinds)
            for name, count in rows.items()
        ]
        return "\n".join([*lines, *(json.dumps(failure) for failure in self.failures)])


def progress(numbers: Iterable[int], total: int) -> Iterator[int]:
    """Pass on, and say now and then on stderr how far it is."""
    begun = said = time.monotonic()
    for number in numbers:
        yield number
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{number + 1} of {total} files, {said - begun:.0f} s", file=sys.stderr, flush=True)
