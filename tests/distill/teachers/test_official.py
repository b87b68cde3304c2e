"""The authors' checkpoint layout: the authors' numbers, and nothing else gets in."""

import argparse
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Optional

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from earkit.distill.dinosr import DinoSR, DinoSRConfig, encode
from earkit.distill.dinosr import load_teacher as load_dinosr
from earkit.distill.teachers.huggingface import load
from earkit.distill.teachers.official import import_official, read_official
from earkit.distill.teachers.official_names import to_ours
from earkit.runtime.errors import CheckpointError, ConfigError

DATA = Path(__file__).parents[2] / "data"
TRACES = ["padded", "unpadded"]
EXACT = {"rtol": 0.0, "atol": 1e-5}


def official(trace: str) -> Path:
    return DATA / "dinosr_official" / trace / "dinosr_official_layout.pt"


def features(trace: str) -> dict[str, Tensor]:
    return load_file(DATA / "dinosr_official" / trace / "features_of_checkpoint.safetensors")


def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the same weights as the padded layout holds, by the authors' names, from another file."""
    golden = load_file(DATA / "golden" / "dinosr_padded" / "trace.safetensors")
    parts = (
        {k.removeprefix(p): v for k, v in golden.items() if k.startswith(p)} for p in ("final/", "final_ema/")
    )
    state, ema = parts
    return state, ema


MODEL = {
    "encoder_attention_heads": 2,
    "encoder_layers": 3,
    "extractor_mode": "layer_norm",
    "conv_feature_layers": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 2",
    "dropout": 0.25,
    "ema_end_decay": 1,
}
CONFIG = {"task": {"normalize": True, "sample_rate": 16000}, "model": MODEL}


def layout(path: Path, state: dict[str, object], ema: dict[str, Tensor] | None, **parts) -> Path:
    """Write a checkpoint in the authors' layout."""
    model = state if ema is None else state | {"_ema": ema}
    torch.save({"args": None, "cfg": CONFIG, "model": model} | parts, path)
    return path


