"""Which clips run together.

A batch saves calls of the network, each of which costs as much as most of a second of audio, whatever its
length. But padding is computed too, and a batch of more than some seconds leaves the processor's caches,
where fetching a number takes longer than using it.

Measured of a float `tiny`, milliseconds of one thread's time per clip, alone and in batches of 8 and 32:
clips of 0.1 s 1.7, 0.8, 0.7; of 1 s 3.2, 2.2, 2.3; of 3 s 6.2 and in a batch of 8 6.1; of 10 s 18.0 and in a
batch of 2 18.7.
"""

from collections.abc import Iterator, Mapping

BATCH_SAMPLES = 8 * 16_000
"""Samples of a batch, padding included. A longer clip runs alone."""
CALL_SAMPLES = 8_000
"""Samples that cost as much as a call."""


def batches(
    lengths: Mapping[int, int], samples: int = BATCH_SAMPLES, call: int = CALL_SAMPLES
) -> Iterator[list[int]]:
    """Group clips of similar length. Takes lengths by clip, and gives each clip in one batch."""
    batch: list[int] = []
    longest = 0
    for clip in sorted(lengths, key=lambda clip: lengths[clip]):
        length = lengths[clip]  # they rise: this clip is the one that the others are padded to
        if batch and ((len(batch) + 1) * length > samples or len(batch) * (length - longest) > call):
            yield batch
            batch = []
        batch.append(clip)
        longest = length
    if batch:
        yield batch
