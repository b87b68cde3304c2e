"""Forty phones of English as acoustic targets, and a lexicon of words made of them.

The formant targets are those of an average adult man; `Voice.tract` scales them to other people.
Labels are the ARPABET ones in lower case, plus `sil` for silence. The numbers are textbook values
(Peterson and Barney's vowels, Klatt's consonant loci) rounded by hand: enough for intelligible,
robotic speech, and a phone is never told by one number alone.
"""

import math
from dataclasses import dataclass, replace

from earkit.runtime.errors import DataError

OFF = -math.inf  # a source that does not sound, in dB
SILENCE = "sil"


@dataclass(frozen=True)
class Segment:
    """A stretch with one articulatory target; a phone is one or more of them in a row."""

    seconds: float  # duration in citation form
    formants: tuple[float, float, float, float]  # F1 to F4 in Hz
    pull: tuple[float, float, float, float]  # how strongly each formant resists its neighbours, 0 to 1
    voicing: float = OFF  # dB against a schwa: the pulses of the larynx
    aspiration: float = OFF  # dB: noise of the open larynx, shaped by the formants
    frication: float = OFF  # dB: noise of a narrowing, with a spectrum of its own
    noise_peak: float = 4000.0  # Hz, centre of the frication noise
    noise_width: float = 2000.0  # Hz, its half width at half power
    noise_follows: float = 0.0  # 0: the peak stays, 1: it sits on the second formant of the context
    nasal_zero: float = 0.0  # Hz of the side cavity's zero; 0 with the velum closed
    damping: float = 1.0  # widens the formants' bandwidths
    elastic: float = 1.0  # share of the duration that speaking rate and stress change


@dataclass(frozen=True)
class Phone:
    """A phone: its manner, and its segments in order."""

    label: str
    manner: str  # vowel, glide, liquid, nasal, fricative, stop, affricate or silence
    segments: tuple[Segment, ...]

    @property
    def voiced(self) -> bool:
        """Whether the vocal folds vibrate from its start."""
        return self.segments[0].voicing > OFF


_NEUTRAL = (500.0, 1500.0, 2500.0, 3500.0)
_FIRM = (0.9, 0.9, 0.8, 0.6)
_FREE = (0.06, 0.06, 0.06, 0.06)  # the tongue is on its way from neighbour to neighbour


def _vowel(label: str, seconds: float, f1: float, f2: float, f3: float) -> Phone:
    return Phone(label, "vowel", (Segment(seconds, (f1, f2, f3, 2200 + f3 / 2), _FIRM, voicing=0.0),))


def _diphthong(label: str, seconds: float, start: Phone, end: Phone) -> Phone:
    first, second = start.segments[0], end.segments[0]
    return Phone(
        label,
        "vowel",
        (replace(first, seconds=0.55 * seconds), replace(second, seconds=0.45 * seconds, voicing=-1.5)),
    )


def _approximant(
    label: str, manner: str, seconds: float, formants: tuple[float, float, float, float]
) -> Phone:
    segment = Segment(seconds, formants, (1.0, 1.0, 0.9, 0.6), voicing=-3.0, damping=1.2)
    return Phone(label, manner, (segment,))


def _nasal(label: str, second_formant: float, third_formant: float, firmness: float, zero: float) -> Phone:
    segment = Segment(
        0.075,
        (270.0, second_formant, third_formant, 3300.0),
        (1.5, firmness, 0.7, 0.5),
        voicing=-4.0,
        nasal_zero=zero,
        damping=1.8,
    )
    return Phone(label, "nasal", (segment,))


@dataclass(frozen=True)
class _Place:
    """Where the mouth is narrowed: the formant locus, and the noise made there."""

    locus: tuple[float, float, float, float]
    pull: tuple[float, float, float, float]
    noise_peak: float
    noise_width: float
    noise_follows: float = 0.0


_LABIAL = _Place((250.0, 900.0, 2200.0, 3300.0), (1.2, 0.35, 0.5, 0.4), 1100.0, 1000.0, 0.3)
_LABIODENTAL = _Place((320.0, 1050.0, 2200.0, 3300.0), (1.0, 0.4, 0.5, 0.4), 4800.0, 4500.0)
_DENTAL = _Place((320.0, 1350.0, 2600.0, 3400.0), (1.0, 0.6, 0.6, 0.4), 5800.0, 3200.0)
_ALVEOLAR = _Place((300.0, 1750.0, 2650.0, 3600.0), (1.2, 0.75, 0.7, 0.5), 4100.0, 1700.0, 0.15)
_SIBILANT = _Place((320.0, 1650.0, 2600.0, 3600.0), (1.0, 0.7, 0.7, 0.5), 5300.0, 1100.0, 0.12)
_POSTALVEOLAR = _Place((300.0, 1900.0, 2500.0, 3400.0), (1.0, 0.7, 0.7, 0.5), 2900.0, 750.0, 0.2)
_VELAR = _Place((280.0, 1900.0, 2250.0, 3400.0), (1.2, 0.2, 0.4, 0.4), 1900.0, 500.0, 0.8)


