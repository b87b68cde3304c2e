"""The feature cache: what goes in comes out, whatever kills, fills or damages it."""

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from earkit.distill import feature_cache
from earkit.distill.data.corpus import Corpus, open_corpus
from earkit.distill.data.segments import SegmentConfig, segment_batches, segments
from earkit.distill.feature_cache import FeatureCache, cache_key, estimated_bytes, fill
from earkit.distill.pooling import pool
from earkit.distill.teachers.huggingface import Teacher
from earkit.distill.trace import Needs, PairShape, QueryKeyValue, Targets
from earkit.runtime.errors import CheckpointError, ConfigError, StorageError

KEY = {"teacher": "abc", "hidden": [1, 3], "codes": True}
LENGTHS = torch.tensor([6400, 640, 1500])  # 10, 1 and 3 frames
CONFIG = SegmentConfig(max_seconds=0.4, min_seconds=0.1, batch_seconds=1.0, workers=0)
HALF = {"rtol": 2**-11, "atol": 2**-24}  # what float16 rounds to
DAMAGED = r"shard-00000007\.safetensors of a feature cache is damaged"


def drawn(lengths: Tensor = LENGTHS, seed: int = 0) -> Targets:
    """Everything that a teacher may give, zero in padding, as `pool` makes it."""
    generator = torch.Generator().manual_seed(seed)
    frames = -(-lengths // 640)
    time, batch = int(frames.max()), len(lengths)
    valid = torch.arange(time) < frames.unsqueeze(1)
    if time > 1:
        valid[0, frames[0] - 1] = False  # the last frame of the first clip is not covered

    def tensor(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).masked_fill(~valid.unsqueeze(-1), 0)

    return Targets(
        valid=valid,
        hidden={1: tensor(batch, time, 6), 3: tensor(batch, time, 6)},
        attention={2: QueryKeyValue(*(tensor(2, batch, time, 3).transpose(0, 1) for _ in range(3)))},
        codes=tensor(2, batch, time, 5),
        vector=torch.randn(batch, 6, generator=generator),
    )


def clip(targets: Targets, i: int, frames: int) -> Targets:
    """One clip of a batch, without padding."""
    assert targets.codes is not None
    assert targets.vector is not None
    return Targets(
        targets.valid[i : i + 1, :frames],
        {k: x[i : i + 1, :frames] for k, x in targets.hidden.items()},
        {k: QueryKeyValue(*(x[i : i + 1, :, :frames] for x in a)) for k, a in targets.attention.items()},
        targets.codes[:, i : i + 1, :frames],
        targets.vector[i : i + 1],
    )


def assert_close(found: Targets, expected: Targets, **within: float) -> None:
    within = within or HALF
    assert torch.equal(found.valid, expected.valid)
    assert found.hidden.keys() == expected.hidden.keys()
    assert found.attention.keys() == expected.attention.keys()
    pairs = [(found.hidden[k], expected.hidden[k]) for k in expected.hidden]
    for k, projections in expected.attention.items():
        pairs += zip(found.attention[k], projections, strict=True)
    pairs += [(found.codes, expected.codes), (found.vector, expected.vector)]
    for left, right in pairs:
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == torch.float32
            torch.testing.assert_close(left, right, **within)


def opened(folder: Path, **key: object) -> FeatureCache:
    return FeatureCache(folder, teacher="hubert", key={**KEY, **key})


def filled(folder: Path) -> FeatureCache:
    cache = opened(folder)
    cache.add([7, 2, 5], drawn(), LENGTHS)
    cache.flush()
    return cache


def test_a_batch_comes_back_in_any_order_and_company(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.add([11], drawn(torch.tensor([1280]), seed=1), torch.tensor([1280]))
    cache.flush()
    assert len(list(tmp_path.glob("shard-*"))) == 2
    for again in (cache, opened(tmp_path)):
        assert_close(again.get([7, 2, 5]), drawn())
        for i, (segment, frames) in enumerate([(7, 10), (2, 1), (5, 3)]):
            assert_close(again.get([segment]), clip(drawn(), i, frames))
        mixed = again.get([5, 11, 2])  # 3, 2 and 1 frames of two shards
        assert mixed.valid.tolist() == [[True] * 3, [True, False, False], [True, False, False]]
        assert_close(clip(mixed, 0, 3), clip(drawn(), 2, 3))
        assert_close(clip(mixed, 1, 2), drawn(torch.tensor([1280]), seed=1))
        assert not mixed.hidden[1][1, 2:].any()
        assert not mixed.attention[2].key[1, :, 2:].any()
        assert mixed.codes is not None
        assert not mixed.codes[:, 2, 1:].any()


def test_only_what_was_given_is_kept(tmp_path: Path) -> None:
    full = drawn()
    cache = opened(tmp_path)
    cache.add([0, 1, 2], Targets(full.valid, vector=full.vector), LENGTHS)
    cache.flush()
    found = cache.get([0, 1, 2])
    assert (found.hidden, found.attention, found.codes) == ({}, {}, None)
    assert_close(found, Targets(full.valid, vector=full.vector))


def test_features_are_float16_without_padding_and_saturate(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    big = torch.tensor([[[1e6]], [[-1e6]]])
    cache.add([1, 0], Targets(torch.ones(2, 1, dtype=torch.bool), {0: big}), torch.tensor([640, 640]))
    cache.flush()
    assert cache.get([1, 0]).hidden[0].flatten().tolist() == [65504, -65504]
    (shard,) = filled(tmp_path / "other").folder.glob("shard-*")
    held = load_file(shard)
    assert held["hidden.1"].shape == (14, 6)
    assert held["hidden.1"].dtype == torch.float16


def test_missing_knows_what_is_stored_and_what_waits(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    assert cache.missing(range(9)) == [0, 1, 3, 4, 6, 8]
    cache.add([4], clip(drawn(), 0, 10), LENGTHS[:1])
    assert cache.missing(range(9)) == [0, 1, 3, 6, 8]
    assert opened(tmp_path).missing(range(9)) == [0, 1, 3, 4, 6, 8]  # a kill loses what was not written
    with pytest.raises(CheckpointError, match="lacks 2 segments, the first is 4: fill it"):
        cache.get([7, 4, 3])


def test_what_is_there_already_is_not_stored_again(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.add([7, 2, 5], drawn(seed=9), LENGTHS)
    cache.flush()
    assert len(list(tmp_path.glob("shard-*"))) == 1
    assert_close(cache.get([7, 2, 5]), drawn())


def test_a_full_shard_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_SHARD_BYTES", 1000)  # a frame takes 2 * 40 + 1 bytes
    cache = opened(tmp_path)
    cache.add([0], clip(drawn(), 0, 10), LENGTHS[:1])  # 822 bytes with its vector
    assert not list(tmp_path.glob("shard-*"))
    cache.add([1], clip(drawn(), 2, 3), LENGTHS[2:])
    assert opened(tmp_path).missing(range(3)) == [2]


def test_what_took_minutes_is_written_however_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(feature_cache, "monotonic", lambda: now)
    cache = opened(tmp_path)
    now = 299.0
    cache.add([0], clip(drawn(), 0, 10), LENGTHS[:1])
    assert not list(tmp_path.glob("shard-*"))
    now = 301.0
    cache.add([1], clip(drawn(), 2, 3), LENGTHS[2:])
    assert opened(tmp_path).missing(range(3)) == [2]
    cache.add([2], clip(drawn(), 1, 5), LENGTHS[1:2])  # five minutes are counted anew
    assert opened(tmp_path).missing(range(3)) == [2]


def test_another_key_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(ConfigError, match=r"is the cache of another teacher and hidden: .*delete it"):
        opened(tmp_path, teacher="xyz", hidden=[2])
    with pytest.raises(ConfigError, match="another vector"):
        opened(tmp_path, vector=True)
    (tmp_path / "cache.json").write_text("[1")
    with pytest.raises(CheckpointError, match=r"cache\.json is damaged"):
        opened(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "foreign"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    filled(tmp_path)
    shard = tmp_path / "shard-00000007.safetensors"
    whole = shard.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = {"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    foreign = json.dumps(header).encode()
    shard.write_bytes(
        {
            "cut": whole[:-5],
            "header": whole[:8] + b"\0" * size + whole[8 + size :],
            "empty": b"",
            "foreign": len(foreign).to_bytes(8, "little") + foreign + b"\0",
        }[damage]
    )
    with pytest.raises(CheckpointError, match=DAMAGED):
        opened(tmp_path)


def test_a_shard_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    filled(tmp_path)
    shard = tmp_path / "shard-00000007.safetensors"
    held = load_file(shard)
    save_file({**held, "frames": held["frames"] + 1}, shard)
    with pytest.raises(CheckpointError, match=DAMAGED):
        opened(tmp_path)


def test_a_shard_damaged_later_is_named(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    (tmp_path / "shard-00000007.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=DAMAGED):
        cache.get([7])


def test_a_disk_that_gets_full_is_one_sentence_and_costs_no_earlier_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path)
    cache.reserve(1_234_567)

    def fails(tensors: dict[str, Tensor], file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_cache, "save_file", fails)
    cache.add([8], clip(drawn(), 0, 10), LENGTHS[:1])
    with pytest.raises(
        StorageError, match=r"the cache of hubert needs about 0\.00123 GB in .*No space.*: free space or use"
    ):
        cache.flush()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache.json", "shard-00000007.safetensors"]
    assert_close(opened(tmp_path).get([7, 2, 5]), drawn())


def test_too_small_a_disk_is_told_before_and_leftovers_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path)
    (tmp_path / ".shard-00000009.safetensors.abcd.part").write_bytes(b"half")
    assert opened(tmp_path).missing([9]) == [9]
    cache.reserve(10)
    assert not list(tmp_path.glob(".*.part"))
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    cache.reserve(2_000_000_000)
    with pytest.raises(StorageError, match=r"needs about 3 GB in .*, and 2 GB are free; .*--no-cache"):
        cache.reserve(3_000_000_000)


def test_the_estimate_is_what_a_shard_takes(tmp_path: Path) -> None:
    (shard,) = filled(tmp_path).folder.glob("shard-*")
    needs = Needs(frozenset({1, 3}), frozenset({2}), codes=True, vector=True)
    shape = PairShape(8, 2, 6, 3, ((1, 1),), teacher_heads=2, codebooks=2, codebook_size=5)
    header = 8 + int.from_bytes(shard.read_bytes()[:8], "little")
    assert estimated_bytes(needs, shape, LENGTHS.tolist()) == shard.stat().st_size - header


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    place = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for i in range(6):
        soundfile.write(place / f"{i}.wav", rng.uniform(-0.5, 0.5, int(16000 * rng.uniform(0.2, 0.9))), 16000)
    return open_corpus(place)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    return Teacher("small", Wav2Vec2Model(config))


NEEDS = Needs(frozenset({1, 2}), frozenset({2}))
SHAPE = PairShape(8, 2, 16, 2, ((1, 1), (2, 2)), teacher_heads=2)


class Live:
    """The teacher as the training loop runs it; stops when told to, as a killed process does."""

    def __init__(self, teacher: Teacher, stop_after: int = 99) -> None:
        self.teacher, self.stop_after, self.clips = teacher, stop_after, 0

    def __call__(self, audio: Tensor, lengths: Tensor) -> Targets:
        if self.clips >= self.stop_after:
            raise KeyboardInterrupt
        self.clips += len(audio)
        return pool(self.teacher.features(audio, lengths, (1, 2), attention=(2,)), lengths, 320, 200)


def test_cached_and_live_agree_for_training_batches(tmp_path: Path, corpus: Corpus, teacher: Teacher) -> None:
    key = cache_key("hash of small", NEEDS, corpus, CONFIG)
    cache = FeatureCache(tmp_path, teacher="small", key=key)
    heard: list[tuple[int, int]] = []
    count = len(segments(corpus, CONFIG))
    skipped = fill(
        cache,
        Live(teacher),
        corpus,
        CONFIG,
        needs=NEEDS,
        shape=SHAPE,
        progress=lambda done, of: heard.append((done, of)),
    )
    assert (skipped, heard[-1]) == ((), (count, count))
    batches = segment_batches(corpus, CONFIG, seed=3)
    for batch in (next(batches) for _ in range(8)):
        live = Live(teacher)(batch.audio, batch.lengths)
        # 1e-5 is what a teacher may differ by between batches of other padding.
        assert_close(cache.get(batch.segments), live, rtol=2**-11, atol=1e-5)


def test_a_killed_filling_goes_on_where_it_was(
    tmp_path: Path, corpus: Corpus, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "_SHARD_BYTES", 1)  # a shard for each batch
    cut = segments(corpus, CONFIG)

    def begin(live: Live) -> None:
        cache = FeatureCache(tmp_path, teacher="small", key=KEY)
        fill(cache, live, corpus, CONFIG, needs=NEEDS, shape=SHAPE)

    first, second = Live(teacher, stop_after=4), Live(teacher)
    with pytest.raises(KeyboardInterrupt):
        begin(first)
    begin(second)
    assert 4 <= first.clips < len(cut)
    assert first.clips + second.clips == len(cut)
    assert FeatureCache(tmp_path, teacher="small", key=KEY).missing(range(len(cut))) == []


def test_filling_leaves_out_what_cannot_be_read(tmp_path: Path, teacher: Teacher) -> None:
    for name, scale in (("a", 0.1), ("b", 0.0)):
        soundfile.write(tmp_path / f"{name}.wav", scale * np.sin(np.arange(4800)), 16000)
    corpus = open_corpus(tmp_path)
    cache = opened(tmp_path / "cache")
    for _ in range(2):
        (skipped,) = fill(cache, Live(teacher), corpus, CONFIG, needs=NEEDS, shape=SHAPE)
        assert skipped.name == "b.wav"
        assert cache.missing([0, 1]) == [1]


def test_keys_tell_teachers_needs_and_cuts_apart(corpus: Corpus) -> None:
    longer = SegmentConfig(max_seconds=0.8, min_seconds=0.1)
    fewer = Corpus(corpus.clips[1:], source=corpus.source)
    keys = [
        cache_key("a", NEEDS, corpus, CONFIG),
        cache_key("b", NEEDS, corpus, CONFIG),
        cache_key("a", NEEDS | Needs(hidden=frozenset({0})), corpus, CONFIG),
        cache_key("a", NEEDS | Needs(vector=True), corpus, CONFIG),
        cache_key("a", NEEDS, fewer, CONFIG),
        cache_key("a", NEEDS, corpus, longer),
    ]
    assert len({json.dumps(key) for key in keys}) == len(keys)
    assert cache_key("a", Needs(frozenset({2, 1}), frozenset({2})), corpus, CONFIG) == keys[0]
