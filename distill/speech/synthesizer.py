"""A source-filter speech synthesizer in NumPy: robotic, varied, labelled to the sample, deterministic.

`utterance(seed, speaker, index)` depends on its arguments only, so a corpus can be made in any order, or
in parts. The voice is drawn in `voice`, the words are timed in `prosody` and sounded in `vocal_tract`;
here they are recorded, with the noise of a room and the colour of a microphone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earkit.distill.speech.phones import LEXICON, spell
from earkit.distill.speech.prosody import Score, Span, compose
from earkit.distill.speech.vocal_tract import render
from earkit.distill.speech.voice import Voice, voice_of
from earkit.runtime.audio import SAMPLE_RATE

SHORTEST, LONGEST = 2.5, 6.0  # seconds of an utterance
FEWEST_WORDS, MOST_WORDS = 4, 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Utterance:
    """A finished recording with its labels."""

    audio: NDArray[np.float32]  # (samples,), within [-1, 1]
    text: str
    words: tuple[Span, ...]
    phones: tuple[Span, ...]


def utterance(seed: int, speaker: int, index: int) -> Utterance:
    """Make the utterance `index` of a speaker: 4 to 10 words, 2.5 to 6 s, with background noise."""
    rng = np.random.default_rng([seed, speaker, 1 + index])
    voice = voice_of(seed, speaker)
    score = _sentence(voice, rng)
    audio = record(render(score, voice, rng), voice, rng)
    text = " ".join(span.label for span in score.words)
    return Utterance(audio, text, score.words, score.phones)


def say(text: str, voice: Voice, rng: np.random.Generator) -> Utterance:
    """Say the words of a text (see `earkit.distill.speech.phones.LEXICON`), without background noise."""
    score = compose(spell(text), voice, rng)
    audio = render(score, voice, rng)
    return Utterance(_at_level(audio, -23.0), text, score.words, score.phones)


def _sentence(voice: Voice, rng: np.random.Generator) -> Score:
    """Draw words until they fit between the shortest and the longest utterance."""
    lexicon = list(LEXICON.values())
    while True:
        count = rng.integers(FEWEST_WORDS, MOST_WORDS + 1)
        words = tuple(lexicon[place] for place in rng.integers(0, len(lexicon), size=count))
        score = compose(words, voice, rng)
        if SHORTEST <= score.samples / SAMPLE_RATE <= LONGEST:
            return score


def record(speech: Array, voice: Voice, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add background noise at 5 to 35 dB, pass the microphone, and set a level: (samples,) to the same."""
    kind = str(rng.choice(list(_BACKGROUNDS)))
    background = _BACKGROUNDS[kind](speech, rng)
    clearness = rng.triangular(5, 35, 35)  # dB: quiet rooms are the most frequent
    background *= _rms(speech) / _rms(background) * 10 ** (-clearness / 20)
    tilt = voice.channel_tilt + rng.normal(0, 0.7)
    return _at_level(_channel(speech + background, tilt, rng), rng.uniform(-32, -18))


def _rms(signal: Array) -> float:
    return math.sqrt(np.mean(signal**2)) + 1e-12


def _at_level(signal: Array, decibels: float) -> NDArray[np.float32]:
    """Scale to an RMS in dB of full scale, or less where peaks would clip."""
    gain = min(10 ** (decibels / 20) / _rms(signal), 0.95 / float(np.abs(signal).max()))
    return (gain * signal).astype(np.float32)


def _white(speech: Array, rng: np.random.Generator) -> Array:
    return rng.standard_normal(len(speech))


def _pink(speech: Array, rng: np.random.Generator) -> Array:
    spectrum = np.fft.rfft(rng.standard_normal(len(speech)))
    return np.fft.irfft(spectrum / np.sqrt(1 + np.arange(len(spectrum))), n=len(speech))


def _babble(speech: Array, rng: np.random.Generator) -> Array:
    """Six talkers: the utterance itself, backwards, at other speeds and from other places."""
    backwards = speech[::-1]
    places = np.arange(len(speech))
    talkers = [
        np.interp(
            (rng.uniform(0.75, 1.3) * places + rng.integers(len(speech))) % (len(speech) - 1),
            places,
            backwards,
        )
        for _ in range(6)
    ]
    babble: Array = np.sum(talkers, axis=0)
    return babble


def _hum(speech: Array, rng: np.random.Generator) -> Array:
    """Mains hum with its overtones over a faint hiss."""
    mains = float(rng.choice([50.0, 60.0])) * np.arange(1, 13)
    seconds = np.arange(len(speech)) / SAMPLE_RATE
    strength = rng.uniform(0.3, 1, size=12) / np.arange(1, 13)
    waves = np.sin(2 * np.pi * (mains[:, None] * seconds + rng.random(12)[:, None]))
    hum: Array = (strength[:, None] * waves).sum(axis=0)
    return hum + 0.05 * rng.standard_normal(len(speech))


_BACKGROUNDS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "white": _white,
    "pink": _pink,
    "babble": _babble,
    "hum": _hum,
}


def _channel(signal: Array, tilt: float, rng: np.random.Generator) -> Array:
    """Pass a microphone: a tilt in dB per octave, uneven by a few dB, with nothing below 50 Hz."""
    spectrum = np.fft.rfft(signal)
    frequencies = np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 50) / 1000)
    knots = np.linspace(-4.5, 3, 8)
    decibels = tilt * octaves + np.interp(octaves, knots, rng.normal(0, 1.0, size=8))
    return np.fft.irfft(spectrum * 10 ** (decibels / 20) * (frequencies > 50), n=len(signal))