def _narrowing(place: _Place, seconds: float, frication: float, voicing: float, elastic: float) -> Segment:
    return Segment(
        seconds,
        place.locus,
        place.pull,
        voicing=voicing,
        frication=frication,
        noise_peak=place.noise_peak,
        noise_width=place.noise_width,
        noise_follows=place.noise_follows,
        damping=1.6,
        elastic=elastic,
    )


def _fricative(label: str, place: _Place, seconds: float, frication: float, voicing: float = OFF) -> Phone:
    segment = _narrowing(place, seconds, frication, voicing, elastic=0.8)
    return Phone(label, "fricative", (segment,))


def _stop(label: str, place: _Place, burst: float, *, voiced: bool) -> Phone:
    """Closure, burst, and for the voiceless ones aspiration until the folds vibrate again."""
    closure = Segment(0.055 if voiced else 0.07, place.locus, place.pull, voicing=-6.0 if voiced else OFF)
    release = _narrowing(place, 0.01 if voiced else 0.015, burst, -10.0 if voiced else OFF, elastic=0.0)
    breath = Segment(0.045, place.locus, _FREE, aspiration=-13.0, frication=burst - 14.0, elastic=0.6)
    breath = replace(breath, noise_peak=place.noise_peak, noise_width=place.noise_width, damping=2.5)
    return Phone(label, "stop", (closure, release) if voiced else (closure, release, breath))


def _affricate(label: str, frication: float, voicing: float) -> Phone:
    closure = Segment(0.05, _ALVEOLAR.locus, _ALVEOLAR.pull, voicing=voicing)
    noise = _narrowing(_POSTALVEOLAR, 0.075 if voicing == OFF else 0.05, frication, voicing, elastic=0.7)
    return Phone(label, "affricate", (closure, noise))


_IY = _vowel("iy", 0.125, 270, 2290, 3010)
_IH = _vowel("ih", 0.085, 390, 1990, 2550)
_EH = _vowel("eh", 0.105, 530, 1840, 2480)
_AE = _vowel("ae", 0.145, 660, 1720, 2410)
_AA = _vowel("aa", 0.145, 730, 1090, 2440)
_AO = _vowel("ao", 0.145, 570, 840, 2410)
_UH = _vowel("uh", 0.085, 440, 1020, 2240)
_UW = _vowel("uw", 0.125, 300, 870, 2240)

_ALL = (
    Phone(SILENCE, "silence", (Segment(0.1, _NEUTRAL, _FREE),)),
    *(_IY, _IH, _EH, _AE, _AA, _AO, _UH, _UW),
    _vowel("ah", 0.095, 640, 1190, 2390),
    _vowel("er", 0.135, 490, 1350, 1690),
    _vowel("ax", 0.055, 500, 1450, 2450),
    _diphthong("ey", 0.15, _vowel("", 0.1, 480, 1950, 2550), _vowel("", 0.1, 320, 2200, 2800)),
    _diphthong("ay", 0.175, _AA, _vowel("", 0.1, 390, 2000, 2600)),
    _diphthong("oy", 0.185, _AO, _vowel("", 0.1, 380, 1950, 2550)),
    _diphthong("aw", 0.175, _vowel("", 0.1, 720, 1300, 2450), _vowel("", 0.1, 420, 950, 2300)),
    _diphthong("ow", 0.15, _vowel("", 0.1, 520, 1000, 2350), _vowel("", 0.1, 360, 820, 2250)),
    _approximant("w", "glide", 0.07, (290.0, 650.0, 2150.0, 3300.0)),
    _approximant("y", "glide", 0.065, (260.0, 2200.0, 3000.0, 3600.0)),
    _approximant("l", "liquid", 0.07, (350.0, 1050.0, 2750.0, 3400.0)),
    _approximant("r", "liquid", 0.075, (330.0, 1100.0, 1450.0, 3100.0)),
    _nasal("m", 1050, 2200, 0.4, zero=950.0),
    _nasal("n", 1600, 2600, 0.8, zero=1600.0),
    _nasal("ng", 2000, 2350, 0.3, zero=2700.0),
    _fricative("f", _LABIODENTAL, 0.095, -22.0),
    _fricative("th", _DENTAL, 0.09, -23.0),
    _fricative("s", _SIBILANT, 0.105, -10.0),
    _fricative("sh", _POSTALVEOLAR, 0.105, -8.0),
    _fricative("v", _LABIODENTAL, 0.06, -26.0, voicing=-5.0),
    _fricative("dh", _DENTAL, 0.05, -27.0, voicing=-4.0),
    _fricative("z", _SIBILANT, 0.075, -15.0, voicing=-7.0),
    _fricative("zh", _POSTALVEOLAR, 0.075, -13.0, voicing=-7.0),
    Phone("hh", "fricative", (Segment(0.065, _NEUTRAL, _FREE, aspiration=-11.0, damping=2.5),)),
    _stop("p", _LABIAL, -15.0, voiced=False),
    _stop("t", _ALVEOLAR, -6.0, voiced=False),
    _stop("k", _VELAR, -8.0, voiced=False),
    _stop("b", _LABIAL, -18.0, voiced=True),
    _stop("d", _ALVEOLAR, -10.0, voiced=True),
    _stop("g", _VELAR, -11.0, voiced=True),
    _affricate("ch", -8.0, OFF),
    _affricate("jh", -11.0, -8.0),
)

