"""Source and filter: a score becomes sound.

The source is a train of band-limited pulses (with the spectrum of a glottal flow: Doval, d'Alessandro
and Henrich's causal-anticausal line model) and noise. The filter is a cascade of formant resonators
for what passes the whole mouth and a noise shape for what is made at a narrowing. Both change every
5 ms: each windowed piece of the source is filtered by multiplying spectra, and the pieces overlap-add.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earkit.distill.speech.phones import PHONES
from earkit.distill.speech.prosody import HOP, Score
from earkit.distill.speech.voice import Voice
from earkit.runtime.audio import SAMPLE_RATE

Array = NDArray[np.float64]
Spectra = NDArray[np.complex128]

_WINDOW = 2 * HOP  # a Hann window with half overlap sums to one
_LEAD = 2 * HOP  # room for the anticausal part of the glottal pulse
_FFT = 10 * HOP  # and six hops for the formants to ring out
_FREQUENCIES = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
_UNIT_DELAY = np.exp(-2j * np.pi * _FREQUENCIES / SAMPLE_RATE)  # z^-1 on the unit circle
_UPPER_FORMANTS = (4500.0, 5500.0, 6500.0, 7500.0)  # Hz: they colour the voice, not the phone
_NASAL_BANDWIDTH = (500.0, 70.0)  # Hz of the nasal zero with the velum closed and open


@dataclass(frozen=True)
class _Tracks:
    """What the filter is set to, frame by frame."""

    formants: Array  # (frames, 4) Hz
    bandwidths: Array  # (frames, 4) Hz
    nasal_zero: Array  # (frames,) Hz
    nasality: Array  # (frames,) 0 to 1
    voicing: Array  # (frames,) amplitude
    aspiration: Array  # (frames,) amplitude
    frication: Array  # (frames,) amplitude
    noise_peak: Array  # (frames,) Hz
    noise_width: Array  # (frames,) Hz


def _tracks(score: Score, voice: Voice) -> _Tracks:
    def held(values: list[float] | list[tuple[float, float, float, float]]) -> Array:
        """Repeat a value of each segment over its frames: (frames,) or (frames, 4)."""
        return np.repeat(np.array(values, dtype=np.float64), score.frames, axis=0)

    segments = score.segments
    blur = _blur(voice.coarticulation)
    pull = held([segment.pull for segment in segments])
    scale = voice.tract * np.array(voice.proportions)
    formants = scale * np.exp(_blend(np.log(held([s.formants for s in segments])), pull, blur))
    damping = _blend(held([s.damping for s in segments]), 1.0, blur)

    zero = held([s.nasal_zero for s in segments])
    nasal = np.where(zero > 0, 1.0, 0.0).astype(np.float64)

    loudness = 10 ** (score.effort / 20)
    frication = 10 ** (held([s.frication for s in segments]) / 20)
    aspiration = 10 ** (held([s.aspiration for s in segments]) / 20)
    voicing = _blend(10 ** (held([s.voicing for s in segments]) / 20), 1.0, _gaussian(1.2))

    audible = frication + 1e-6
    own_peak = np.log(held([s.noise_peak for s in segments])) + 0.7 * math.log(voice.tract)
    follows = held([s.noise_follows for s in segments])
    context = np.log(1.1 * formants[:, 1])
    return _Tracks(
        formants=formants,
        bandwidths=_bandwidths(formants) * damping[:, None],
        nasal_zero=voice.tract * _blend(np.maximum(zero, 500.0), nasal + 1e-6, blur),
        nasality=_blend(nasal, 1.0, blur),
        voicing=voicing * loudness,
        aspiration=_blend(aspiration, 1.0, _gaussian(1.0)) * loudness
        + voicing * loudness * 10 ** (voice.breathiness / 20),
        frication=_blend(frication, 1.0, _gaussian(0.6)) * loudness,
        noise_peak=np.exp(_blend((1 - follows) * own_peak + follows * context, audible, _gaussian(2.0))),
        noise_width=_blend(held([s.noise_width for s in segments]), audible, _gaussian(2.0)),
    )


def _gaussian(deviation: float) -> Array:
    reach = math.ceil(3 * deviation)
    weights: Array = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    return weights


def _blur(seconds: float) -> Array:
    """Coarticulation: mostly the neighbouring phones, a little the neighbouring syllables."""
    near, far = (_gaussian(factor * seconds * SAMPLE_RATE / HOP) for factor in (1.0, 3.0))
    edge = (len(far) - len(near)) // 2
    return 0.15 * far + 0.85 * np.pad(near, edge)


def _blend(targets: Array, pull: Array | float, kernel: Array) -> Array:
    """Average targets over time, each counting as much as it pulls: (frames, ...) to the same.

    Short segments never reach their targets (undershoot), and one that pulls little takes on the
    values of its neighbours (a labial stop has no second formant of its own).
    """
    strength = np.broadcast_to(pull, targets.shape)
    blended: Array = _smooth(targets * strength, kernel) / _smooth(strength, kernel)
    return blended


def _smooth(values: Array, kernel: Array) -> Array:
    reach = len(kernel) // 2
    padded = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
    smoothed: Array = np.einsum("...k,k->...", windows, kernel)  # unlike @, the same for any thread count
    return smoothed


def render(score: Score, voice: Voice, rng: np.random.Generator) -> Array:
    """Synthesise a score without background: (samples,), a schwa at 0 dB has an RMS near 1."""
    tracks = _tracks(score, voice)
    phase = np.cumsum(_per_sample(score.pitch)) / SAMPLE_RATE  # in periods
    voiced = np.minimum(_per_sample(tracks.voicing), 1.0)
    breath = rng.standard_normal(score.samples) * (1 + 0.6 * voiced * np.cos(2 * np.pi * phase))

    mouth = _mouth(tracks, voice)
    glottis = _glottis(voice)
    rest = _schwa(voice)
    pulse_level = 1 / math.sqrt(voice.pitch / SAMPLE_RATE * np.mean(np.abs(glottis * rest) ** 2))
    breath_level = 1 / math.sqrt(np.mean(np.abs(rest) ** 2))

    larynx = _spectra(_pulses(phase, voice, rng)) * (pulse_level * glottis) * tracks.voicing[:, None]
    noise = _spectra(breath)
    larynx += noise * (breath_level * tracks.aspiration)[:, None]
    return _overlap_add(larynx * mouth + noise * _narrowing(tracks), score.samples)


def _per_sample(track: Array) -> Array:
    """Interpolate a track from frames to samples; a frame's value holds in the middle of its hop."""
    samples = np.arange(len(track) * HOP)
    return np.interp(samples, np.arange(len(track)) * HOP + HOP / 2, track)


