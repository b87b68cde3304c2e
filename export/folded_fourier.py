"""The log-mel front end at a quarter of the multiply-adds, for the model file.

A windowed discrete Fourier transform of N = 400 samples with a window that is symmetric about N / 2 needs
only sums and differences of mirrored samples (w_0 is 0):

    sum_n  x_n w_n cos(2 pi k n / N)  =  sum_{n <= N/2} (x_n + x_{N-n}) w_n cos(2 pi k n / N)    (half at N/2)
    sum_n  x_n w_n sin(2 pi k n / N)  =  sum_{n <= N/2} (x_n - x_{N-n}) w_n sin(2 pi k n / N)

and bins k and N/2 - k share the products of even n and those of odd n:

    cos(2 pi (N/2 - k) n / N) =   (-1)^n cos(2 pi k n / N)
    sin(2 pi (N/2 - k) n / N) = - (-1)^n sin(2 pi k n / N)

So four tables of 100 x 100 do the work of one of 402 x 400, in less time and a smaller file. What follows the
logarithm is folded away too: the mean m of a band into its filter, by

    log(p + f) - m  =  log(p e^-m + f e^-m)

and its deviation into the weights of the first convolution.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.front_end import FLOOR, FRAME, HOP, LEAD, WINDOW, LogMel
from earkit.distill.student import Student

QUARTER = WINDOW // 4


def fold_front_end(student: Student) -> "FoldedLogMel":
    """Give a student the cheaper front end, and its first convolution what that leaves out."""
    with torch.no_grad():
        student.stem.weight.div_(student.log_mel.deviation)  # (dim, bands, taps) by (bands, 1)
    made = FoldedLogMel(student.log_mel)
    student.add_module("log_mel", made)
    return made


class FoldedLogMel(nn.Module):
    """(batch, samples) -> (batch, bands, 4 * frames), as a `LogMel` before it divides by the deviation."""

    even_cosine: Tensor
    odd_cosine: Tensor
    even_sine: Tensor
    odd_sine: Tensor
    low: Tensor
    high: Tensor
    floor: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        bins = torch.arange(1, QUARTER + 1, dtype=torch.float64)
        even = torch.arange(2, WINDOW // 2 + 1, 2, dtype=torch.float64)
        for name, n in (("even", even), ("odd", even - 1)):
            angle = 2 * math.pi * torch.outer(n, bins) / WINDOW  # (taps, bins)
            # Hann's window; its tap in the middle is its own mirror image.
            window = (0.5 - 0.5 * (2 * math.pi * n / WINDOW).cos()) * torch.where(n == WINDOW // 2, 0.5, 1.0)
            self.register_buffer(f"{name}_cosine", (angle.cos() * window[:, None]).float())
            self.register_buffer(f"{name}_sine", (angle.sin() * window[:, None]).float())
        # Every filter is 0 at bin 0 and at the last; the bin in the middle is in `low`, so not in `high`.
        level = (-log_mel.mean.double()).exp()  # (bands, 1)
        filters = (log_mel.bands[:, :, 0] * level).float().T  # (bins, bands)
        self.register_buffer("low", filters[1 : QUARTER + 1].contiguous())
        self.register_buffer("high", F.pad(filters[QUARTER + 1 : -1].flip(0), (0, 0, 0, 1)))
        self.register_buffer("floor", (FLOOR * level[:, 0]).float())

    def forward(self, audio: Tensor) -> Tensor:
        """Log power of each band over its mean."""
        windows = 4 * ((audio.shape[1] + FRAME - 1) // FRAME)
        return self.of_windows(F.pad(audio, (LEAD, HOP * (windows + 2) - LEAD - audio.shape[1])), windows)

    def of_windows(self, audio: Tensor, windows: int) -> Tensor:
        """Do the same for the windows that begin at each hop. (batch, HOP * (windows + 2)) samples."""
        hops = audio.view(audio.shape[0], windows + 2, HOP // 2, 2)
        even, odd = (half.squeeze(3) for half in hops.chunk(2, dim=3))
        even_sum, even_difference = _mirror(even, first=1)
        odd_sum, odd_difference = _mirror(odd, first=0)
        cosine, cosine_ = even_sum @ self.even_cosine, odd_sum @ self.odd_cosine
        sine, sine_ = even_difference @ self.even_sine, odd_difference @ self.odd_sine
        low = _square(cosine + cosine_) + _square(sine + sine_)  # bins 1 to 100
        high = _square(cosine - cosine_) + _square(sine - sine_)  # bins 199 to 101, and 100 again
        power = low @ self.low + high @ self.high
        return (power + self.floor).log().transpose(1, 2)


def _mirror(hops: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Sum and difference of the samples of one parity and their mirror images, for each window.

    hops: (batch, windows + 2, 80); window t begins at hop t, whose sample `first` is the first that counts.
    -> (batch, windows, 100) twice.
    """
    size = hops.shape[2]
    rest = QUARTER - size
    own = torch.cat([hops[:, :-2, first:], hops[:, 1:-1, : rest + first]], dim=2)
    back = hops.flip(2)
    image = torch.cat([back[:, 2:, size // 2 :], back[:, 1:-1, : size - rest]], dim=2)
    return own + image, own - image


def _square(x: Tensor) -> Tensor:
    return x * x
