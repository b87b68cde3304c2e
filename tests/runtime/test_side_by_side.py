"""Threads side by side: in order, ahead by no more than their number, and stopped when nobody wants more."""

import itertools
import threading
import time

import pytest

from earkit.runtime.side_by_side import SideBySide


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order(threads: int) -> None:
    def late(i: int) -> int:
        time.sleep(0.002 * (i % 3 == 0))
        return i

    with SideBySide(threads) as workers:
        assert list(workers.map(late, range(30))) == list(range(30))


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_is_taken_than_there_are_threads(threads: int) -> None:
    taken = itertools.count()
    with SideBySide(threads) as workers:
        assert next(workers.map(lambda i: i, (i for i in taken))) == 0
    assert next(taken) <= threads + 1


def test_they_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)
    with SideBySide(3) as workers:
        assert len(set(workers.map(lambda _: (together.wait(), threading.get_ident())[1], range(3)))) == 3


def test_one_works_in_the_caller() -> None:
    with SideBySide(1) as workers:
        assert set(workers.map(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


@pytest.mark.parametrize("threads", [1, 2])
def test_what_goes_wrong_comes_in_its_place(threads: int) -> None:
    with SideBySide(threads) as workers:
        made = workers.map(lambda i: 1 // (2 - i), range(4))
        assert [next(made), next(made)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(made)


def test_threads_end_with_it() -> None:
    before = set(threading.enumerate())
    with SideBySide(2) as workers:
        assert sum(workers.map(lambda i: i, range(10))) == 45
        assert set(threading.enumerate()) - before
    assert not set(threading.enumerate()) - before
