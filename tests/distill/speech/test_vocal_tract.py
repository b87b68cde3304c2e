"""Sounds are measured as one measures a recording: autocorrelation, linear prediction, spectra."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from earkit.distill.speech.phones import PHONES, Segment
from earkit.distill.speech.prosody import HOP, Score
from earkit.distill.speech.vocal_tract import render
from earkit.distill.speech.voice import Voice, voice_of
from earkit.runtime.audio import SAMPLE_RATE

Array = NDArray[np.float64]

PLAIN = replace(
    voice_of(0, 0),
    tract=1.0,
    proportions=(1.0, 1.0, 1.0, 1.0),
    jitter=0.0,
    shimmer=0.0,
    breathiness=-60.0,
    tilt=3000.0,
)


def sound(*held: tuple[str, int], pitch: float = 110.0, voice: Voice = PLAIN) -> Array:
    """Hold the first segments of phones for so many frames of 5 ms: (samples,)."""
    segments: tuple[Segment, ...] = tuple(PHONES[label].segments[0] for label, _ in held)
    frames = tuple(count for _, count in held)
    steady = np.full(sum(frames), pitch)
    score = Score(segments, frames, steady, np.zeros(sum(frames)), (), ())
    audio = render(score, replace(voice, pitch=pitch), np.random.default_rng(0))
    assert len(audio) == HOP * sum(frames)
    return audio


def middle(audio: Array) -> Array:
    return audio[len(audio) // 4 : -len(audio) // 4]


def periodicity(audio: Array) -> tuple[float, float]:
    """Give fundamental frequency in Hz and the height of its autocorrelation peak."""
    wave = audio - audio.mean()
    products = np.correlate(wave, wave, "full")[len(wave) - 1 :] / np.sum(wave**2)
    products *= len(wave) / (len(wave) - np.arange(len(wave)))
    shortest, longest = SAMPLE_RATE // 500, SAMPLE_RATE // 55
    candidates = products[shortest:longest]
    lag = shortest + int(np.argmax(candidates > 0.95 * candidates.max()))  # its multiples are as high
    lag += int(np.argmax(products[lag : lag + shortest // 2]))
    below, peak, above = products[lag - 1 : lag + 2]
    exact = lag + 0.5 * (below - above) / (below - 2 * peak + above)
    return SAMPLE_RATE / exact, float(peak)


def resonances(audio: Array, order: int = 18) -> Array:
    """Frequencies in Hz of the narrow resonances, by linear prediction."""
    wave = np.diff(audio) * np.hamming(len(audio) - 1)
    r = np.correlate(wave, wave, "full")[len(wave) - 1 :][: order + 1]
    r[0] *= 1 + 1e-6
    matrix = r[np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
    roots = np.roots([1.0, *-np.linalg.solve(matrix, r[1:])])
    roots = roots[(roots.imag > 0) & (np.abs(roots) > 0.93)]
    frequencies = np.sort(np.angle(roots)) * SAMPLE_RATE / (2 * np.pi)
    return frequencies[frequencies > 180]


def centroid(audio: Array) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    return float(np.sum(power * np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)) / power.sum())


def decibels(audio: Array) -> float:
    return float(10 * np.log10(np.mean(audio**2) + 1e-12))


@pytest.mark.parametrize("pitch", [85.0, 118.3, 203.7, 310.0])
def test_the_pitch_is_the_one_asked_for(pitch: float) -> None:
    found, height = periodicity(middle(sound(("ah", 120), pitch=pitch)))
    assert found == pytest.approx(pitch, rel=0.005)
    assert height > 0.95


@pytest.mark.parametrize("tract", [0.95, 1.1, 1.25])
@pytest.mark.parametrize("vowel", ["iy", "ae", "aa", "er", "eh"])
def test_formants_lie_where_the_tract_puts_them(vowel: str, tract: float) -> None:
    found = resonances(middle(sound((vowel, 120), pitch=71.0, voice=replace(PLAIN, tract=tract))))
    targets = tract * np.array(PHONES[vowel].segments[0].formants[:3])
    assert found[:3] == pytest.approx(targets, rel=0.07)


def test_short_vowels_are_coloured_by_their_neighbours() -> None:
    """Undershoot: the second formant of a schwa leans to its context, the more so the shorter it is."""

    def second_formant(context: str, frames: int) -> float:
        audio = sound((context, 40), ("ax", frames), (context, 40), pitch=71.0)
        centre, half = HOP * (40 + frames // 2), 240
        return float(resonances(audio[centre - half : centre + half])[1])

    target = PHONES["ax"].segments[0].formants[1]
    assert second_formant("w", 6) < target - 150
    assert second_formant("y", 6) > target + 150
    assert abs(second_formant("y", 60) - target) < 100


def test_voiced_sounds_repeat_and_voiceless_ones_do_not() -> None:
    voiced = [periodicity(middle(sound((label, 60))))[1] for label in ("aa", "iy", "m", "l", "ng", "w")]
    voiceless = [periodicity(middle(sound((label, 60))))[1] for label in ("s", "f", "sh", "th", "hh")]
    assert min(voiced) > 0.9
    assert max(voiceless) < 0.5


def test_noises_lie_above_vowels_in_their_order() -> None:
    s, sh, aa, uw = (centroid(middle(sound((label, 60)))) for label in ("s", "sh", "aa", "uw"))
    assert s > sh + 800 > aa + 2000
    assert uw < aa < 1500


def test_loudness_of_the_manners() -> None:
    vowel, nasal, hiss, faint = (decibels(middle(sound((label, 60)))) for label in ("aa", "m", "s", "f"))
    assert abs(decibels(middle(sound(("ax", 60))))) < 3  # the reference
    assert nasal < vowel - 3
    assert faint < hiss - 6
    assert decibels(middle(sound(("t", 60)))) < vowel - 60  # a voiceless closure is silent


def test_a_nasal_is_damped_where_its_side_cavity_is() -> None:
    """Against the same segment with the velum closed, /m/ loses energy about its zero."""
    segment = PHONES["m"].segments[0]

    def at_zero(zero: float) -> float:
        score = Score((replace(segment, nasal_zero=zero),), (80,), np.full(80, 90.0), np.zeros(80), (), ())
        audio = middle(render(score, PLAIN, np.random.default_rng(0)))
        power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
        bins = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
        return 10 * np.log10(power[np.abs(bins - segment.nasal_zero) < 60].sum() / power.sum())

    assert at_zero(segment.nasal_zero) < at_zero(0.0) - 6


@pytest.mark.parametrize("roughness", [{"jitter": 0.03}, {"breathiness": -10.0}])
def test_jitter_and_breath_roughen_the_voice(roughness: dict[str, float]) -> None:
    smooth, rough = (
        periodicity(middle(sound(("aa", 120), voice=voice)))[1]
        for voice in (PLAIN, replace(PLAIN, **roughness))
    )
    assert rough < smooth - 0.03


def test_shimmer_makes_the_periods_uneven() -> None:
    def unevenness(shimmer: float) -> float:
        audio = middle(sound(("aa", 128), pitch=100.0, voice=replace(PLAIN, shimmer=shimmer)))
        powers = np.mean(audio.reshape(-1, SAMPLE_RATE // 100) ** 2, axis=1)
        return float(np.std(powers) / np.mean(powers))

    assert unevenness(0.0) < 0.02
    assert unevenness(0.1) > 0.08
