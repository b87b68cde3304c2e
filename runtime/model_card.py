"""The model card: what a model file says about itself, for people. It stands beside the file and in it."""

from earkit.runtime.model_file import ModelInfo
from earkit.runtime.stream import STEP_MS

_GIVES = {
    "embedding": "`embedding`: one vector of length one for each clip",
    "frames": "`frames`, `frame_lengths`: a vector for each frame",
    "tokens": "`tokens`: a codeword for each frame",
    "sparse_values": "`sparse_indices`, `sparse_values`: the embedding as a sparse code",
    "scores": "`scores`: a logit for each class",
}


def model_card(info: ModelInfo) -> str:
    """Write the card, in Markdown."""
    parts = [f"# {info.name}", _summary(info), _table(info), _measured(info), _origin(info), _use(info)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(info: ModelInfo) -> str:
    kind = "A model of a stream, fed in steps" if info.stream else "An audio model"
    return (
        f"{kind}: mono audio at {info.sample_rate} Hz in, {_list(info)} out. The file holds all that it "
        "needs, its front end included."
    )


def _list(info: ModelInfo) -> str:
    return ", ".join(name for name in info.outputs if name not in {"frame_lengths", "frame_start"})


def _table(info: ModelInfo) -> str:
    rate = info.sample_rate
    rows = {
        "precision": info.precision,
        "size": f"{info.megabytes:.2f} MB, {info.parameters / 1e6:.2f} M numbers, {info.depth} blocks",
        "frames": f"one every {1000 * info.hop / rate:g} ms, {info.frame_dim} wide",
        "hears": f"{info.context / rate:.2f} s before a frame and {info.lookahead / rate:.2f} s after it",
        "embedding": f"{info.dim} wide" + (f"; may be cut to {_join(info.dims)}" if info.dims else ""),
    }
    if info.samples:
        rows["takes"] = f"{info.samples} samples and nothing else, zeros behind a shorter clip"
    if info.tokens:
        rows["tokens"] = (
            f"{info.tokens.size} codewords, codebook {info.tokens.codebook + 1} of {info.tokens.codebooks}"
        )
    if info.sparse:
        rows["sparse code"] = (
            f"{info.sparse.k} of {info.sparse.width}; any from {info.sparse.k_min} to {info.sparse.k_max}"
        )
    if info.classes:
        rows["classes"] = f"{len(info.classes)}: {', '.join(info.classes)}"
    if info.stream:
        rows["delay"] = f"{info.stream.delay} frames, {info.stream.delay * info.hop / rate:.2f} s"
    return _rows("", rows)


def _measured(info: ModelInfo) -> str:
    steps = f" in steps of {STEP_MS} ms" if info.stream else ""
    rows = {f"{name}": f"{value:g}" for name, value in info.quality.items()}
    rows |= {f"drift of {name}": f"{value:.1e}" for name, value in info.drift.items()}
    rows |= {
        f"latency, {each.seconds:g} s{steps}, {each.threads} thread{'s' * (each.threads > 1)}": (
            f"{each.milliseconds:.1f} ms, {1000 * each.seconds / each.milliseconds:.0f} times real time"
        )
        for each in info.latency
    }
    rows |= {"measured on": info.machine} if info.latency else {}
    return _rows("## Measured\n\n", rows) if rows else ""


def _origin(info: ModelInfo) -> str:
    rows = {
        "teachers": ", ".join(info.teachers) or "not recorded",
        "data": info.data or "not recorded",
        "licences of the data": ", ".join(info.licences) or "not recorded",
        "audio heard": f"{info.audio_seconds / 3600:.1f} h in {info.steps} steps",
        "weights (sha256)": info.parent_sha256 or "not recorded",
        "opset": f"{info.opset}: {', '.join(info.operators)}",
        "made with": ", ".join(f"{name} {version}" for name, version in info.versions.items()),
    }
    return _rows("## Where it comes from\n\n", rows)


def _use(info: ModelInfo) -> str:
    given = [text for name, text in _GIVES.items() if name in info.outputs]
    return "\n".join(["## What it gives", "", *(f"- {text}" for text in given)])


def _rows(head: str, rows: dict[str, str]) -> str:
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join([f"{head}| | |", "|---|---|", *lines])


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")


def _join(dims: tuple[int, ...]) -> str:
    return ", ".join(map(str, dims))
