"""Work done ahead of need: numbered jobs in worker processes, their results in order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from earkit.runtime.errors import DataError, EarkitError

T = TypeVar("T")

_AHEAD = 4  # results that each worker may be ahead
_WATCH = 0.5  # seconds between two looks at whether the main process lives


def in_order(job: Callable[[int], T], numbers: Iterable[int], workers: int) -> Iterator[T]:
    """Yield `job(n)` for each number; with no workers, each is done when it is asked for.

    Give results as NumPy arrays, which travel through a pipe: torch would put tensors into shared memory,
    of which containers often have only 64 MB. A result with a method `pin_memory` is replaced by what that
    returns, where there is a CUDA device.
    """
    loader: DataLoader[T | EarkitError] = DataLoader(
        _Jobs(job),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_begin_worker,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else it would draw from the global one, and change a resumed run
    )
    results = iter(loader)
    while True:
        try:
            result = next(results)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            how = str(error).splitlines()[0]
            raise DataError(f"a data worker was killed ({how}): free memory or lower data.workers") from error
        if isinstance(result, EarkitError):
            raise result
        yield result


class _Jobs(Dataset[T | EarkitError], Generic[T]):
    """The job as torch wants it; a deliberate error is a result, for torch would wrap it in a traceback."""

    def __init__(self, job: Callable[[int], T]) -> None:
        self._job = job

    def __getitem__(self, number: int) -> T | EarkitError:
        try:
            return self._job(number)
        except EarkitError as error:
            return error


def _begin_worker(_: int) -> None:
    """Outlive Ctrl-C, for the main process ends its step with our help, but never the main process."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The first SIGTERM may have gone to all processes of a job, as Ctrl-C does; torch's own comes last.
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Leave when the parent is gone; a worker that is writing to it would wait for ever."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)
