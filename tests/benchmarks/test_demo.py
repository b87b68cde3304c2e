"""The demo, whole but minute: every stage on two minutes of speech, its record, table and report."""

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from safetensors.numpy import load_file

from earkit.benchmarks.demo import PAGE, STAGES, Shown, demo
from earkit.benchmarks.demo_record import FILE, Record, Settings
from earkit.benchmarks.demo_report import remarks, report, rows, table
from earkit.benchmarks.demo_stages import Stages, by_others, chance, hit_rate
from earkit.benchmarks.run_metrics import metrics
from earkit.distill.speech.synthetic_corpus import write_corpus
from earkit.runtime.errors import CheckpointError, ConfigError

# So little speech has words that are said once.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The number of unique classes"),
    pytest.mark.usefixtures("one_thread"),
]

MINUTE = Settings(
    teacher_set=(
        *("steps=4", "save_every=2", "log_every=1", "data.batch_seconds=5", "data.workers=0"),
        *("model.depth=1", "model.dim=32", "model.heads=2", "model.front_end=paper", "model.conv_dim=16"),
        *("model.codebooks=1", "model.codebook_size=8"),
    ),
    student="custom",
    student_set=(
        *("steps=4", "save_every=2", "log_every=1", "probe_every=0", "data.batch_seconds=10"),
        *("data.workers=0", "student.dim=32", "student.depth=2", "student.expansion=8"),
        *("student.embedding_dim=16", "matryoshka.dims=[8, 16]", "losses.csr.width=32", "losses.csr.k=4"),
        *("losses.csr.k_min=2", "losses.csr.k_max=8"),
    ),
    macs=0.97,
    rounds=1,
    prune_steps=2,
    tokens_per_word=2,
    probe_clips=8,
    probe_frames=300,
    speed_rounds=2,
)


def shown(
    said: list[str] | None = None, distilling: Callable[[object], None] = lambda _report: None
) -> Shown:
    heard = [] if said is None else said
    return Shown(heard.append, lambda _: None, distilling, lambda _: lambda _done, _total: None)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    speech = write_corpus(tmp_path_factory.mktemp("c") / "corpus", minutes=1.6, speakers=8, seed=0)
    return dataclasses.replace(MINUTE, speech=str(speech))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> tuple[Path, Record]:
    """A demo that was stopped while its student learned, and as its words were embedded, and went on."""
    out = tmp_path_factory.mktemp("runs") / "demo"

    def stop(report: object) -> None:
        if getattr(report, "step", 0) == 3:
            raise KeyboardInterrupt

    embedding = Stages.embedding

    def stopped(self: Stages) -> dict[str, object]:
        embedding(self)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARKIT_CACHE", str(out.parent / "cache"))
        with pytest.raises(KeyboardInterrupt):
            demo(out, settings, shown(distilling=stop))
        patch.setattr(Stages, "embedding", stopped)
        with pytest.raises(KeyboardInterrupt):
            demo(out, settings, shown())
        patch.setattr(Stages, "embedding", embedding)
        record = demo(out, settings, shown())
    return out, record


def test_all_stages_are_done_and_those_that_were_stopped_say_so(done: tuple[Path, Record]) -> None:
    out, record = done
    assert list(record.stages) == list(STAGES)
    assert {name for name, stage in record.stages.items() if stage.stopped} == {"student", "embedding"}
    assert record.stages["files"].seconds > 0
    assert record.stages["files"].cpu_seconds > 0
    # It went on from step 2, and did not begin again: step 1 was done once.
    steps = [json.loads(line)["step"] for line in (out / "custom" / "metrics.jsonl").open()]
    assert steps.count(1) == 1
    assert [row["step"] for row in metrics(out / "custom")] == [1, 2, 3, 4]