def refusal(file: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_official(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("part", ["single", "batch", "padded"])
def test_features_are_the_authors(trace, part) -> None:
    """Padded clips too, with the leak of the authors' code: the exact teacher has it stopped."""
    model, golden = read_official(official(trace)), features(trace)
    audio, lengths = golden[f"{part}/audio"], golden[f"{part}/frame_lengths"]
    valid = torch.arange(DinoSRConfig().frames(audio.shape[1])) < lengths.unsqueeze(1)
    with torch.no_grad():
        run = encode(model.student.encoder, model.front_end(audio), None if valid.all() else valid)
    torch.testing.assert_close(run.output[valid], golden[f"{part}/output"][valid], **EXACT)
    for i in range(model.config.depth):
        torch.testing.assert_close(run.layers[i][valid], golden[f"{part}/layer{i}_output"][valid], **EXACT)
        torch.testing.assert_close(run.ffn[i][valid], golden[f"{part}/layer{i}_ffn"][valid], **EXACT)


@pytest.mark.parametrize("trace", TRACES)
def test_the_imported_teacher_gives_the_authors_features(trace, tmp_path) -> None:
    import_official(official(trace), tmp_path / "teacher")
    teacher, golden = load(tmp_path / "teacher"), features(trace)
    blocks = range(1, teacher.layers + 1)
    for part in ("single", "batch"):
        audio = golden[f"{part}/audio"]
        frames = teacher.features(audio, torch.full((len(audio),), audio.shape[1]), ffn=blocks)
        assert frames.lengths.tolist() == golden[f"{part}/frame_lengths"].tolist()
        for k in blocks:
            torch.testing.assert_close(frames.hidden[k], golden[f"{part}/layer{k - 1}_output"], **EXACT)
            torch.testing.assert_close(frames.ffn[k], golden[f"{part}/layer{k - 1}_ffn"], **EXACT)
    audio, lengths = golden["padded/audio"], golden["padded/lengths"]
    batch = teacher.features(audio, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = teacher.features(audio[i : i + 1, :length], lengths[i : i + 1])
        n = int(alone.lengths)
        torch.testing.assert_close(
            batch.hidden[teacher.layers][i, :n], alone.hidden[teacher.layers][0], **EXACT
        )


def test_every_tensor_arrives(tmp_path) -> None:
    model = import_official(official("padded"), tmp_path / "teacher")
    expected = to_ours(*weights())
    for state in (model.state_dict(), load_dinosr(tmp_path / "teacher").state_dict()):
        assert state.keys() - expected.keys() == {"codebooks.idle"}
        for name, tensor in expected.items():
            assert torch.equal(state[name], tensor), name
    assert model.updates == 2
    assert (model.config.heads, model.config.codebooks, model.config.codebook_size) == (2, 2, 8)


@pytest.mark.parametrize("held", ["dictionary", "argparse", "nowhere"])
def test_settings_wherever_they_are(tmp_path, held) -> None:
    state, ema = weights()
    parts = {
        "dictionary": {},
        "argparse": {"cfg": None, "args": argparse.Namespace(**MODEL)},
        "nowhere": {"cfg": None},
    }[held]
    if held == "nowhere":  # 64 wide heads are assumed, which 32 channels cannot have
        assert "heads" in refusal(layout(tmp_path / "x.pt", state, ema, **parts))
        return
    config = read_official(layout(tmp_path / "x.pt", state, ema, **parts)).config
    assert (config.heads, config.dropout, config.pos_kernel, config.pos_groups) == (2, 0.25, 19, 16)
    assert config.ema_end == 0.9999  # the authors overwrite theirs with 1 once the teacher is frozen


def test_half_precision_parameters_and_views(tmp_path) -> None:
    state, ema = weights()
    wide = torch.zeros(8, 2, 32)
    wide[:, 1] = state["_codebook0"]
    changed = state | {
        "_codebook0": wide[:, 1],  # a strided view of a larger storage
        "heads.0.weight": torch.nn.Parameter(state["heads.0.weight"]),
        "heads.0.bias": state["heads.0.bias"].half(),
    }
    read = read_official(layout(tmp_path / "x.pt", changed, ema)).state_dict()
    assert torch.equal(read["codebooks.sums"][0], state["_codebook0"])
    assert torch.equal(read["heads.0.weight"], state["heads.0.weight"])
    assert torch.equal(read["heads.0.bias"], state["heads.0.bias"].half().float())


def test_what_omegaconf_says_of_a_field(tmp_path) -> None:
    """A type such as Optional[int] is pickled as calls; as records they do no harm."""
    state, ema = weights()
    file = layout(tmp_path / "x.pt", state, ema, extra={"ref_type": Optional[int]})  # noqa: UP045 - see above
    assert read_official(file).config.depth == 3


def test_optimizer_state_is_not_read(tmp_path) -> None:
    state, ema = weights()
    whole = layout(tmp_path / "x.pt", state, ema, last_optimizer_state={0: {"exp_avg": torch.zeros(12_345)}})
    without = rewrite(whole, tmp_path / "y.pt", drop=lambda n, size: size == 4 * 12_345)
    assert without.stat().st_size < whole.stat().st_size - 40_000
    assert read_official(without).config.depth == 3


# -- what must not get in ---------------------------------------------------------------------------------


def rewrite(
    source: Path,
    target: Path,
    pickled: Callable[[bytes], bytes] = lambda data: data,
    drop: Callable[[str, int], bool] = lambda _name, _size: False,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Copy a checkpoint with its pickle changed or parts left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if not drop(entry.filename, entry.file_size):
                new.writestr(entry.filename, pickled(data) if entry.filename.endswith("data.pkl") else data)
    return target


class Touch:
    """What an attacker writes: unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def poisoned(payload: bytes, key: bytes = b"args") -> Callable[[bytes], bytes]:
    """Put a pickled value into the outer dictionary of a checkpoint's pickle."""
    start = b"\x80\x02}q\x00("
    entry = b"X" + struct.pack("<I", len(key)) + key + payload

    def change(data: bytes) -> bytes:
        assert data.startswith(start)
        return start + entry + data[len(start) :]

    return change


def test_a_hostile_pickle_is_refused_and_never_runs(tmp_path) -> None:
    payload = pickletools.optimize(pickle.dumps(Touch(tmp_path / "control"), 2))
    pickle.loads(payload)
    assert (tmp_path / "control").exists()  # so the payload does run where pickles are run

    payload = pickletools.optimize(pickle.dumps(Touch(tmp_path / "ran"), 2))[2:-1]
    hostile = rewrite(official("padded"), tmp_path / "hostile.pt", poisoned(payload))
    assert "is refused: its pickle wants to call" in refusal(hostile)
    with pytest.raises(CheckpointError, match="refused"):
        import_official(hostile, tmp_path / "teacher")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "teacher").exists()


@pytest.mark.parametrize(
    ("payload", "called"),
    [
        (b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R", "posix.system"),
        (b"cbuiltins\neval\nX\x01\x00\x00\x001\x85R", "builtins.eval"),
        (b"ctorch.hub\nload\n)R", "torch.hub.load"),
        (b"cnumpy.testing\nrunstring\n)R", "numpy.testing.runstring"),
        (b"ctorch._utils\n_rebuild_wrapper_subclass\n)R", "_rebuild_wrapper_subclass"),
    ],
)
def test_what_no_checkpoint_calls(tmp_path, payload, called) -> None:
    message = refusal(rewrite(official("padded"), tmp_path / "x.pt", poisoned(payload, b"extra")))
    assert "wants to call" in message
    assert called in message


def test_old_and_foreign_formats(tmp_path) -> None:
    state, ema = weights()
    legacy = tmp_path / "legacy.pt"
    torch.save({"model": state | {"_ema": ema}}, legacy, _use_new_zipfile_serialization=False)
    assert "torch before 1.6" in refusal(legacy)
    (tmp_path / "text.pt").write_text("hello")
    assert "is no torch checkpoint" in refusal(tmp_path / "text.pt")
    (tmp_path / "empty.pt").touch()
    assert "is no torch checkpoint" in refusal(tmp_path / "empty.pt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a/b", b"")
    assert "not one that torch saved" in refusal(tmp_path / "other.zip")
    assert "cannot be read: No such file" in refusal(tmp_path / "absent.pt")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file(tmp_path, share) -> None:
    data = official("padded").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: int(share * len(data))])
    assert "is cut short" in refusal(tmp_path / "cut.pt")


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_one_error_or_none(tmp_path, seed) -> None:
    """Bytes changed in the zip's directory, and in the pickle with its checksum made to fit."""
    source, random = official("padded"), Random(seed)
    with zipfile.ZipFile(source) as archive:
        directory = archive.start_dir
    for _ in range(15):
        data = bytearray(source.read_bytes())
        for _ in range(3):
            data[random.randrange(directory, len(data))] = random.randrange(256)
        (tmp_path / "directory.pt").write_bytes(data)
        rewrite(source, tmp_path / "pickle.pt", partial(scribbled, random))
        for file in ("directory.pt", "pickle.pt"):
            with suppress(CheckpointError):
                read_official(tmp_path / file)


def scribbled(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(1) + data[at + 1 :]


def test_a_zip_of_the_future(tmp_path) -> None:
    data = bytearray(official("padded").read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99  # the version needed to extract
    (tmp_path / "future.pt").write_bytes(data)
    assert "the directory at its end cannot be read" in refusal(tmp_path / "future.pt")


def test_a_flipped_bit(tmp_path) -> None:
    data = bytearray(official("padded").read_bytes())
    with zipfile.ZipFile(official("padded")) as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith("/data/7"))
    data[entry.header_offset + 4096] ^= 1  # well inside of its 12 kB
    (tmp_path / "flipped.pt").write_bytes(data)
    assert "is damaged in its part data/7" in refusal(tmp_path / "flipped.pt")


def test_absurd_sizes(tmp_path) -> None:
    source = official("padded")
    bomb = rewrite(source, tmp_path / "bomb.pt", compression=zipfile.ZIP_DEFLATED)
    assert "impossible size for its part" in refusal(bomb)

    # A central directory that declares far more than there is.
    data = bytearray(source.read_bytes())
    name = b"/data.pkl"
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name))
    data[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFF00, 0xFFFFFF00)
    (tmp_path / "large.pt").write_bytes(data)
    assert "declares an impossible size for its part data.pkl" in refusal(tmp_path / "large.pt")


def tensors(change: Callable[[dict[str, object], dict[str, Tensor]], None], path: Path) -> str:
    state, ema = weights()
    change(state, ema)
    return refusal(layout(path, state, ema))


def test_tensors_that_lie(tmp_path) -> None:
    """A view may not reach beyond its storage, nor a storage be other than declared."""
    source = official("padded")

    def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
        def change(data: bytes) -> bytes:
            assert old in data
            return data.replace(old, new, 1)

        return change

    # mask_emb: storage of 32 floats, offset 0, size (32,), stride (1,)
    assert "mask_emb larger than what is stored" in refusal(
        rewrite(source, tmp_path / "a.pt", replaced(b"QK\x00K \x85", b"QK\x00K!\x85"))
    )
    assert "mask_emb larger than what is stored" in refusal(
        rewrite(source, tmp_path / "b.pt", replaced(b"QK\x00K \x85", b"QK\x01K \x85"))
    )
    assert "128 bytes for mask_emb where 132 are declared" in refusal(
        rewrite(source, tmp_path / "c.pt", replaced(b"K t", b"K!t"))
    )
    assert "lacks its part data/0" in refusal(
        rewrite(source, tmp_path / "d.pt", drop=lambda name, _: name.endswith("/data/0"))
    )


def test_models_that_are_not_whole(tmp_path) -> None:
    path = tmp_path / "x.pt"
    state, _ = weights()
    assert "lacks its part model" in refusal(layout(path, state, None))
    torch.save({"weights": 1}, path)
    assert "lacks its part model" in refusal(path)
    torch.save([1], path)
    assert "lacks its part model" in refusal(path)

    def without(*names: str) -> Callable[[dict[str, object], dict[str, Tensor]], None]:
        return lambda state, _: [state.pop(name) for name in names] and None

    assert "lacks the tensor post_extract_proj.weight" in tensors(without("post_extract_proj.weight"), path)
    assert "lacks the tensor _codebook1" in tensors(without("_codebook1"), path)
    assert "lacks 1 tensors, first heads.1.bias" in tensors(without("heads.1.bias"), path)
    fewer = [name for name in state if name.startswith("encoder.layers.2.")]
    assert "encoder_layers is 3, but there are tensors for 2" in tensors(without(*fewer), path)
    assert "lacks 1 tensors, first teacher.layer_norm.weight" in tensors(
        lambda _, ema: ema.pop("layer_norm.weight"), path
    )
    assert "no use for 1 tensors, first final_proj.weight" in tensors(
        lambda state, _: state.update({"final_proj.weight": torch.zeros(2)}), path
    )
    assert "heads.0.weight of shape (9, 32) instead of (8, 32)" in tensors(
        lambda state, _: state.update({"heads.0.weight": torch.zeros(9, 32)}), path
    )
    assert "impossible model" in tensors(
        lambda state, _: state.update({"_codebook1": torch.zeros(9, 32)}), path
    )
    assert "something else than a tensor as mask_emb" in tensors(
        lambda state, _: state.update({"mask_emb": "zeros"}), path
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("extractor_mode", "default"),
        ("layer_norm_first", True),
        ("conv_feature_layers", "[(512, 10, 5)] + [(512, 3, 2)] * 6"),
        ("average_top_k_layers", 3),
    ],
)
def test_another_model_than_ours(tmp_path, setting, value) -> None:
    state, ema = weights()
    file = layout(tmp_path / "x.pt", state, ema, cfg={"model": MODEL | {setting: value}})
    assert f"{setting} is" in refusal(file)


def test_a_folder_that_is_no_teacher_is_left_alone(tmp_path, monkeypatch) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="not a teacher of ours"):
        import_official(official("padded"), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    import_official(official("padded"), tmp_path / "teacher")
    monkeypatch.chdir(tmp_path / "teacher")
    import_official(official("unpadded"), Path())  # an older teacher is replaced
    assert load_dinosr(tmp_path / "teacher").config.depth == 4


def test_names_cover_the_whole_model() -> None:
    state, ema = weights()
    shape = {
        "depth": 3,
        "dim": 32,
        "heads": 2,
        "ffn_dim": 64,
        "conv_dim": 32,
        "codebooks": 2,
        "codebook_size": 8,
    }
    ours = DinoSR(DinoSRConfig(**shape)).state_dict()
    assert ours.keys() - to_ours(state, ema).keys() == {"codebooks.idle"}
