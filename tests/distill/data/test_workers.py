"""Worker processes: order, errors, signals, and that none outlives the main process."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from earkit.distill.data.workers import in_order
from earkit.runtime.errors import AudioError, DataError

MAIN = """
import os, sys, time
from itertools import count
import numpy as np
from earkit.distill.data.workers import in_order

def job(number):
    return np.full(3_000_000, os.getpid())  # more than a pipe holds

results = in_order(job, count(), 2)
print(*{int(next(results)[0]) for _ in range(6)}, flush=True)
"""


def square(number: int) -> int:
    time.sleep(0.02 * (number % 3 == 0))  # out of step
    return number**2


def fail_at_two(number: int) -> int:
    if number == 2:
        raise AudioError("clip 2 is bad: leave it out")
    return number


def die_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(in_order(square, range(9), workers)) == [n**2 for n in range(9)]
    assert list(islice(in_order(square, count(5), workers), 4)) == [25, 36, 49, 64]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_as_it_was_raised(workers: int) -> None:
    results = in_order(fail_at_two, count(), workers)
    assert [next(results), next(results)] == [0, 1]
    children = multiprocessing.active_children()
    with pytest.raises(AudioError, match=r"^clip 2 is bad: leave it out$") as raised:
        next(results)
    assert len(children) == workers
    assert not multiprocessing.active_children()  # at once, although somebody keeps the error
    assert raised.value


def stumble(number: int) -> int:
    raise RuntimeError(f"a bug at {number}")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_is_not_taken_for_a_killed_worker(workers: int) -> None:
    with pytest.raises(RuntimeError, match="a bug at 0"):
        next(in_order(stumble, count(), workers))


def test_a_killed_worker_is_told_in_one_sentence() -> None:
    with pytest.raises(
        DataError, match=r"a data worker was killed \(.*\): free memory or lower data\.workers"
    ):
        list(in_order(die_at_two, range(6), 1))


def begun(ending: str) -> tuple[subprocess.Popen[str], list[int]]:
    main = subprocess.Popen(
        [sys.executable, "-c", MAIN + ending], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert main.stdout is not None
    workers = [int(pid) for pid in main.stdout.readline().split()]
    assert len(workers) == 2
    return main, workers


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and state(pid) != "Z"]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "Z"


def gone_within(seconds: float, pids: list[int]) -> bool:
    end = time.monotonic() + seconds
    while living(pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not living(pids)


@pytest.fixture
def cleanly() -> Iterator[list[int]]:
    """End what a failed test leaves."""
    pids: list[int] = []
    yield pids
    for pid in living(pids):
        os.kill(pid, signal.SIGKILL)


def test_workers_do_not_outlive_a_killed_main_process(cleanly: list[int]) -> None:
    main, workers = begun("time.sleep(60)")
    cleanly += [main.pid, *workers]
    main.kill()
    main.wait()
    assert gone_within(5, workers)


def test_an_ending_main_process_ends_its_workers(cleanly: list[int]) -> None:
    """Also when the results are still referred to at exit, and nobody closed them."""
    main, workers = begun("")
    cleanly += [main.pid, *workers]
    assert main.wait(timeout=60) == 0
    assert gone_within(1, workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_work_on_when_the_whole_group_is_told_to_stop(
    number: signal.Signals, cleanly: list[int]
) -> None:
    ending = """
import signal
told = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: told.append(1))
print("ready", flush=True)
while not told:
    time.sleep(0.01)
time.sleep(0.7)  # so that a worker that ends has ended
assert len({int(next(results)[0]) for _ in range(20)}) == 2
results.close()
print("done", flush=True)
"""
    main, workers = begun(ending)
    cleanly += [main.pid, *workers]
    assert main.stdout is not None
    assert main.stdout.readline() == "ready\n"
    os.killpg(main.pid, number)
    assert main.stdout.readline() == "done\n"
    assert main.wait(timeout=60) == 0
    assert gone_within(1, workers)


def test_arrays_survive_the_pipe() -> None:
    arrays = list(in_order(lambda n: np.arange(n * 100_000), range(4), 2))
    assert [len(a) for a in arrays] == [0, 100_000, 200_000, 300_000]
