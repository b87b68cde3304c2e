"""Small corpora in which the sound tells the class: every sample is the class's number over 256."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks.corpora.build import COLUMNS
from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks.task import Task

SAMPLES = 9600
CODES = 64
Fields = Mapping[str, str]
Number = Callable[[str], int]


def numbers() -> Number:
    """Number classes as they come, from 1."""
    known: dict[str, int] = {}
    return lambda name: known.setdefault(name, len(known) + 1)


def words(language: str) -> Iterator[tuple[str, Fields]]:
    for slot, word in product("123", [f"w{k}" for k in range(8)]):
        yield word, {"language": language, "speaker": f"kajongg-{language}-{slot}", "label": word}


def meetings() -> Iterator[tuple[str, Fields]]:
    for meeting, speaker, _ in product("ABC", "xyz", range(2)):
        yield speaker, {"session": meeting, "speaker": speaker, "label": speaker}


def spoken_digits() -> Iterator[tuple[str, Fields]]:
    voices = [
        *(("en", "alice", "a-en"), ("es", "alice", "a-es"), ("en", "bob", "b"), ("es", "carla", "c")),
        *(
            ("en", "volunteer-en", "tuxpaint-stamps-default"),
            ("es", "volunteer-es", "tuxpaint-stamps-default"),
        ),
        ("ro", "radu", "r"),  # the only one of his language
    ]
    for (language, speaker, package), digit in product(voices, "0123"):
        yield digit, {"language": language, "speaker": speaker, "package": package, "label": digit}


def languages(package: str, spoken: Sequence[str]) -> Iterator[tuple[str, Fields]]:
    for language, _ in product(spoken, range(4)):
        yield language, {"language": language, "package": package, "speaker": f"{package}-{language}"}


def lines() -> Iterator[tuple[str, Fields]]:
    for speaker, split, _ in product("stu", ("train", "train", "test"), range(6)):
        yield speaker, {"speaker": speaker, "split": split, "label": speaker}


def notes() -> Iterator[tuple[str, Fields]]:
    libraries = (("fluid", "train"), ("timgm", "test"), ("freepats", "test"))
    for (package, split), family, kind, note in product(
        libraries, ("reed", "brass"), "ijklmn", ("C4", "G#5")
    ):
        yield (
            family,
            {"package": package, "split": split, "label": family, "text": f"{family}{kind} {note}(L)"},
        )
    yield "organ", {"package": "fluid", "split": "train", "label": "organ", "text": "only here"}
    yield "reed", {"package": "fluid", "split": "train", "text": "of several families"}


def sentences() -> Iterator[tuple[list[tuple[str, int]], Fields]]:
    """Phones of three to six frames, never one twice: what warping makes one would be no contrast."""
    rng = np.random.default_rng(0)
    for split, _ in product(("train", "train", "development", "test", "test"), range(4)):
        phones = np.cumsum(rng.integers(1, 4, 40)) % 4
        said = [("aokt"[phone], 320 * int(rng.integers(3, 7))) for phone in phones]
        yield said, {"split": split, "speaker": "one"}


CORPORA: Mapping[str, Callable[[], Iterator[tuple[str | list[tuple[str, int]], Fields]]]] = {
    "kajongg": lambda: iter([*words("de"), *words("en")]),
    "speakerbox": meetings,
    "digits": spoken_digits,
    "uqm": lines,
    "instruments": notes,
    "festvox-ru": sentences,
    "tuxpaint": lambda: languages("tuxpaint-stamps-default", ("fr", "ru", "es")),
    "ktuberling": lambda: languages("ktuberling-data", ("fr", "ru", "it")),
    "asterisk-core": lambda: languages("asterisk-core-sounds", ("fr", "ru", "it", "es")),
    "asterisk-prompts": lambda: languages("asterisk-prompt", ("fr", "it")),
    "fillets": lambda: languages("fillets-ng-data-cs", ("cs",)),
    "games": lambda: languages("hedgewars-data", ("es", "pl")),
}


def write(folder: Path, name: str, number: Number) -> None:
    """Make a corpus as `kit corpus get` would leave it."""
    rows = []
    (folder / name).mkdir(parents=True)
    for index, (what, fields) in enumerate(CORPORA[name]()):
        if isinstance(what, str):
            length = SAMPLES + 100 * list(CORPORA).index(name) + index  # no two clips are the same
            samples, phones = np.full(length, number(what)), ""
        else:
            samples = np.concatenate([np.full(length, number(phone)) for phone, length in what])
            ends = np.cumsum([0, *(length for _, length in what)])
            phones = " ".join(f"{p}:{a}:{b}" for (p, _), a, b in zip(what, ends, ends[1:], strict=False))
        path = f"{index:03}.flac"
        soundfile.write(folder / name / path, (samples * 128).astype(np.int16), 16_000, subtype="PCM_16")
        known = {"package": name, "sha256": f"{name}-{index}", "phones": phones, "samples": str(len(samples))}
        rows.append({"path": path, "sample_rate": "16000", "use": "evaluation", **known, **fields})
    with (folder / name / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="session")
def small_corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that has every corpus of the tasks, small."""
    cache = tmp_path_factory.mktemp("cache")
    number = numbers()
    for name in CORPORA:
        write(cache / "corpora", name, number)
    return cache


@pytest.fixture
def corpora(small_corpora: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the tasks find the small corpora."""
    monkeypatch.setenv("EARKIT_CACHE", str(small_corpora))
    return small_corpora


def one_hot(samples: np.ndarray) -> np.ndarray:
    return np.eye(CODES, dtype=np.float32)[np.clip(np.round(samples * 256), 0, CODES - 1).astype(int)]


def random_frames(samples: np.ndarray) -> np.ndarray:
    seed = int(np.abs(samples).sum() * 1000) + len(samples)
    return np.random.default_rng(seed).standard_normal((len(samples) // 320, 16)).astype(np.float32)


@pytest.fixture(scope="session")
def oracle() -> Representation:
    """Knows everything in its layer `knows`, and nothing in the other one."""

    def frames(samples: np.ndarray) -> dict[str, np.ndarray]:
        return {"guesses": random_frames(samples), "knows": one_hot(samples[160::320])[: len(samples) // 320]}

    return Representation("oracle", frames, 320, 160)


@pytest.fixture(scope="session")
def guesser() -> Representation:
    """Knows nothing."""
    return Representation("guesser", lambda samples: {"guesses": random_frames(samples)}, 320, 160)


@pytest.fixture(scope="session")
def embedder() -> Representation:
    """Hands out a vector that knows the class."""

    def vector(samples: np.ndarray) -> np.ndarray:
        return one_hot(np.median(samples, keepdims=True))[0]

    return Representation("embedder", vector=vector)


@pytest.fixture
def scored() -> Callable[[Task, Representation], dict[str, float]]:
    """Run a task; its figures by metric."""
    from earkit.benchmarks.tasks.evaluate import evaluate

    def run(task: Task, representation: Representation) -> dict[str, float]:
        return {score.metric: score.value for score in evaluate(representation, [task], seed=0)}

    return run
