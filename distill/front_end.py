"""Log-mel spectrogram as a convolution: the fixed first layer of every student, inside the model file.

A strided convolution with the rows of a windowed discrete Fourier transform, squared and summed into mel
bands, logarithm, and standardisation by statistics of the training data that stay fixed: no number here
depends on the utterance, so a stream and a whole file agree.

The bands are Slaney's (linear below 1 kHz, logarithmic above, equal areas), as librosa and Whisper use.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.runtime.audio import SAMPLE_RATE
from earkit.runtime.errors import DataError

WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FRAME = 640
"""Samples per frame of a student: 40 ms."""
CENTRE = 360
"""Sample in the middle of what a student's first frame stands for."""
LEAD = 80
"""Samples before a student's frame at which its first window begins: the four windows share its centre."""
FLOOR = 1e-6
"""Added to the power of a band: 110 dB below a full-scale sine."""


def mel_bands(bands: int) -> Tensor:
    """Triangular filters over the bins of the transform. -> (bands, WINDOW // 2 + 1)."""
    top = _mel(torch.tensor(SAMPLE_RATE / 2, dtype=torch.float64))
    edges = _hertz(torch.linspace(0, float(top), bands + 2, dtype=torch.float64))
    bins = torch.arange(WINDOW // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / WINDOW
    below, centre, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - below) / (centre - below), (above - bins) / (above - centre)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (above - below)).float()


def _mel(hertz: Tensor) -> Tensor:
    return torch.where(
        hertz < 1000, hertz * 3 / 200, 15 + 27 * (hertz / 1000).clamp(min=1).log() / math.log(6.4)
    )


def _hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel - 15) * math.log(6.4) / 27).exp())


def student_frames(samples: Tensor) -> Tensor:
    """Frames that a student makes of clips: every sample is in one. (batch,) -> (batch,)."""
    return (samples + FRAME - 1) // FRAME


class LogMel(nn.Module):
    """(batch, samples) at 16 kHz in [-1, 1] -> (batch, bands, 4 * frames), four windows per student frame."""

    fourier: Tensor
    bands: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        angles = (
            2
            * math.pi
            * torch.outer(
                torch.arange(WINDOW // 2 + 1, dtype=torch.float64), torch.arange(WINDOW, dtype=torch.float64)
            )
            / WINDOW
        )
        hann = torch.hann_window(WINDOW, dtype=torch.float64)
        rows = torch.cat([angles.cos() * hann, angles.sin() * hann]).float()
        self.register_buffer("fourier", rows[:, None], persistent=False)  # (2 * bins, 1, WINDOW)
        self.register_buffer("bands", mel_bands(bands)[:, :, None], persistent=False)
        self.register_buffer("mean", torch.zeros(bands, 1))
        self.register_buffer("deviation", torch.ones(bands, 1))

    def raw(self, audio: Tensor) -> Tensor:
        """Log power of each band, before standardisation."""
        frames = (audio.shape[1] + FRAME - 1) // FRAME
        padded = F.pad(audio, (LEAD, FRAME + WINDOW - HOP - LEAD))
        waves = F.conv1d(padded[:, None], self.fourier, stride=HOP)[:, :, : 4 * frames]
        cosine, sine = waves.chunk(2, dim=1)
        return (F.conv1d(cosine * cosine + sine * sine, self.bands) + FLOOR).log()

    def forward(self, audio: Tensor) -> Tensor:
        """Standardised log-mel windows."""
        return (self.raw(audio) - self.mean) / self.deviation

    @torch.no_grad()
    def fit(self, clips: list[Tensor]) -> None:
        """Take mean and deviation of each band over some clips, each (samples,), and keep them for good."""
        there = (clip.to(self.mean.device) for clip in clips)
        seen = torch.cat([self.raw(clip[None])[0, :, : 4 * (len(clip) // FRAME)] for clip in there], dim=1)
        if not seen.numel():
            milliseconds = 1000 * FRAME // SAMPLE_RATE
            raise DataError(
                f"no clip lasts {milliseconds} ms, a frame, so there is no level to learn; give longer clips"
            )
        self.mean.copy_(seen.mean(1, keepdim=True))
        self.deviation.copy_(seen.std(1, keepdim=True).clamp(min=0.1))
