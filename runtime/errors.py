"""The errors earkit raises on purpose: each says what, where and how to fix in one sentence.

Every class also inherits the builtin it refines, so `except ValueError` keeps working. `exit_code`
is what the command line ends with.
"""


class EarkitError(Exception):
    """Base of all deliberate errors; the command line prints its one sentence and exits."""

    exit_code = 1


class AudioError(EarkitError, ValueError):
    """A sound that cannot be used: unreadable, empty, silent, too short, not finite."""

    exit_code = 3


class DataError(EarkitError, ValueError):
    """A corpus that cannot be used: missing, empty, or nothing in it can be read."""

    exit_code = 3


class ConfigError(EarkitError, ValueError):
    """A configuration or argument that means nothing: unknown key, wrong type, impossible value."""

    exit_code = 2


class CheckpointError(EarkitError, ValueError):
    """A checkpoint, run folder or model that is damaged, incomplete or refused as unsafe."""

    exit_code = 4


class TeacherNotFoundError(EarkitError, FileNotFoundError):
    """A teacher name that resolves to nothing on this machine."""

    exit_code = 4


class StorageError(EarkitError, OSError):
    """Writing failed (disk full, not permitted); what was saved before is intact."""

    exit_code = 5


class MissingExtraError(EarkitError, ImportError):
    """A feature whose optional packages are not installed."""

    exit_code = 6


class StepTooLargeError(EarkitError, MemoryError):
    """A training step that does not fit into the device's memory."""

    exit_code = 8


class NonFiniteLossError(EarkitError, ArithmeticError):
    """Training produced NaN or infinity; carries the step and the files of the batch."""

    exit_code = 7


def reason(error: Exception) -> str:
    """Give what another package says of its error, on one line and at most 200 characters of it."""
    return " ".join(str(error).split())[:200]