def _pulses(phase: Array, voice: Voice, rng: np.random.Generator) -> Array:
    """Place unit pulses, one a period, each between samples by a windowed sinc: no aliasing."""
    before = np.flatnonzero(np.diff(np.floor(phase)))
    period = 1 / (phase[before + 1] - phase[before])
    instants = before + period * (np.floor(phase[before + 1]) - phase[before])
    instants += period * rng.normal(0, voice.jitter, size=len(before))
    heights = 1 + rng.normal(0, voice.shimmer, size=len(before))
    nearest = np.floor(instants).astype(int)
    offsets = np.arange(-9, 11)
    distance = offsets - (instants - nearest)[:, None]
    taps = heights[:, None] * np.sinc(distance) * np.cos(np.pi * distance / 22) ** 2
    where = np.clip(nearest[:, None] + offsets, 0, len(phase) - 1)
    return np.bincount(where.ravel(), taps.ravel(), minlength=len(phase)).astype(np.float64)


def _glottis(voice: Voice) -> Spectra:
    """Spectrum of one pulse of glottal flow as it leaves the lips: (bins,).

    The open phase is an anticausal resonance (it swells until closure), the return phase a low-pass,
    and radiation differentiates.
    """
    rate = voice.pitch / voice.open_quotient
    swelling = _resonator(np.array(rate / 2), np.array(0.73 * rate))
    corner = math.exp(-2 * math.pi * voice.tilt / SAMPLE_RATE)
    flow = 1 / np.conj(np.polyval(swelling[::-1], _UNIT_DELAY))
    pulse: Spectra = (1 - _UNIT_DELAY) * flow * (1 - corner) / (1 - corner * _UNIT_DELAY)
    return pulse


