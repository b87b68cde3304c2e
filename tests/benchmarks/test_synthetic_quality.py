"""Anyone is scored on synthetic speech: who knows everything, a floor, and frames of any grid."""

from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks import distilled as bench
from earkit.benchmarks import synthetic_quality as module
from earkit.benchmarks.representations import Array, Representation
from earkit.benchmarks.synthetic_quality import main, on_grid, scores
from earkit.distill.speech.synthetic_corpus import write_corpus

pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("c") / "corpus", minutes=3, speakers=8, seed=0)


def test_who_knows_words_and_speakers_is_always_right(manifest: Path) -> None:
    known = {word.samples.tobytes(): word.word for word in bench.test_words(manifest)}
    known |= {each.samples.tobytes(): each.speaker for each in bench.test_utterances(manifest)}
    names = sorted(set(known.values()))

    def vector(samples: Array) -> Array:
        return np.eye(len(names), dtype=np.float32)[names.index(known[samples.tobytes()])]

    found = scores(Representation("oracle", vector=vector), manifest, seed=0)
    assert found == {"word_1nn": 1.0, "word_map": 1.0, "speaker": 1.0}  # no frames, so no probes


def test_the_nearest_frame_answers() -> None:
    def frames(samples: Array) -> dict[str, Array]:
        return {"layer": np.arange(len(samples) // 640, dtype=np.float32)[:, None]}

    made = on_grid(Representation("slow", frames, hop=640, first_centre=320))(np.zeros(6400, np.float32))
    centres = 320 + 640 * np.arange(10)
    wanted = [int(np.abs(centres - place).argmin()) for place in range(200, 6201, 320)]
    assert made["layer"][:, 0].tolist() == wanted


def test_the_table(manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(module, "default_corpus", lambda: manifest)
    monkeypatch.setattr("sys.argv", ["synthetic_quality", "log-mel"])
    main()
    heads, floor = capsys.readouterr().out.splitlines()
    assert heads.split() == ["phones", "words", "word", "retrieval", "MAP", "speakers"]
    name, phones, *_ = floor.split()
    assert name == "log-mel"
    assert 20 < float(phones.rstrip("%")) < 100
    monkeypatch.setattr("sys.argv", ["synthetic_quality", "nobody"])
    with pytest.raises(SystemExit):
        main()
    assert "nobody" in capsys.readouterr().err
