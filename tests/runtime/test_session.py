"""Settings of onnxruntime."""

import pytest

from earkit.runtime.errors import ConfigError
from earkit.runtime.session import session_options
from earkit.runtime.threads import usable_threads


def test_threads_are_those_granted_or_asked_for() -> None:
    assert session_options().intra_op_num_threads == usable_threads()
    assert session_options(3).intra_op_num_threads == 3


def test_nothing_is_kept_for_each_length() -> None:
    options = session_options()
    assert not options.enable_mem_pattern


def test_threads_rest_between_clips() -> None:
    assert session_options().get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match="give 1 or more"):
        session_options(threads)
