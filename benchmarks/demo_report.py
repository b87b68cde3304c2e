"""The report of a demo: its table, and a page with plots, made of what it has recorded and logged."""

from dataclasses import dataclass
from pathlib import Path

from earkit.benchmarks.demo_record import Record
from earkit.benchmarks.html_page import Bars, Flow, Lines, Point, Scatter, Section, Table, page
from earkit.benchmarks.run_metrics import metrics

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One way to turn speech into frames, and what that costs and gives."""

    name: str
    parameters: int
    megabytes: float
    """Of its file; 0 if it needs none."""
    milliseconds: float
    """For 10 s of audio on one thread."""
    times_teacher: float
    """How many times as fast."""
    phones: float
    """Accuracy of a linear probe on speakers never heard."""
    words: float
    kept_phones: float
    """Over the teacher's accuracy."""
    kept_words: float


def rows(record: Record) -> list[Row]:
    """Put together what the stages measured."""
    quality, speed = record.result("quality"), record.result("speed")["models"]
    models = {"log-mel": {"parameters": 0, "bytes": 0}, **record.result("files")["models"]}
    teacher = quality["teacher"]
    return [
        Row(
            name=_names(record)[key],
            parameters=model["parameters"],
            megabytes=model["bytes"] / 1e6,
            milliseconds=speed[key]["milliseconds"],
            times_teacher=speed[key]["times_teacher"],
            phones=quality[key]["phones"],
            words=quality[key]["words"],
            kept_phones=quality[key]["phones"] / teacher["phones"],
            kept_words=quality[key]["words"] / teacher["words"],
        )
        for key, model in models.items()
    ]


def table(record: Record) -> Table:
    """Write the rows for people."""
    header = ("model", "parameters", "MB", "ms for 10 s", "phones", "words", "phones kept", "words kept")
    return Table(
        header,
        [
            (
                row.name,
                f"{row.parameters / 1e6:.2f} M" if row.parameters else "-",
                f"{row.megabytes:.2f}" if row.megabytes else "-",
                f"{row.milliseconds:.1f}",
                f"{row.phones:.1%}",
                f"{row.words:.1%}",
                f"{row.kept_phones:.0%}",
                f"{row.kept_words:.0%}",
            )
            for row in rows(record)
        ],
    )


def remarks(record: Record) -> list[str]:
    """Say what the table cannot: what the gate and the search came to."""
    return [_gate(record), _search(record)]


def report(out: Path, record: Record) -> str:
    """Make the page."""
    measured = record.result("speed")["machine"]
    about = {
        "processor": f"{measured['processor']}, {measured['cores']} cores",
        "system": f"{measured['system']}, Python {measured['python']}",
        "packages": ", ".join(f"{name} {version}" for name, version in measured["packages"].items()),
        "commit": measured["git"],
        "made by": "kit demo",
    }
    sections = [_pipeline(record), _costs(record), _learning(out, record), _smaller(record)]
    return page("earkit demo", [*sections, _searched(record), _times(record)], about)


def _names(record: Record) -> dict[str, str]:
    settings = record.settings
    return {
        "log-mel": "log-mel, 80 bands",
        "teacher": f"teacher, {settings.teacher}",
        "student": f"student, {settings.student}",
        "pruned": "the same, pruned",
        "int8": "the same, pruned, int8",
    }


def _pipeline(record: Record) -> Section:
    speech, models = record.result("speech"), record.result("files")["models"]
    found, last = record.result("search")["found"], list(models.values())[-1]
    steps = {
        "speech": f"{speech['minutes']:.0f} min",
        **{name: f"{models[name]['parameters'] / 1e6:.1f} M" for name in ("teacher", "student", "pruned")},
        "int8" if "int8" in models else "float file": f"{last['bytes'] / 1e6:.1f} MB",
        "vectors": f"{record.result('embedding')['files']} words",
        "search": f"{found:.0%} found",
    }
    return Section(
        "From speech to search",
        f"{speech['minutes']:.0f} minutes of synthetic speech of {speech['speakers']} speakers, of whom "
        f"{speech['held_out']} are never heard in training, went through everything that earkit does. The "
        "speech is synthetic and the trainings are short: figures show that the machinery works, and say "
        "little about real speech. The teacher is a small one that learns in minutes, smaller than the "
        "student; a dinosr_base has 93 M parameters.\n\n"
        "phones and words: accuracy of linear probes of frozen frames, on speakers never heard; kept: over "
        "the teacher's. Of the teacher the best layer counts, of a model file the frames that it gives. A "
        "student may well pass so small a teacher: it is larger, and learns from the speech itself too.",
        [Flow(steps), table(record)],
    )


def _costs(record: Record) -> Section:
    made = rows(record)
    accuracies = {"phones": [row.phones for row in made], "words": [row.words for row in made]}
    plots: list[Scatter | Bars] = [
        Scatter(
            [Point(row.name, row.milliseconds, 100 * y) for row, y in zip(made, heights, strict=True)],
            "ms for 10 s of audio, one thread",
            f"{task}, per cent",
            log_x=True,
        )
        for task, heights in accuracies.items()
    ]
    sizes = {row.name: round(row.megabytes, 2) for row in made if row.megabytes}
    speeds = {row.name: row.times_teacher for row in made if row.megabytes}
    return Section(
        "Speed, size and quality",
        "All were timed in turns in one process, on one thread; medians. Sizes are those of the files; below "
        "them, how many times as fast as the teacher each is.",
        [*plots, Bars(sizes, "MB"), Bars(speeds, "times as fast")],
    )


