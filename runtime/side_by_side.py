"""Work on several threads whose results come in order, begun only so far ahead as there are threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class SideBySide:
    """So many threads, to be used in a `with`; of one, everything happens in the caller's."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, make: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
        """Make something of each item. What `make` raises comes in its place."""
        if self._pool is None:
            yield from map(make, items)
            return
        begun: deque[Future[Made]] = deque()
        for item in items:
            begun.append(self._pool.submit(make, item))
            if len(begun) > self.threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
