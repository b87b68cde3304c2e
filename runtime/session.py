"""How a model file is run: settings of onnxruntime for clips of varying length."""

from functools import cache

import onnxruntime

from earkit.runtime.errors import ConfigError
from earkit.runtime.threads import usable_threads

MOST_BYTES = 1 << 30
"""Memory for all that the model files of a process compute with. A minute of sound needs 60 MB."""


def session_options(threads: int | None = None) -> onnxruntime.SessionOptions:
    """Give settings for `threads` threads, by default those that this process is granted."""
    threads = usable_threads() if threads is None else threads
    if threads < 1:
        raise ConfigError(f"a model cannot run on {threads} threads: give 1 or more")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and told in one sentence
    # Each length would get a plan of its memory that is kept: 17 MB after 3000 clips of a float `tiny`.
    options.enable_mem_pattern = False
    # All share one arena. It keeps 20 MB after a clip of a minute: memory that is given back must be asked
    # for again page by page, which costs some clips of 10 s half of their time.
    _limited_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    # The threads of one clip wait for each other spinning, a fifth faster, and sleep when it is done.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


@cache
def _limited_arena() -> None:
    """Make it, once in a process: a damaged file that asks for more gets an error instead of it."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({"max_mem": MOST_BYTES}))