def _resonator(frequency: Array, bandwidth: Array) -> Array:
    """Coefficients (..., 3) in z^-1 of the two conjugate roots at this frequency and bandwidth, in Hz."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    middle = -2 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
    return np.stack([np.ones_like(radius), middle, radius**2], axis=-1)


def _mouth(tracks: _Tracks, voice: Voice) -> Spectra:
    """Response of the vocal tract, 1 at zero frequency: (frames, bins).

    Poles at the formants, and a pole and a zero at the side cavity that cancel with the velum closed.
    """
    closed, opened = _NASAL_BANDWIDTH
    zero = _resonator(tracks.nasal_zero, closed * (opened / closed) ** tracks.nasality)
    poles = _all_pole(tracks.formants, tracks.bandwidths, voice)
    poles = _product(poles, _resonator(tracks.nasal_zero, np.full_like(tracks.nasal_zero, closed)))
    gain = poles.sum(axis=1) / zero.sum(axis=1)
    return np.fft.rfft(gain[:, None] * zero, n=_FFT) / np.fft.rfft(poles, n=_FFT)


def _all_pole(formants: Array, bandwidths: Array, voice: Voice) -> Array:
    """Polynomials in z^-1 whose roots are the formants: (frames, 4) in Hz to (frames, coefficients)."""
    upper = voice.tract * np.array(_UPPER_FORMANTS)
    upper = upper[upper < 0.47 * SAMPLE_RATE]
    polynomial = np.ones((len(formants), 1))
    for roots in np.moveaxis(_resonator(formants, bandwidths), 1, 0):
        polynomial = _product(polynomial, roots)
    for roots in _resonator(upper, _bandwidths(upper)):
        polynomial = _product(polynomial, roots[None])
    return polynomial


def _bandwidths(formants: Array) -> Array:
    """Bandwidths of formants with firm walls and a closed glottis, in Hz."""
    return 50 + formants / 25


def _product(left: Array, right: Array) -> Array:
    """Multiply polynomials row by row: (frames, n) and (frames, 3) to (frames, n + 2)."""
    size = left.shape[1]
    product = np.zeros((len(left), size + 2))
    for power in range(3):
        product[:, power : power + size] += left * right[:, power : power + 1]
    return product


def _schwa(voice: Voice) -> Spectra:
    """Response of this voice's tract at rest, the reference of loudness: (bins,)."""
    formants = np.array([PHONES["ax"].segments[0].formants]) * voice.tract
    polynomial = _all_pole(formants, _bandwidths(formants), voice)[0]
    response: Spectra = polynomial.sum() / np.fft.rfft(polynomial, n=_FFT)
    return response


def _narrowing(tracks: _Tracks) -> Array:
    """Shape and amplitude of the frication noise: (frames, bins), zero phase."""
    peak, width = tracks.noise_peak[:, None], tracks.noise_width[:, None]
    shape = 1 / (1 + ((_FREQUENCIES - peak) / width) ** 2)
    shape += 0.4 / (1 + ((_FREQUENCIES - 1.7 * peak) / (1.5 * width)) ** 2)
    shape *= np.sqrt(shape)  # steeper skirts
    level: Array = tracks.frication[:, None] / np.sqrt(np.mean(shape**2, axis=1, keepdims=True))
    return shape * level


def _spectra(source: Array) -> Spectra:
    """Spectra of the windowed pieces of the source: (samples,) to (frames, bins)."""
    padded = np.pad(source, HOP // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP]
    buffer = np.zeros((len(pieces), _FFT))
    buffer[:, _LEAD : _LEAD + _WINDOW] = pieces * (
        0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    )
    return np.fft.rfft(buffer)


def _overlap_add(spectra: Spectra, samples: int) -> Array:
    """Sum the filtered pieces back to one signal: (frames, bins) to (samples,)."""
    pieces = np.fft.irfft(spectra, n=_FFT).reshape(len(spectra), _FFT // HOP, HOP)
    hops = np.zeros((len(spectra) + _FFT // HOP - 1, HOP))
    for place in range(_FFT // HOP):
        hops[place : place + len(spectra)] += pieces[:, place]
    return hops.ravel()[_LEAD + HOP // 2 :][:samples]
