import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earkit.benchmarks.spoken_words import SpokenWord, _flac, utterances, words, write_words
from earkit.distill.classes import labelled
from earkit.distill.data.corpus import open_corpus
from earkit.distill.speech.synthetic_corpus import read_labels, write_corpus
from earkit.runtime.errors import DataError, StorageError


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("c") / "corpus", minutes=1.6, speakers=8, seed=0)


def counted(found: tuple[SpokenWord, ...]) -> Counter[tuple[str, str]]:
    return Counter((token.word, token.speaker) for token in found)


def spans(manifest: Path, split: str, least: int) -> list[tuple[str, str, bytes]]:
    """Every word of a split, cut with soundfile."""
    found = []
    for clip in read_labels(manifest):
        if clip.split == split:
            whole, _ = soundfile.read(clip.path, dtype="float32")
            found += [
                (w.label, clip.speaker, whole[w.start : w.end].tobytes())
                for w in clip.words
                if w.end - w.start >= least
            ]
    return found


def test_words_are_exactly_what_was_said(manifest: Path) -> None:
    found = words(manifest, "train", seed=0, most_per_word=1000, least_per_word=1, least_samples=1)
    assert Counter((t.word, t.speaker, t.samples.tobytes()) for t in found) == Counter(
        spans(manifest, "train", 1)
    )
    assert [t.word for t in found] == sorted(t.word for t in found)


def test_short_and_rare_words_are_left_out(manifest: Path) -> None:
    found = words(manifest, "train", seed=0, most_per_word=4, least_per_word=3, least_samples=5000)
    there = Counter(word for word, _, _ in spans(manifest, "train", 5000))
    assert Counter(t.word for t in found) == {w: min(n, 4) for w, n in there.items() if n >= 3}
    assert min(len(t.samples) for t in found) >= 5000


def test_no_speaker_is_heard_twice_before_another_is_heard_once(manifest: Path) -> None:
    everything = Counter((word, speaker) for word, speaker, _ in spans(manifest, "train", 1600))
    found = counted(words(manifest, "train", seed=0, most_per_word=4, least_per_word=2, least_samples=1600))
    uneven = 0
    for word, speaker in everything:
        if word in {w for w, _ in found}:
            took = {s: found[word, s] for w, s in everything if w == word}
            most = max(took.values())
            for other, number in took.items():
                assert number >= min(most - 1, everything[word, other]), (word, took)
            uneven += everything[word, speaker] > 1
    assert uneven > 5  # the corpus really tempts


def test_the_seed_decides(manifest: Path) -> None:
    def sounds(seed: int) -> list[bytes]:
        found = words(manifest, "train", seed=seed, most_per_word=2, least_per_word=2, least_samples=1600)
        return [token.samples.tobytes() for token in found]

    assert sounds(0) == sounds(0) != sounds(1)


def test_utterances_are_whole_clips_of_each_speaker(manifest: Path) -> None:
    found = utterances(manifest, "test", 0, 2)
    clips = {clip.path.stem: clip for clip in read_labels(manifest) if clip.split == "test"}
    said = Counter(clip.speaker for clip in clips.values())
    assert Counter(u.speaker for u in found) == {speaker: min(2, n) for speaker, n in said.items()}
    assert max(said.values()) > 2
    assert len({u.name for u in found}) == len(found)
    for one in found:
        assert clips[one.name].speaker == one.speaker
        np.testing.assert_array_equal(one.samples, soundfile.read(clips[one.name].path, dtype="float32")[0])
    assert [u.name for u in found] == [u.name for u in utterances(manifest, "test", 0, 2)]


def test_words_of_a_few_speakers_are_all_that_these_say(manifest: Path, tmp_path: Path) -> None:
    written = write_words(manifest, "train", tmp_path / "words", per_word=3, seed=0, speakers=2)
    clips = open_corpus(written).clips
    drawn = {clip.labels["speaker"] for clip in clips}
    assert len(drawn) == 2
    said = Counter(
        span.label
        for clip in read_labels(manifest)
        if clip.split == "train" and clip.speaker in drawn
        for span in clip.words
        if span.end - span.start >= 1600
    )
    assert Counter(clip.labels["label"] for clip in clips) == {w: min(n, 3) for w, n in said.items() if n > 1}


def test_written_words_are_a_labelled_corpus_with_a_margin(manifest: Path, tmp_path: Path) -> None:
    written = write_words(manifest, "train", tmp_path / "words", per_word=3, seed=0)
    corpus = open_corpus(written)
    assert not corpus.skipped
    classes = labelled(corpus)
    assert set(np.bincount(classes.of_clip)) == {3}
    assert len(classes.names) > 5
    wanted = {
        (span.label, clip.speaker, soundfile.read(clip.path, dtype="int16")[0][start:end].tobytes())
        for clip in read_labels(manifest)
        for span in clip.words
        for start, end in [(max(0, span.start - 160), span.end + 160)]
    }
    for clip in corpus.clips:
        samples = soundfile.read(clip.path, dtype="int16")[0]
        assert (clip.labels["label"], clip.labels["speaker"], samples.tobytes()) in wanted
        assert clip.labels["split"] == "train"
    assert [p.name for p in tmp_path.iterdir()] == ["words"]  # no draft stays


def test_full_scale_samples_survive() -> None:
    loud = np.array([-1, -0.5, 0, 32767 / 32768, 1], np.float32)
    back, _ = soundfile.read(io.BytesIO(_flac(loud)), dtype="int16")
    assert back.tolist() == [-32768, -16384, 0, 32767, 32767]


def test_a_folder_that_is_there_is_left_alone(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    with pytest.raises(DataError, match="is there already: remove it"):
        write_words(manifest, "train", tmp_path / "words", per_word=2, seed=0)


def test_a_place_that_cannot_be_written(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="could not write"):
        write_words(manifest, "train", tmp_path / "file" / "words", per_word=2, seed=0)


def test_what_is_not_there(manifest: Path) -> None:
    with pytest.raises(DataError, match=r"no clip of the split dev: give one of test, train"):
        utterances(manifest, "dev", 0, 3)
    with pytest.raises(DataError, match=r"no word is said 999 times in the split test of .* \(the commonest"):
        words(manifest, "test", seed=0, least_per_word=999)


def test_a_word_outside_its_clip(manifest: Path, tmp_path: Path) -> None:
    header, row, *_ = manifest.read_text().splitlines()
    wrong = tmp_path / "manifest.csv"
    cells = row.split(",")
    cells[0] = str(manifest.parent / cells[0])
    cells[6] = "moon:1000:99999999"
    wrong.write_text(header + "\n" + ",".join(cells) + "\n")
    with pytest.raises(DataError, match="its word moon is to be at 1000 to 99999999: correct"):
        words(wrong, cells[4], seed=0, least_per_word=1)
