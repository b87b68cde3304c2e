"""The stages of the demo, each by the functions that the verbs of the command line call."""

import csv
import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from earkit.benchmarks.compact_vectors import truncated
from earkit.benchmarks.contestants import contestant, of_model_file
from earkit.benchmarks.cost import COUNTED, Plan, in_turns, timed
from earkit.benchmarks.demo import Shown
from earkit.benchmarks.demo_record import Record, Result
from earkit.benchmarks.distilled import log_mel_features, pooled, teacher_features
from earkit.benchmarks.machine import machine
from earkit.benchmarks.probes import Featurise, probe
from earkit.benchmarks.retrieval import retrieval
from earkit.benchmarks.spoken_words import write_words
from earkit.compress.calibration_clips import clips_of_run
from earkit.compress.prune import prune
from earkit.compress.prune_config import Target, learned_from, prune_config
from earkit.compress.quantize import Quantized, quantize
from earkit.distill.dinosr import load_teacher
from earkit.distill.distillation import distil, distil_config
from earkit.distill.pretrain import load_config, pretrain
from earkit.distill.run_folder import open_run
from earkit.distill.speech.synthetic_corpus import MANIFEST, default_corpus, read_labels
from earkit.export.graph import clip_graph, select
from earkit.export.student import export_student
from earkit.runtime.audio import SAMPLE_RATE, read
from earkit.runtime.corpus_run import embed_corpus
from earkit.runtime.embedder import Embedder
from earkit.runtime.search.build import Options, build_index
from earkit.runtime.search.index import Hit, Index
from earkit.runtime.sound_files import find_sounds

Array = NDArray[np.float32]
Said = Mapping[str, tuple[str, str]]
"""Of a file: which word, and who says it."""

HITS = 100  # of a query, among which are those of other speakers
EXAMPLES = 6


