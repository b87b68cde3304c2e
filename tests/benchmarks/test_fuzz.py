"""The judge of damaged files tells every kind of failure; and a few damaged files of every kind, judged."""

import sys
from pathlib import Path

import pytest

from earkit.benchmarks import damaged_audio, damaged_models, fuzz_audio, fuzz_models
from earkit.benchmarks.fuzz import Tally, Verdict, Worker
from earkit.runtime.errors import AudioError, CheckpointError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers have limits that only Linux keeps")

# Does what the file is called.
SCRIPT = """
import json, os, signal, sys, time
print("ready", flush=True)
for line in sys.stdin:
    match json.loads(line)["file"]:
        case "dies": os.kill(os.getpid(), signal.SIGSEGV)
        case "complains": sys.exit("out of luck")
        case "sleeps": time.sleep(60)
        case "grows": print(json.dumps(["result", "", 5000]), flush=True)
        case "fails": print(json.dumps(["wrong", "ValueError: x", 0]), flush=True)
        case _: print(json.dumps(["result", "", 0]), flush=True)
"""


def test_every_kind_of_failure_is_told_and_the_next_file_judged() -> None:
    with Worker([sys.executable, "-c", SCRIPT], seconds=1.0) as worker:
        kinds = {}
        for name in ("dies", "works", "complains", "sleeps", "works", "grows", "fails", "works"):
            kinds[name] = worker.judge(Path(name))
    assert {name: verdict.kind for name, verdict in kinds.items()} == {
        "dies": "crash",
        "complains": "crash",
        "sleeps": "hang",
        "grows": "memory",
        "fails": "wrong",
        "works": "result",
    }
    assert kinds["dies"].said.startswith("ended with -11")
    assert "out of luck" in kinds["complains"].said


def test_a_tally_counts_and_keeps_failures() -> None:
    tally = Tally()
    for index, kind in enumerate(("result", "sentence", "crash", "result")):
        tally.add(index, "bits", Verdict(kind, "said"))
    assert tally.total == {"result": 2, "sentence": 1, "crash": 1}
    assert tally.failures == [{"index": 2, "mutation": "bits", "kind": "crash", "said": "said"}]
    assert '"index": 2' in tally.text()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AudioError("a.wav is empty: record it again"), "sentence"),
        (AudioError("two\nlines"), "wrong"),
        (AudioError("x" * 1000), "wrong"),
        (CheckpointError("another kind"), "wrong"),
        (ValueError("no sentence of ours"), "wrong"),
        (None, "result"),
    ],
)
def test_only_one_sentence_of_the_right_kind_is_one(error: Exception | None, kind: str) -> None:
    from earkit.benchmarks.fuzz_worker import outcome

    def attempt(_file: Path, _how: dict[str, object]) -> None:
        if error:
            raise error

    assert outcome(attempt, Path("a.wav"), {}, AudioError)[0] == kind


def test_damage_is_the_same_each_time_and_of_every_kind(clip_model: Path) -> None:
    files = [damaged_audio.damaged(index) for index in range(104)]
    assert files[:39] == [damaged_audio.damaged(index) for index in range(39)]
    assert files[:13] != [damaged_audio.damaged(index, seed=1) for index in range(13)]
    assert len({file.mutation for file in files}) == 5 * 8
    whole = clip_model.read_bytes()
    models = [damaged_models.damaged(whole, index) for index in range(54)]
    assert models == [damaged_models.damaged(whole, index) for index in range(54)]
    assert {name for name, data in models if data != whole} == set(damaged_models.MUTATIONS)


def test_checksums_of_ogg_pages_are_made_right() -> None:
    whole = next(data for suffix, data in damaged_audio._whole() if suffix == ".ogg")
    broken = whole[:22] + b"abcd" + whole[26:]
    assert damaged_audio._with_checksums(broken) == whole


def test_damaged_sounds(clip_model: Path, tmp_path: Path) -> None:
    tally = fuzz_audio.fuzz(clip_model, 104, tmp_path)
    assert not tally.failures, tally.text()
    assert min(tally.total["result"], tally.total["sentence"]) > 10


def test_damaged_models(clip_model: Path, step_graph: Path) -> None:
    tally = fuzz_models.fuzz([clip_model, step_graph], 72, seconds=60.0)
    assert not tally.failures, tally.text()
    assert min(tally.total["result"], tally.total["sentence"]) > 3
