"""What the benchmarks of distillation share: options, teachers and students by seed, what these give.

Everything that is trained lies in a folder of runs and is resumed, or found complete, the next time.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earkit.benchmarks.log_mel import log_mel
from earkit.benchmarks.pretrain_quality import dinosr_features
from earkit.benchmarks.probes import Featurise, probe
from earkit.benchmarks.retrieval import Labels, retrieval, speaker_probe
from earkit.benchmarks.spoken_words import SpokenUtterance, SpokenWord, utterances, words
from earkit.distill.config import read_config
from earkit.distill.dinosr import load_teacher
from earkit.distill.distillation import DistilConfig, distil, distil_config
from earkit.distill.distilled import DistilledStudent, load_student
from earkit.distill.pretrain import load_config, pretrain
from earkit.distill.run_folder import open_run
from earkit.runtime.cache import cache_folder

Array = NDArray[np.float32]

BATCH_SAMPLES = 40 * 16_000


def options(about: str | None, seeds: int) -> argparse.ArgumentParser:
    """Give the options that all of them have; seeds: how many, unless said otherwise."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=cache_folder() / "bench")
    return parser


def quiet(_: object) -> None:
    """Hear reports, and say nothing."""


def teacher_run(folder: Path, seed: int, manifest: Path) -> Path:
    """Train `dinosr_nano` as `kit pretrain` does, unless the folder has it already; gives the run."""
    run = folder / f"seed{seed}" / "teacher_run"
    if not (run / "teacher" / "config.json").is_file():
        config = load_config("dinosr_nano", [f"seed={seed}"])
        corpus = open_run(run, config, manifest, fresh=False, say=quiet)
        pretrain(config, corpus, run, report=quiet, say=quiet)
    return run


def student_run(
    folder: Path,
    name: str,
    seed: int,
    manifest: Path,
    *,
    teachers: Sequence[str],
    recipe: str = "general",
    student: str | None = "tiny",
    start: str = "",
    overrides: Sequence[str] = (),
) -> Path:
    """Distil as `kit distill` does, unless the folder has it already; gives the run.

    What lies there by other settings, an older recipe's too, is set aside.
    """
    run = folder / f"seed{seed}" / name
    config = distil_config(
        recipe,
        teachers=teachers,
        student=None if start else student,
        start=start,
        overrides=["probe_every=0", *overrides, f"seed={seed}"],
    )
    file = run / "config.toml"
    outdated = file.is_file() and read_config(DistilConfig, file) != config
    if outdated or not (run / "student" / "student.json").is_file():
        corpus = open_run(run, config, manifest, fresh=outdated, say=quiet)
        distil(config, corpus, run, report=quiet, say=quiet)
    return run


def default_run(folder: Path, seed: int, manifest: Path, steps: int) -> Path:
    """Train the student that the others are compared with: of the DinoSR teacher, with default settings."""
    teacher = str(teacher_run(folder, seed, manifest))
    return student_run(folder, "default", seed, manifest, teachers=[teacher], overrides=[f"steps={steps}"])


def student_features(model: DistilledStudent) -> Featurise:
    """Every second block of a student, counted from the last; frames of 40 ms twice, as probes have 20 ms."""

    def featurise(samples: Array) -> Mapping[str, Array]:
        audio = torch.from_numpy(samples)[None]
        with torch.inference_mode():
            trace = model.student(audio, torch.tensor([len(samples)]))
        return {
            f"block {k}": hidden[0].repeat_interleave(2, dim=0).numpy()
            for k, hidden in reversed(list(enumerate(trace.hidden))[:0:-2])
        }

    return featurise


def teacher_features(run: Path) -> Featurise:
    """Every layer of a DinoSR teacher."""
    return dinosr_features(load_teacher(run / "teacher"))


def log_mel_features(samples: Array) -> Mapping[str, Array]:
    """Give the floor."""
    return {"80 bands": log_mel(samples)}


