"""The probe itself: it finds what is there, does not find what is not, and never trains on test speakers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from earkit.benchmarks.probes import Array, probe
from earkit.distill.speech.synthetic_corpus import read_labels, write_corpus
from earkit.runtime.audio import read

# So little speech has words that are said once.
pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("c") / "corpus", minutes=1.2, speakers=8, seed=0)


def test_perfect_and_useless_features(manifest: Path) -> None:
    """One-hot phones as features give every phone; noise gives about the commonest one."""
    clips = {read(clip.path).samples.tobytes(): clip for clip in read_labels(manifest)}
    labels = sorted({span.label for clip in clips.values() for span in clip.phones})

    def oracle(samples: Array) -> Mapping[str, Array]:
        frames = np.zeros(((len(samples) - 400) // 320 + 1, len(labels)), np.float32)
        centres = np.arange(len(frames)) * 320 + 200
        for span in clips[samples.tobytes()].phones:
            frames[(centres >= span.start) & (centres < span.end), labels.index(span.label)] = 1
        rng = np.random.default_rng(len(samples))
        return {"noise": rng.standard_normal(frames.shape).astype(np.float32), "oracle": frames}

    scores = probe(manifest, oracle, seed=0, frames=2000)
    assert scores["phones"].accuracy > 0.98
    assert scores["phones"].choice == "oracle"  # chosen on the development speakers
    noise = probe(manifest, lambda samples: {"noise": oracle(samples)["noise"]}, seed=0, frames=2000)
    assert noise["phones"].accuracy < 0.35


def test_speakers_are_disjoint(manifest: Path) -> None:
    clips = read_labels(manifest)
    train, test = ({clip.speaker for clip in clips if clip.split == split} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test
