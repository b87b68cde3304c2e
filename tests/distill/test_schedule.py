import pytest

from earkit.distill.schedule import OptimConfig, tri_stage
from earkit.runtime.errors import ConfigError


def test_against_fairseqs_formula() -> None:
    """Rates step by step as fairseq's tri-stage scheduler defines them."""
    steps, config = 1000, OptimConfig(lr=5e-4, warmup=0.03, hold=0.47)
    warm, hold, decay = 30, 470, 500
    first, last = 0.01 * 5e-4, 0.01
    for step in range(steps + 1):
        if step < warm:
            expected = first + (5e-4 - first) / warm * step
        elif step < warm + hold:
            expected = 5e-4
        else:
            import math

            expected = 5e-4 * math.exp(math.log(last) / decay * (step - warm - hold))
        assert tri_stage(step / steps, config) == pytest.approx(expected, rel=1e-9)


def test_past_the_end_stays_at_the_end() -> None:
    assert tri_stage(3.0, OptimConfig(lr=1.0)) == pytest.approx(0.01)


def test_impossible_shares() -> None:
    with pytest.raises(ConfigError, match="shares"):
        OptimConfig(warmup=0.6, hold=0.6)