class Stages:
    """One method for each stage; it gives what the report needs of it, in JSON."""

    def __init__(self, out: Path, record: Record, shown: Shown) -> None:
        self.out, self.record, self.shown, self.settings = out, record, shown, record.settings
        self.teacher_run, self.student_run = out / "teacher", out / self.settings.student
        self.pruned_run = out / f"{self.settings.student}-pruned"
        self.words = out / "words"

    @cached_property
    def manifest(self) -> Path:
        """The speech; where it is not made yet, now."""
        if self.settings.speech:
            return Path(self.settings.speech)
        counted = self.shown.counting("synthetic speech, per cent")
        return default_corpus(lambda share: counted(round(100 * share), 100))

    def speech(self) -> Result:
        """Make the speech, and count it."""
        clips = read_labels(self.manifest)
        minutes = sum(clip.samples for clip in clips) / SAMPLE_RATE / 60
        held = {clip.speaker for clip in clips if clip.split == "test"}
        speakers = len({clip.speaker for clip in clips})
        return {"minutes": round(minutes, 1), "speakers": speakers, "held_out": len(held)}

    def teacher(self) -> Result:
        """Train the teacher, as `kit pretrain` does."""
        config = load_config(
            self.settings.teacher, [*self.settings.teacher_set, f"seed={self.settings.seed}"]
        )
        corpus = open_run(self.teacher_run, config, self.manifest, fresh=False, say=self.shown.say)
        pretrain(config, corpus, self.teacher_run, report=self.shown.pretraining, say=self.shown.say)
        return {"steps": config.steps}

    def student(self) -> Result:
        """Distil the student, as `kit distill` does."""
        config = distil_config(
            "general",
            teachers=[str(self.teacher_run)],
            student=self.settings.student,
            overrides=[*self.settings.student_set, f"seed={self.settings.seed}"],
        )
        corpus = open_run(self.student_run, config, self.manifest, fresh=False, say=self.shown.say)
        distil(
            config,
            corpus,
            self.student_run,
            report=self.shown.distilling,
            say=self.shown.say,
            progress=self.shown.counting("teacher's features, segments"),
        )
        return {"steps": config.steps}

    def pruned(self) -> Result:
        """Prune the student and let it recover, as `kit prune` does."""
        settings = self.settings
        config = prune_config(
            self.student_run,
            Target(macs=settings.macs),
            rounds=settings.rounds,
            steps=settings.prune_steps,
            seed=settings.seed,
            say=self.shown.say,
        )
        data = learned_from(self.student_run / "student")
        corpus = open_run(self.pruned_run, config, data, fresh=False, say=self.shown.say)
        made = prune(
            config,
            corpus,
            self.pruned_run,
            to_graph=lambda model: clip_graph(model, select(model)),
            report=self.shown.distilling,
            say=self.shown.say,
            progress=self.shown.counting("teacher's features, segments"),
        )
        return {"rows": [dataclasses.asdict(row) for row in made.rows]}

    def files(self) -> Result:
        """Export both students; the pruned one is what the gate has to be passed against."""
        student, pruned = export_student(self.student_run), export_student(self.pruned_run)
        clips = clips_of_run(self.pruned_run)
        assert clips is not None
        small = quantize(pruned.file, clips, say=self.shown.say)
        teacher = load_teacher(self.teacher_run / "teacher").student
        weights = (self.teacher_run / "teacher" / "model.safetensors").stat().st_size
        models = {
            "teacher": {"parameters": sum(p.numel() for p in teacher.parameters()), "bytes": weights},
            "student": _file(student.file, student.info.parameters),
            "pruned": _file(pruned.file, pruned.info.parameters),
        }
        if small.chosen:
            models["int8"] = _file(small.file, small.info.parameters)
        return {"models": models, "chosen": small.chosen, "tried": _tried(small)}

    def embedding(self) -> Result:
        """Cut words out of held-out speech and embed them, as `kit embed` does."""
        if not self.words.exists():
            write_words(self.manifest, "test", self.words, self.settings.tokens_per_word, self.settings.seed)
        tally = embed_corpus(
            self._embedder(),
            find_sounds([self.words]).paths,
            self.out / "words.npz",
            progress=self.shown.counting("embedding, files"),
            say=self.shown.say,
        )
        return {"files": tally.embedded, "seconds": round(tally.seconds, 1), "model": self._last_file().name}

    def search(self) -> Result:
        """Index the words as `kit index` does, and look for each as `kit search` does."""
        sounds, embedder = find_sounds([self.words]).paths, self._embedder()
        folder = self.out / "words.index"
        counted = self.shown.counting("indexing, files")
        summary = build_index(embedder, sounds, self.words, folder, Options(), progress=counted)
        said, index = spoken(self.words), Index(folder)
        looked = self.shown.counting("searching, words")
        found = []
        for number, (name, path) in enumerate(sounds.items(), start=1):
            found.append(by_others(name, named(index.search(path, embedder, top=HITS), index), said))
            looked(number, len(sounds))
        return {
            "words": len({word for word, _ in said.values()}),
            "speakers": len({speaker for _, speaker in said.values()}),
            "files": summary.files,
            "index_bytes": summary.bytes,
            "found": hit_rate(found),
            "chance": chance(said),
            "log_mel": self._log_mel_found(sounds, said),
            "by_width": self._found_by_width(embedder, said),
            "examples": [_example(row) for row in found[:: -(-len(found) // EXAMPLES)]],
        }

    def quality(self) -> Result:
        """Probe what the files give; of the teacher the layer that the development speakers choose."""
        rivals: dict[str, Featurise] = {
            "log-mel": log_mel_features,
            "teacher": teacher_features(self.teacher_run),
        }
        rivals |= {name: file_features(Embedder.load(file)) for name, file in self._files().items()}
        settings, scores = self.settings, {}
        for name, featurise in rivals.items():
            self.shown.say(f"probing {name}")
            # Matrices this small gain nothing by threads, which wait in loops where the cores are busy.
            with threadpool_limits(1, user_api="blas"):
                found = probe(
                    self.manifest,
                    featurise,
                    seed=settings.seed,
                    frames=settings.probe_frames,
                    clips=settings.probe_clips,
                )
            scores[name] = {task: round(score.accuracy, 4) for task, score in found.items()}
        return scores

    def speed(self) -> Result:
        """Time the teacher in torch, log-mel in NumPy and the files in onnxruntime, in turns."""
        everyone = [
            dataclasses.replace(contestant(str(self.teacher_run)), name="teacher"),
            contestant("log-mel"),
            *(of_model_file(file, name) for name, file in self._files().items()),
        ]
        plan = Plan(lengths=(COUNTED,), threads=(1,), rounds=self.settings.speed_rounds)
        kind = timed(COUNTED, 1)
        taken = {name: own[kind] for name, own in in_turns(everyone, 1, plan).items()}
        models = {
            name: {
                "milliseconds": round(1000 * median(own), 2),
                "times_teacher": round(median(np.divide(taken["teacher"], own).tolist()), 2),
            }
            for name, own in taken.items()
        }
        return {"models": models, "machine": machine()}

    def _files(self) -> dict[str, Path]:
        models: dict[str, Result] = self.record.result("files")["models"]
        runs = {"student": self.student_run, "pruned": self.pruned_run, "int8": self.pruned_run}
        return {name: runs[name] / models[name]["file"] for name in runs if name in models}

    def _last_file(self) -> Path:
        return list(self._files().values())[-1]

    def _embedder(self) -> Embedder:
        return Embedder.load(self._last_file())

    def _log_mel_found(self, sounds: Mapping[str, Path], said: Said) -> float:
        clips = [read(path).samples for path in sounds.values()]
        return _first(pooled(log_mel_features, clips, "80 bands"), list(sounds), said)

    def _found_by_width(self, embedder: Embedder, said: Said) -> dict[str, float]:
        with np.load(self.out / "words.npz") as made:
            vectors, names = made["embedding"], made["files"].tolist()
        return {str(dim): _first(truncated(vectors, dim), names, said) for dim in embedder.dims}


def file_features(embedder: Embedder) -> Featurise:
    """Frames of a model file; those of 40 ms twice, as probes have 20 ms."""

    def featurise(samples: Array) -> Mapping[str, Array]:
        return {"frames": embedder.embed(samples, SAMPLE_RATE, output="frames").repeat(2, axis=0)}

    return featurise


def spoken(words: Path) -> dict[str, tuple[str, str]]:
    """Read which word each file is of, and who says it."""
    with (words / MANIFEST).open(encoding="utf-8", newline="") as lines:
        return {row["path"]: (row["label"], row["speaker"]) for row in csv.DictReader(lines)}


Found = tuple[tuple[str, str], list[tuple[str, str, float]]]
"""Word and speaker of a query, and the same with the score of its hits in other speakers' mouths."""


def named(hits: list[Hit], index: Index) -> dict[str, float]:
    """Give the score of each hit by the name that its file has in the index."""
    return {Path(hit.file).relative_to(index.head.source).as_posix(): hit.score for hit in hits}


def by_others(name: str, scores: Mapping[str, float], said: Said) -> Found:
    """Leave out what the speaker of a query says."""
    _, speaker = asked = said[name]
    hits = [(*said[hit], score) for hit, score in scores.items() if said[hit][1] != speaker]
    return asked, hits


def hit_rate(found: list[Found]) -> float:
    """Count the queries whose first hit in another speaker's mouth is the same word."""
    right = [bool(hits) and hits[0][0] == word for (word, _), hits in found]
    return round(sum(right) / len(right), 4)


def chance(said: Said) -> float:
    """Give the rate of a search that answers with any word of another speaker."""
    shares = []
    for word, speaker in said.values():
        others = [other for other, by in said.values() if by != speaker]
        shares.append(others.count(word) / len(others))
    return round(sum(shares) / len(shares), 4)


def _first(vectors: Array, names: list[str], said: Said) -> float:
    words, speakers = (np.array([said[name][part] for name in names]) for part in (0, 1))
    return round(retrieval(vectors, words, speakers).first, 4)


def _example(found: Found) -> Result:
    (word, speaker), hits = found
    return {"word": word, "speaker": speaker, "hits": [list(hit) for hit in hits[:3]]}


def _file(file: Path, parameters: int) -> Result:
    return {"parameters": parameters, "bytes": file.stat().st_size, "file": file.name}


def _tried(small: Quantized) -> list[Result]:
    return [
        {
            "name": row.candidate.name,
            "bytes": row.candidate.proto.ByteSize(),
            "times_float": round(row.speeds[0].times_float, 2),
            "cosine": round(row.fidelity.cosine, 4),
            "refusal": row.refusal,
        }
        for row in small.rows
    ]
