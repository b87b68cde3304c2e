"""What is said, and when: words become segments with durations, a melody and a loudness."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earkit.distill.speech.phones import OFF, PHONES, SILENCE, Phone, Segment, Word
from earkit.distill.speech.voice import Voice, spread
from earkit.runtime.audio import SAMPLE_RATE

HOP = 80  # samples between two settings of the filter: 5 ms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """A label and the samples it covers: from `start` up to, not including, `end`."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Score:
    """Everything the renderer plays: targets, how long each lasts, and the melody."""

    segments: tuple[Segment, ...]
    frames: tuple[int, ...]  # of each segment, in hops
    pitch: Array  # (frames,) fundamental frequency in Hz, also where nothing is voiced
    effort: Array  # (frames,) loudness in dB
    words: tuple[Span, ...]  # silence between words belongs to none
    phones: tuple[Span, ...]  # tile the whole score, silence included

    @property
    def samples(self) -> int:
        """Length of the rendered audio."""
        return HOP * sum(self.frames)


@dataclass(frozen=True)
class _Token:
    """A phone in its place: which word of the utterance it belongs to (None: silence)."""

    phone: Phone
    word: int | None
    stressed: bool = False
    before_pause: bool = False


def compose(words: tuple[Word, ...], voice: Voice, rng: np.random.Generator) -> Score:
    """Turn words into a score: pauses, allophones, durations, melody and loudness."""
    tokens = _tokens(words, rng)
    rate = voice.rate * math.exp(rng.normal(0, 0.08))
    segments: list[Segment] = []
    frames: list[int] = []
    phones: list[Span] = []
    for place, token in enumerate(tokens):
        spoken = _allophone(tokens, place, voice, rng)
        stretch = _stretch(tokens, place, rng) / rate
        lengths = [_frames(segment, stretch) for segment in spoken]
        start = phones[-1].end if phones else 0
        phones.append(Span(token.phone.label, start, start + HOP * sum(lengths)))
        segments.extend(spoken)
        frames.extend(lengths)
    total = sum(frames)
    stresses = [
        (span.start + span.end) / 2 / HOP
        for span, token in zip(phones, tokens, strict=True)
        if token.stressed
    ]
    return Score(
        tuple(segments),
        tuple(frames),
        _melody(total, stresses, voice, rng),
        _loudness(total, stresses, rng),
        _word_spans(words, tokens, phones),
        tuple(phones),
    )


def _tokens(words: tuple[Word, ...], rng: np.random.Generator) -> list[_Token]:
    silence = _Token(PHONES[SILENCE], None)
    tokens = [silence]
    for number, word in enumerate(words):
        pause = number == len(words) - 1 or rng.random() < 0.2
        tokens += [
            _Token(phone, number, stressed=place == word.stress, before_pause=pause and place >= word.stress)
            for place, phone in enumerate(word.phones)
        ]
        if pause:
            tokens.append(silence)
    return tokens


def _word_spans(words: tuple[Word, ...], tokens: list[_Token], phones: list[Span]) -> tuple[Span, ...]:
    spans = []
    for number, word in enumerate(words):
        own = [span for span, token in zip(phones, tokens, strict=True) if token.word == number]
        spans.append(Span(word.text, own[0].start, own[-1].end))
    return tuple(spans)


def _frames(segment: Segment, stretch: float) -> int:
    seconds = segment.seconds * (1 - segment.elastic + segment.elastic * stretch)
    return max(2, round(seconds * SAMPLE_RATE / HOP))


def _stretch(tokens: list[_Token], place: int, rng: np.random.Generator) -> float:
    """How much longer than in citation form a phone is here, before the speaking rate."""
    token, after = tokens[place], tokens[min(place + 1, len(tokens) - 1)]
    if token.word is None:
        return rng.uniform(0.8, 3.0)
    stretch = math.exp(rng.normal(0, 0.14))
    if token.phone.manner == "vowel" and not token.stressed:
        stretch *= 0.75
    if token.phone.manner == "vowel" and after.word == token.word and not after.phone.voiced:
        stretch *= 0.8  # vowels are clipped before voiceless consonants
    return stretch * (1.3 if token.before_pause else 1.0)


def _allophone(
    tokens: list[_Token], place: int, voice: Voice, rng: np.random.Generator
) -> tuple[Segment, ...]:
    """Give the segments of a phone as this speaker says it, this time, beside these neighbours."""
    token = tokens[place]
    segments = token.phone.segments
    if token.phone.manner == "stop":
        segments = _stop_allophone(tokens, place, rng)
    elif token.phone.manner == "vowel" and not token.stressed:
        segments = tuple(_reduced(segment) for segment in segments)
    factors = np.array(voice.accent[token.phone.label]) * np.array(spread(rng, 0.018))
    return tuple(
        replace(segment, formants=tuple(np.array(segment.formants) * factors)) for segment in segments
    )


def _stop_allophone(tokens: list[_Token], place: int, rng: np.random.Generator) -> tuple[Segment, ...]:
    token, before, after = tokens[place], tokens[place - 1], tokens[place + 1]
    segments = token.phone.segments
    if after.word != token.word and rng.random() < 0.35:
        return segments[:1]  # unreleased
    if before.phone.label == "s" and before.word == token.word:
        return segments[:2]  # no aspiration after s
    if token.phone.voiced and before.word is None and rng.random() < 0.6:
        return (replace(segments[0], voicing=OFF), *segments[1:])
    return segments


def _reduced(segment: Segment) -> Segment:
    neutral = PHONES["ax"].segments[0].formants
    formants = tuple(0.65 * np.array(segment.formants) + 0.35 * np.array(neutral))
    return replace(segment, formants=formants, voicing=segment.voicing - 3.0)


def _melody(total: int, stresses: list[float], voice: Voice, rng: np.random.Generator) -> Array:
    """Fundamental frequency in Hz: it declines, rises on accents, falls (or asks) at the end."""
    frame = np.arange(total)
    semitones = voice.liveliness * (0.5 - 1.1 * frame / total)
    for centre in stresses:
        if rng.random() < 0.7:
            height, width = voice.liveliness * rng.uniform(0.4, 1.4), rng.uniform(10, 20)
            semitones += height * np.exp(-0.5 * ((frame - centre) / width) ** 2)
    ending = voice.liveliness * (2.0 if rng.random() < 0.2 else -1.0)
    semitones += ending * np.clip((frame - (total - 80)) / 60, 0, 1)
    semitones += rng.uniform(-1.5, 1.5) + _drift(total, 0.3, rng)
    return np.clip(voice.pitch * 2 ** (semitones / 12), 55, 550)


def _loudness(total: int, stresses: list[float], rng: np.random.Generator) -> Array:
    """Effort in dB: each word its own, falling by a few dB to the end."""
    knots = rng.normal(0, 2.5, size=len(stresses))
    return np.interp(np.arange(total), stresses, knots) - rng.uniform(0, 4) * np.arange(total) / total


def _drift(total: int, deviation: float, rng: np.random.Generator) -> Array:
    """Slow random movement with a knot every 100 ms."""
    knots = np.arange(0, total + 20, 20)
    return np.interp(np.arange(total), knots, rng.normal(0, deviation, size=len(knots)))
