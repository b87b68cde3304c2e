"""Opening a pretraining run folder: new, resumed, or set aside."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from earkit.distill.checkpoint import saved
from earkit.distill.config import build, read_toml
from earkit.distill.corpus import Corpus, open_corpus
from earkit.distill.pretrain import RESUMABLE, PretrainConfig
from earkit.distill.synthetic_corpus import default_corpus
from earkit.runtime.errors import ConfigError

Say = Callable[[str], None]


def open_run(folder: Path, config: PretrainConfig, data: Path | None, *, fresh: bool, say: Say) -> Corpus:
    """Give the corpus that a run in `folder` trains on.

    A folder with checkpoints resumes, on exactly the clips it began with, and only with the configuration
    it began with. `fresh` sets such a folder aside instead; nothing is deleted.
    """
    index = folder / "data.jsonl"
    if fresh and folder.exists():
        aside = _free_name(folder)
        folder.rename(aside)
        say(f"set {folder} aside as {aside}")
    if saved(folder / "checkpoints"):
        _same(folder, config)
        begun = Corpus.load(index)
        if data is not None and begun.source != str(data.absolute()):
            raise ConfigError(
                f"{folder} was begun with other data, {begun.source}: give the same, or --fresh, "
                "or another --out"
            )
        return begun
    corpus = open_corpus(_source(data, say), split="train")
    corpus.save(index)
    say(f"{len(corpus.clips)} clips, {corpus.seconds / 3600:.2f} h" + _skips(corpus, folder))
    return corpus


def _source(data: Path | None, say: Say) -> Path:
    if data is not None:
        return data
    say("no --data given: using the built-in synthetic speech")
    manifest: Path = default_corpus()
    return manifest


def _skips(corpus: Corpus, folder: Path) -> str:
    return f"; {len(corpus.skipped)} skipped, see {folder / 'skipped.jsonl'}" if corpus.skipped else ""


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return aside


def _same(folder: Path, config: PretrainConfig) -> None:
    begun = build(PretrainConfig, read_toml(folder / "config.toml"), str(folder / "config.toml"))
    changed = []
    for field in dataclasses.fields(config):
        before, now = getattr(begun, field.name), getattr(config, field.name)
        if field.name not in RESUMABLE and before != now:
            changed.append(field.name)
    if changed:
        raise ConfigError(
            f"{folder} was begun with another {' and '.join(changed)}: "
            "give the same, or --fresh, or another --out"
        )
