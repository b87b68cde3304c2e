"""Work done ahead of need: numbered jobs in worker processes, their results in order."""

import os
import signal
import sys
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
    """Yield `job(n)`, which is never None, for each number; without workers, when it is asked for.

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
    try:
        while (result := next(results, None)) is not None:
            if isinstance(result, EarkitError):
                raise result
            yield result
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):  # an error of the job itself
            raise
        how = str(error).splitlines()[0]
        raise DataError(f"a data worker was killed ({how}): free memory or lower data.workers") from error
    finally:
        del results  # ends the workers now, though a raised error's traceback keeps this frame


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
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the thread below takes it
    threading.Thread(target=_attend, args=(os.getppid(),), daemon=True).start()


def _attend(parent: int) -> None:
    """Leave when the parent says so or is gone; a worker that writes to a dead one would wait for ever.

    A SIGTERM of anybody else went to the whole job, as Ctrl-C does: the parent gets it too and decides.
    """
    while os.getppid() == parent:
        if sys.platform == "linux":
            received = signal.sigtimedwait({signal.SIGTERM}, _WATCH)
            if received and received.si_pid == parent:
                break
        else:
            time.sleep(_WATCH)
            if signal.SIGTERM in signal.sigpending():
                break
    os._exit(0)  # of any other code torch would complain in the main process
