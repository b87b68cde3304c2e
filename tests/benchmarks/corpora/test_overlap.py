"""What two sides of a split have in common."""

from earkit.benchmarks.corpora.overlap import overlap


def test_overlap() -> None:
    ann = {"sha256": "1", "speaker": "ann", "package": "day", "session": ""}
    bob = {"sha256": "2", "speaker": "bob", "package": "day", "session": ""}
    eve = {"sha256": "1", "speaker": "eve", "package": "night"}
    assert overlap([ann], [bob]) == {"package": {"day"}}
    assert overlap([ann, bob], [eve]) == {"sha256": {"1"}}
    assert overlap([ann, bob], [eve, bob]) == {"sha256": {"1", "2"}, "speaker": {"bob"}, "package": {"day"}}
    assert overlap([ann], [bob, eve], keys=["speaker"]) == {}
    assert overlap(iter([ann]), iter([])) == {}
