"""Opening a run folder: new, resumed, or set aside."""

import dataclasses
from pathlib import Path
from typing import Any

from earkit.distill.checkpoint import saved
from earkit.distill.config import read_config
from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.distill.data.evaluation import refuse_evaluation
from earkit.distill.device import processes
from earkit.distill.speech.synthetic_corpus import default_corpus
from earkit.distill.training import LoopConfig, Say
from earkit.runtime.errors import ConfigError

INDEX = "data.jsonl"


def open_run(
    folder: Path,
    config: LoopConfig,
    data: Path | None,
    *,
    fresh: bool,
    say: Say,
    allow_evaluation: bool = False,
) -> Corpus:
    """Give the corpus that a run in `folder` trains on.

    A folder with checkpoints resumes, on exactly the clips it began with, and only with the configuration
    it began with. `fresh` sets such a folder aside instead; nothing is deleted. Of several processes the
    first one does it, and the others read its index.
    """
    joined = processes()
    with joined.main_process_first():
        if not joined.is_main_process:
            return Corpus.load(folder / INDEX)
        if _has_begun(folder) and not fresh:
            return _begun(folder, config, data)
        corpus = open_corpus(_source(data, say), split="train")
        spoiled = refuse_evaluation(corpus, allowed=allow_evaluation)
        if spoiled:
            say(f"{spoiled} clips are for evaluation only: figures on them will say nothing from now on")
        if folder.exists() and fresh:
            aside = _free_name(folder)
            folder.rename(aside)
            say(f"set {folder} aside as {aside}")
        corpus.save(folder / INDEX)
        skips = f"; {len(corpus.skipped)} skipped, see {folder / 'skipped.jsonl'}" if corpus.skipped else ""
        say(f"{len(corpus.clips)} clips, {corpus.seconds / 3600:.2f} h{skips}")
        return corpus


def _has_begun(folder: Path) -> bool:
    """Whether the run, or a phase of it in a folder of its own, has a checkpoint or what it begins with."""
    if any(folder.glob("*/pruned")):
        return True
    return any(saved(place) for place in (folder / "checkpoints", *folder.glob("*/checkpoints")))


def _begun(folder: Path, config: LoopConfig, data: Path | None) -> Corpus:
    """Check that the same run is asked for."""
    _same(folder, config)
    corpus = Corpus.load(folder / INDEX)
    if data is not None and corpus.source != str(data.absolute()):
        raise ConfigError(
            f"{folder} was begun with other data, {corpus.source}: "
            "give the same, or --fresh, or another --out"
        )
    return corpus


def _source(data: Path | None, say: Say) -> Path:
    if data is not None:
        return data
    say("no --data given: using the built-in synthetic speech")
    manifest: Path = default_corpus()
    return manifest


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return aside


def _same(folder: Path, config: LoopConfig) -> None:
    file = folder / "config.toml"
    begun, now = _decisive(read_config(type(config), file)), _decisive(config)
    changed = [name for name in now if now[name] != begun[name]]
    if changed:
        raise ConfigError(
            f"{folder} was begun with another {' and '.join(changed)}: "
            "give the same, or --fresh, or another --out"
        )


def _decisive(config: LoopConfig) -> dict[str, Any]:
    """Give what decides the weights that come out, and so may not change when a run is resumed."""
    values = dataclasses.asdict(config)
    for name in ("steps", "hours", "save_every", "log_every", "keep", "compile", "cache", "probe_every"):
        values.pop(name, None)
    del values["data"]["workers"]
    return values
