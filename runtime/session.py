"""How a model file is run: settings of onnxruntime for clips of varying length."""

import onnxruntime

from earkit.runtime.errors import ConfigError
from earkit.runtime.threads import usable_threads


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
    # What a clip of a minute needed would stay, 28 MB. Its price: 0 to 5% of the time.
    options.enable_cpu_mem_arena = False
    # Threads that wait by spinning take time from whatever else runs, and from the battery.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