def test_a_second_demo_does_nothing_and_tells_the_same(
    done: tuple[Path, Record], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = done
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.name != PAGE}
    for stage in STAGES:
        monkeypatch.setattr(Stages, stage, None)
    again = demo(out, settings, shown())
    assert (table(again), remarks(again)) == (table(record), remarks(record))
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_second_demo_needs_no_torch(done: tuple[Path, Record]) -> None:
    out, record = done
    script = (
        "import sys; from pathlib import Path\n"
        "from earkit.benchmarks.demo import Shown, demo\n"
        "from earkit.benchmarks.demo_record import Settings\n"
        f"demo(Path({str(out)!r}), {record.settings!r}, Shown(print, print, print, print))\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "'earkit'" in ended.stdout
    assert "'torch'" not in ended.stdout


def test_rows_are_what_lies_on_disk(done: tuple[Path, Record]) -> None:
    out, record = done
    by_name = {row.name: row for row in rows(record)}
    teacher, student = by_name["teacher, dinosr_nano"], by_name["student, custom"]
    weights = out / "teacher" / "teacher" / "model.safetensors"
    assert teacher.megabytes == weights.stat().st_size / 1e6
    assert teacher.parameters == sum(tensor.size for tensor in load_file(weights).values())
    assert student.megabytes == (out / "custom" / "custom.onnx").stat().st_size / 1e6
    assert by_name["log-mel, 80 bands"].parameters == 0
    pruned = by_name["the same, pruned"]
    assert pruned.megabytes == (out / "custom-pruned" / "custom-pruned.onnx").stat().st_size / 1e6
    assert pruned.parameters < student.parameters
    for row in by_name.values():
        assert row.kept_words == pytest.approx(row.words / teacher.words)
        assert row.kept_phones == pytest.approx(row.phones / teacher.phones)
        assert row.milliseconds > 0
    assert teacher.times_teacher == 1


def test_a_gate_that_refuses_is_shown(done: tuple[Path, Record]) -> None:
    _, record = done
    files = record.result("files")
    passed, refused = dict(files), dict(files)
    tried = [dict(way, refusal="cosine 0.5, below 0.99") for way in files["tried"]]
    refused |= {
        "chosen": "",
        "tried": tried,
        "models": {k: v for k, v in files["models"].items() if k != "int8"},
    }
    passed |= {"chosen": "static int8, min-max"}
    for result, wanted in ((passed, "passed the gate"), (refused, "cosine 0.5, below 0.99")):
        other = Record(Path("nowhere"), record.settings)
        other.stages = record.stages | {"files": dataclasses.replace(record.stages["files"], result=result)}
        assert wanted in remarks(other)[0]
    assert "the same, pruned, int8" not in [row.name for row in rows(other)]
    assert "refused: cosine 0.5, below 0.99" in report(done[0], other)


def test_search_finds_what_exact_comparison_of_the_vectors_finds(done: tuple[Path, Record]) -> None:
    out, record = done
    found = record.result("search")
    with (out / "words" / "manifest.csv").open(newline="") as lines:
        said = {row["path"]: (row["label"], row["speaker"]) for row in csv.DictReader(lines)}
    with np.load(out / "words.npz") as made:
        vectors, names = made["embedding"], made["files"].tolist()
    assert sorted(names) == sorted(said)
    right = 0
    for i, name in enumerate(names):
        others = [j for j, other in enumerate(names) if said[other][1] != said[name][1]]
        nearest = max(others, key=lambda j: vectors[i] @ vectors[j])
        right += said[names[nearest]][0] == said[name][0]
    # Vectors in the index have 16 bits: a near tie may fall the other way.
    assert found["found"] == pytest.approx(right / len(names), abs=2 / len(names))
    assert found["by_width"]["16"] == pytest.approx(found["found"], abs=2 / len(names))
    assert found["files"] == len(said)
    assert found["words"] == len({word for word, _ in said.values()})


SAID = {
    "a1": ("owl", "ann"),
    "a2": ("cat", "ann"),
    "b1": ("owl", "bob"),
    "b2": ("cat", "bob"),
    "b3": ("cat", "bob"),
}


def test_hits_of_the_same_speaker_do_not_count() -> None:
    asked, hits = by_others("a1", {"a1": 1.0, "a2": 0.9, "b2": 0.8, "b1": 0.7}, SAID)
    assert asked == ("owl", "ann")
    assert hits == [("cat", "bob", 0.8), ("owl", "bob", 0.7)]
    right = by_others("b3", {"b3": 1.0, "b1": 0.9, "a2": 0.8}, SAID)
    assert hit_rate([(asked, hits), right]) == 0.5
    assert hit_rate([(asked, [])]) == 0


def test_chance_is_the_share_of_the_word_among_what_others_say() -> None:
    # a1: 1 of 3, a2: 2 of 3, b1: 1 of 2, b2 and b3: 1 of 2.
    assert chance(SAID) == pytest.approx((1 / 3 + 2 / 3 + 3 * 1 / 2) / 5, abs=1e-4)


def test_the_page_holds_the_table_and_every_curve(done: tuple[Path, Record]) -> None:
    out, record = done
    page = ET.fromstring((out / PAGE).read_text(encoding="utf-8"))
    first = next(page.iter("table"))
    cells = [tuple(td.text or "" for td in line.iter("td")) for line in first.iter("tr")][1:]
    assert cells == [tuple(row) for row in table(record).rows]
    lines = {line.findtext("title", "").partition(":")[0] for line in page.iter("polyline")}
    parts = json.loads((out / "custom" / "metrics.jsonl").open().readline())["parts"]
    assert {"loss", "codebook 1", "round 1", *parts} <= lines
    text = "".join(page.itertext())
    assert record.result("speed")["machine"]["packages"]["torch"] in text
    for name in STAGES:
        assert name in text


def test_a_stage_that_fails_is_not_done_and_one_that_is_done_is_not_repeated(tmp_path: Path) -> None:
    record = Record(tmp_path, MINUTE)
    record.do("speech", lambda: {"minutes": 1.5})
    with pytest.raises(ZeroDivisionError):
        record.do("teacher", lambda: {"steps": 1 / 0})
    again = Record(tmp_path, MINUTE)
    assert list(again.stages) == ["speech"]
    again.do("speech", lambda: {"minutes": 9})
    again.do("teacher", lambda: {"steps": 2})
    assert again.result("speech") == {"minutes": 1.5}
    assert (again.stages["speech"].stopped, again.stages["teacher"].stopped) == (False, True)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Record(tmp_path, MINUTE).do("speech", dict)
    with pytest.raises(ConfigError, match=r"another macs: give --fresh"):
        Record(tmp_path, dataclasses.replace(MINUTE, macs=0.5))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {}, "stages": {"speech": {"minutes": 1}}}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match="--fresh"):
        Record(tmp_path, MINUTE)


def test_fresh_sets_an_earlier_demo_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, said = tmp_path / "demo", list[str]()
    (tmp_path / "demo.1").mkdir()
    Record(out, MINUTE).do("speech", lambda: {"minutes": 1})

    def stop(_: Stages) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stages, "speech", stop)
    with pytest.raises(KeyboardInterrupt):
        demo(out, MINUTE, shown(said), fresh=True)
    assert Record(tmp_path / "demo.2", MINUTE).result("speech") == {"minutes": 1}
    assert Record(out, MINUTE).stages == {}
    assert "demo.2" in said[0]
