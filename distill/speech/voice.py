"""Who speaks: voices drawn at random, so that no two speakers of a corpus sound alike."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earkit.distill.speech.phones import PHONES


@dataclass(frozen=True)
class Voice:
    """One speaker: the larynx, the length and proportions of the mouth, habits, the microphone."""

    kind: str  # man, woman or child
    pitch: float  # median fundamental frequency, Hz
    liveliness: float  # how far the melody moves, semitones
    tract: float  # formants against an average man's: a shorter mouth is above 1
    proportions: tuple[float, float, float, float]  # a factor of F1 to F4 on top of it
    accent: Mapping[str, tuple[float, float, float, float]]  # a factor of F1 to F4 for each phone
    open_quotient: float  # share of a period in which the glottis is open
    tilt: float  # Hz above which the voice loses a further 6 dB per octave
    breathiness: float  # aspiration under the voice, dB
    jitter: float  # relative deviation of a period
    shimmer: float  # relative deviation of a pulse
    rate: float  # above 1 is faster
    coarticulation: float  # seconds over which targets blur into each other
    channel_tilt: float  # dB per octave of the microphone


# pitch in Hz and its spread (log), formant factor and its spread (log), share of the speakers
_KINDS = {
    "man": (112.0, 0.16, 0.97, 0.050, 0.42),
    "woman": (198.0, 0.13, 1.14, 0.045, 0.42),
    "child": (268.0, 0.12, 1.29, 0.060, 0.16),
}


def draw_voice(rng: np.random.Generator) -> Voice:
    """Draw a speaker: a man, a woman or a child, each unlike the next."""
    kind = str(rng.choice(list(_KINDS), p=[share for *_, share in _KINDS.values()]))
    pitch, pitch_spread, tract, tract_spread, _ = _KINDS[kind]
    return Voice(
        kind=kind,
        pitch=pitch * math.exp(rng.normal(0, pitch_spread)),
        liveliness=rng.uniform(1.2, 4.5),
        tract=tract * math.exp(float(np.clip(rng.normal(0, tract_spread), -0.12, 0.12))),
        proportions=spread(rng, 0.03),
        accent={
            label: spread(rng, 0.035 if phone.manner == "vowel" else 0.02) for label, phone in PHONES.items()
        },
        open_quotient=rng.uniform(0.45, 0.8),
        tilt=1000.0 * 2.0 ** rng.uniform(-0.3, 2.3),
        breathiness=rng.uniform(-36.0, -16.0),
        jitter=rng.uniform(0.003, 0.015),
        shimmer=rng.uniform(0.02, 0.1),
        rate=math.exp(rng.normal(-0.12, 0.13)),
        coarticulation=rng.uniform(0.015, 0.026),
        channel_tilt=rng.normal(0, 1.5),
    )


def voice_of(seed: int, speaker: int) -> Voice:
    """Give the voice of a speaker of the corpus with this seed."""
    return draw_voice(np.random.default_rng([seed, speaker, 0]))


def spread(rng: np.random.Generator, deviation: float) -> tuple[float, float, float, float]:
    """Draw four factors about one, for F1 to F4: the lower two deviate most."""
    f1, f2, f3, f4 = np.exp(rng.normal(0, deviation * np.array([1.0, 1.0, 0.7, 0.7]))).tolist()
    return (f1, f2, f3, f4)