def probes(manifest: Path, featurise: Featurise, seed: int) -> dict[str, float]:
    """Accuracy of linear probes of frozen frames: phones and words."""
    return {task: round(score.accuracy, 4) for task, score in probe(manifest, featurise, seed=seed).items()}


def embeddings(model: DistilledStudent, clips: Sequence[Array], depth: int | None = None) -> Array:
    """Embed clips at full width, of length one, in batches of similar length. -> (clips, dim)."""
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
    rows: dict[int, Array] = {}
    while order:
        size = max(1, BATCH_SAMPLES // len(clips[order[min(len(order), 256) - 1]]))
        now, order = order[: min(size, 256)], order[min(size, 256) :]
        lengths = torch.tensor([len(clips[i]) for i in now])
        audio = torch.zeros(len(now), int(lengths.max()))
        for row, i in zip(audio, now, strict=True):
            row[: len(clips[i])] = torch.from_numpy(clips[i])
        with torch.inference_mode():
            made = model.embed(audio, lengths, depth=depth).numpy()
        rows |= dict(zip(now, made, strict=True))
    return np.stack([rows[i] for i in range(len(clips))])


def pooled(featurise: Featurise, clips: Sequence[Array], choice: str) -> Array:
    """Mean of the frames of each clip: what one does with a model that has no embedding."""
    return np.stack([featurise(clip)[choice].mean(0) for clip in clips])


@cache
def test_words(manifest: Path) -> tuple[SpokenWord, ...]:
    """Words cut out of the speech of the test speakers, the same for every seed."""
    return words(manifest, "test", seed=0, most_per_word=12)


def word_labels(manifest: Path) -> tuple[Labels, Labels]:
    """Give word and speaker of each of these. -> (words,) both."""
    spoken = test_words(manifest)
    return np.array([word.word for word in spoken]), np.array([word.speaker for word in spoken])


@cache
def test_utterances(manifest: Path) -> tuple[SpokenUtterance, ...]:
    """Give utterances of the test speakers, the same for every seed."""
    return utterances(manifest, "test", seed=0, per_speaker=16)


def embedding_scores(vectors_of: Mapping[str, Array], manifest: Path, seed: int) -> dict[str, float]:
    """Word retrieval across speakers, and speaker identification. vectors_of: `words` and `utterances`."""
    said = test_utterances(manifest)
    found = retrieval(vectors_of["words"], *word_labels(manifest))
    identified = speaker_probe(
        vectors_of["utterances"],
        np.array([each.speaker for each in said]),
        np.array([each.name for each in said]),
        seed,
    )
    return {
        "word_1nn": round(found.first, 4),
        "word_map": round(found.precision, 4),
        "speaker": round(identified.accuracy, 4),
    }


def student_embedding_scores(model: DistilledStudent, manifest: Path, seed: int) -> dict[str, float]:
    """Score the embedding of a student."""
    vectors = {
        "words": embeddings(model, [word.samples for word in test_words(manifest)]),
        "utterances": embeddings(model, [each.samples for each in test_utterances(manifest)]),
    }
    return embedding_scores(vectors, manifest, seed)


def student_scores(model: DistilledStudent, manifest: Path, seed: int) -> dict[str, float]:
    """Score the frames of a student, and its embedding."""
    frames = probes(manifest, student_features(model), seed)
    return frames | student_embedding_scores(model, manifest, seed)


def mean_scores(featurise: Featurise, manifest: Path, seed: int, choice: str) -> dict[str, float]:
    """Score the mean of one layer's frames as if it were an embedding."""
    vectors = {
        "words": pooled(featurise, [word.samples for word in test_words(manifest)], choice),
        "utterances": pooled(featurise, [each.samples for each in test_utterances(manifest)], choice),
    }
    return embedding_scores(vectors, manifest, seed)


def load(run: Path) -> DistilledStudent:
    """Load the student of a run."""
    return load_student(run)[0]
