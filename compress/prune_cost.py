"""What a student costs, counted from its shape alone, so that many shapes can be weighed before one is made.

Multiply-adds are those of one clip, as torch runs the student: front end, stem and blocks. The fixed tables
of the front end cost multiply-adds, though they cannot be pruned, and are no parameters. Additions, norms and
what is done once for a clip (pooling, heads) are not counted.
"""

from dataclasses import dataclass

from earkit.distill.front_end import FRAME, HOP, WINDOW
from earkit.distill.student import StudentConfig
from earkit.runtime.audio import SAMPLE_RATE

SECONDS = 10
"""Length of the clip that is counted."""
_BINS = WINDOW // 2 + 1
_SCORED = 64  # width of the layer in which the pooling scores its frames


@dataclass(frozen=True)
class Cost:
    """Learned numbers, and multiply-adds of a clip of `SECONDS`."""

    parameters: int
    multiply_adds: int


def cost(config: StudentConfig) -> Cost:
    """Count a whole student."""
    return Cost(_parameters(config), _multiply_adds(config))


def _parameters(config: StudentConfig) -> int:
    dim, heads = config.dim, config.pooling_heads
    stem = dim * config.bands * config.stem + dim + dim  # weight, bias, and the blank frame
    norms = config.depth * 2 * dim
    score = _SCORED * (dim + 1) + heads * (_SCORED + 1)
    pooling = score + 2 * heads + config.embedding_dim * ((heads + 1) * dim + 1)
    return stem + norms + pooling + sum(_block_parameters(config, k) for k in range(1, config.depth + 1))


def _block_parameters(config: StudentConfig, block: int) -> int:
    dim, inner, heads = config.dim, config.inner_dim(block), config.heads_of(block)
    feed_forward = 2 * dim + inner * (dim + 1) + dim * (inner + 1)
    convolution = 2 * dim + dim * (config.kernel + 1) if config.block != "attention" else 0
    if not heads:
        return feed_forward + convolution
    width = heads * (dim // config.heads)
    by_distance = heads * (config.attention_back + config.attention_ahead + 1)
    return feed_forward + convolution + 2 * dim + 3 * width * (dim + 1) + dim * (width + 1) + by_distance


def _multiply_adds(config: StudentConfig, samples: int = SECONDS * SAMPLE_RATE) -> int:
    frames = -(-samples // FRAME)
    # The signal is padded by one student frame, less what a window is longer than a hop.
    windows = (samples + FRAME + WINDOW - HOP - WINDOW) // HOP + 1
    front_end = windows * 2 * _BINS * WINDOW + 4 * frames * config.bands * _BINS
    stem = frames * config.dim * config.bands * config.stem
    return front_end + stem + sum(_block_adds(config, k, frames) for k in range(1, config.depth + 1))


def _block_adds(config: StudentConfig, block: int, frames: int) -> int:
    dim, heads = config.dim, config.heads_of(block)
    adds = frames * 2 * dim * config.inner_dim(block)
    if config.block != "attention":
        adds += frames * dim * config.kernel
    if heads:
        width, back = heads * (dim // config.heads), config.attention_back
        queries = -(-frames // back) * back
        keys = 2 * back + config.attention_ahead
        adds += frames * 4 * dim * width + 2 * queries * keys * width
    return adds