PHONES = {phone.label: phone for phone in _ALL}

# One word a line; `1` marks the stressed vowel where it is not the first. Rich on purpose in minimal
# pairs (pin, bin) and in words of the same phones in another order (cat, act, tack): an average
# spectrum does not tell those apart.
_SPELLED = """
about     ax b aw1 t
act       ae k t
back      b ae k
bad       b ae d
badge     b ae jh
banana    b ax n ae1 n ax
bat       b ae t
bathe     b ey dh
bin       b ih n
bird      b er d
blue      b l uw
book      b uh k
boy       b oy
breathe   b r iy dh
cab       k ae b
cash      k ae sh
cat       k ae t
cheap     ch iy p
chip      ch ih p
church    ch er ch
city      s ih t iy
coin      k oy n
cook      k uh k
dab       d ae b
den       d eh n
dream     d r iy m
eat       iy t
edge      eh jh
fan       f ae n
father    f aa dh er
fin       f ih n
finger    f ih ng g er
foal      f ow l
food      f uw d
god       g aa d
good      g uh d
green     g r iy n
gum       g ah m
heat      hh iy t
hello     hh ax l ow1
hood      hh uh d
house     hh aw s
jab       jh ae b
join      jh oy n
judge     jh ah jh
kale      k ey l
keep      k iy p
king      k ih ng
kiss      k ih s
lake      l ey k
lazy      l ey z iy
light     l ay t
lime      l ay m
lips      l ih p s
loaf      l ow f
long      l ao ng
loud      l aw d
main      m ey n
measure   m eh zh er
meat      m iy t
mile      m ay l
moon      m uw n
mother    m ah dh er
mouth     m aw th
mug       m ah g
music     m y uw z ih k
name      n ey m
nest      n eh s t
nets      n eh t s
nip       n ih p
nose      n ow z
nut       n ah t
oil       oy l
ooze      uw z
over      ow v er
peach     p iy ch
peak      p iy k
pest      p eh s t
pets      p eh t s
pin       p ih n
pitch     p ih ch
play      p l ey
pots      p aa t s
quick     k w ih k
red       r eh d
road      r ow d
sent      s eh n t
seven     s eh v ax n
shack     sh ae k
sheep     sh iy p
ship      sh ih p
shirt     sh er t
shoe      sh uw
short     sh ao r t
sick      s ih k
sin       s ih n
skip      s k ih p
slip      s l ih p
smooth    s m uw dh
sofa      s ow f ax
song      s ao ng
spill     s p ih l
spot      s p aa t
step      s t eh p
stop      s t aa p
sun       s ah n
tab       t ae b
tack      t ae k
tea       t iy
team      t iy m
teeth     t iy th
than      dh ae n
the       dh ax
these     dh iy z
thin      th ih n
thing     th ih ng
third     th er d
this      dh ih s
tile      t ay l
ton       t ah n
tops      t aa p s
town      t aw n
toy       t oy
tree      t r iy
under     ah n d er
usual     y uw zh uw ax l
van       v ae n
vision    v ih zh ax n
voice     v oy s
water     w ao t er
wet       w eh t
wing      w ih ng
wire      w ay r
yard      y aa r d
yellow    y eh l ow
yet       y eh t
zone      z ow n
zoo       z uw
"""


@dataclass(frozen=True)
class Word:
    """A word of the lexicon: its phones, and which of them carries the stress."""

    text: str
    phones: tuple[Phone, ...]
    stress: int


def _word(line: str) -> Word:
    text, *marked = line.split()
    phones = tuple(PHONES[label.removesuffix("1")] for label in marked)
    candidates = [place for place, label in enumerate(marked) if label.endswith("1")] or [
        place for place, phone in enumerate(phones) if phone.manner == "vowel"
    ]
    return Word(text, phones, candidates[0])


LEXICON = {word.text: word for word in map(_word, _SPELLED.strip().splitlines())}


def spell(text: str) -> tuple[Word, ...]:
    """Look up each word of a text; a word outside the lexicon is a DataError."""
    if not text.split():
        raise DataError(
            f"there is no word in the text {text!r}; give some of earkit.distill.speech.phones.LEXICON"
        )
    unknown = [word for word in text.split() if word not in LEXICON]
    if unknown:
        raise DataError(
            f"the synthesizer cannot say {unknown[0]!r}, it knows the {len(LEXICON)} words of "
            "earkit.distill.speech.phones.LEXICON; use those"
        )
    return tuple(LEXICON[word] for word in text.split())