def _learning(out: Path, record: Record) -> Section:
    settings = record.settings
    teacher, student = metrics(out / "teacher"), metrics(out / settings.student)
    codebooks = range(len(teacher[0]["target_perplexity"]))
    used = {
        f"codebook {k + 1}": [(row["step"], row["target_perplexity"][k]) for row in teacher]
        for k in codebooks
    }
    parts: dict[str, Curve] = {
        name: [(row["step"], row["parts"][name] / (student[0]["parts"][name] or 1)) for row in student]
        for name in student[0]["parts"]
    }
    recovery: dict[str, Curve] = {}
    for number in range(1, settings.rounds + 1):
        logged = metrics(out / f"{settings.student}-pruned" / f"round-{number}")
        recovery[f"round {number}"] = [(row["step"], row["loss"]) for row in logged]
    return Section(
        "Learning",
        "The teacher predicts the codes of its own average where it hears nothing; of a codebook that is in "
        "use, the perplexity is high. The student's losses are drawn as shares of their first values. Each "
        "round of pruning begins with a student that has just lost a part.",
        [
            Lines({"loss": [(row["step"], row["loss"]) for row in teacher]}, "step", "teacher, loss"),
            Lines(used, "step", "teacher, perplexity of codes"),
            Lines(parts, "step", "student, loss over its first value"),
            Lines(recovery, "step", "pruned student, loss"),
        ],
    )


def _smaller(record: Record) -> Section:
    pruning = [
        (
            row["name"],
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['multiply_adds'] / 1e6:.0f} M",
            f"{row['speed']:.2f} x",
            *(f"{row['quality'].get(task, 0):.3f}" for task in ("phones", "words")),
        )
        for row in record.result("pruned")["rows"]
    ]
    header = ("pruning", "parameters", "multiply-adds", "speed", "phones kept", "words kept")
    tried = [
        (
            way["name"],
            f"{way['bytes'] / 1e6:.2f}",
            f"{way['times_float']:.2f} x",
            f"{way['cosine']:.4f}",
            f"refused: {way['refusal']}" if way["refusal"] else "passes",
        )
        for way in record.result("files")["tried"]
    ]
    ways = Table(("quantization", "MB", "speed", "cosine", ""), tried)
    return Section(
        "Pruning and quantization",
        "Multiply-adds are of 10 s of audio. What is kept was measured by the probes of distillation, of the "
        "best layer, on other speakers than the ones in the table above. Speeds are over the student before, "
        f"and over the float file.\n\n{_gate(record)}",
        [Table(header, pruning), ways],
    )


def _searched(record: Record) -> Section:
    found = record.result("search")
    compared = {
        "this model": found["found"],
        "mean of log-mel": found["log_mel"],
        "by chance": found["chance"],
    }
    widths = {f"{width} dimensions": round(100 * rate, 1) for width, rate in found["by_width"].items()}
    examples = [
        (
            f"{example['word']} ({example['speaker']})",
            *(f"{word} ({speaker}) {score:.2f}" for word, speaker, score in example["hits"]),
        )
        for example in found["examples"]
    ]
    header = ("query (speaker)", *("first", "second", "third")[: max(map(len, examples)) - 1])
    return Section(
        "Search",
        _search(record),
        [
            Bars({name: round(100 * rate, 1) for name, rate in compared.items()}, "per cent found first"),
            Bars(widths, "per cent found first"),
            Table(header, [(*row, *[""] * (len(header) - len(row))) for row in examples]),
        ],
    )


def _times(record: Record) -> Section:
    seconds = {name: stage.seconds for name, stage in record.stages.items()}
    lines = [
        (name, f"{stage.seconds:.1f}", f"{stage.cpu_seconds:.1f}", "the last part" if stage.stopped else "")
        for name, stage in record.stages.items()
    ]
    return Section(
        "Where the time went",
        f"{sum(seconds.values()) / 60:.1f} minutes; of a stage that was stopped and went on, the last part.",
        [Bars(seconds, "s"), Table(("stage", "seconds", "CPU seconds", ""), lines)],
    )


def _gate(record: Record) -> str:
    files = record.result("files")
    if files["chosen"]:
        return f"int8: {files['chosen']} passed the gate."
    reasons = "; ".join(f"{way['name']}: {way['refusal']}" for way in files["tried"])
    return f"int8: refused by the gate, so the float file serves ({reasons})."


def _search(record: Record) -> str:
    found = record.result("search")
    return (
        f"Search: of {found['files']} spoken words ({found['words']} different ones by {found['speakers']} "
        f"speakers never heard), {found['found']:.1%} find the same word of another speaker first; by chance "
        f"it is {found['chance']:.1%}, by the mean of log-mel {found['log_mel']:.1%}. The index takes "
        f"{found['index_bytes'] / 1e6:.2f} MB."
    )
