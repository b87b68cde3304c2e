"""Standardised teachers: every channel at mean 0 and deviation 1 over all valid frames that were seen."""

import torch
from torch import Tensor

from earkit.distill.calibration import Standardiser
from earkit.distill.trace import Targets

DIM = 5
SCALES = torch.tensor([0.1, 1.0, 3.0, 10.0, 5.0])


def targets(seed: int, *frames: int) -> Targets:
    """Channels of very different places and sizes, in layers 2 and 4; garbage where no frame is."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.arange(max(frames)) < torch.tensor(frames)[:, None]

    def features(scale: float) -> Tensor:
        x = 7 * SCALES + scale * SCALES * torch.randn(*valid.shape, DIM, generator=generator)
        return torch.where(valid[:, :, None], x, 1e6)

    vector = 3 + SCALES * torch.randn(len(frames), DIM, generator=generator)
    return Targets(valid, {2: features(1.0), 4: features(50.0)}, vector=vector)


SEEN = [targets(0, 40, 11), targets(1, 25, 33, 2)]


def fitted() -> Standardiser:
    standardiser = Standardiser([2, 4], DIM, vector=True)
    standardiser.fit(SEEN)
    return standardiser


def test_what_was_seen_becomes_standard() -> None:
    standardiser = fitted()
    made = [standardiser(each) for each in SEEN]
    for layer in (2, 4):
        rows = torch.cat([each.hidden[layer][each.valid] for each in made])
        torch.testing.assert_close(rows.mean(0), torch.zeros(DIM), atol=1e-4, rtol=0)
        torch.testing.assert_close(rows.std(0, correction=0), torch.ones(DIM), atol=1e-3, rtol=0)
    vectors = torch.cat([each.vector for each in made])
    torch.testing.assert_close(vectors.mean(0), torch.zeros(DIM), atol=1e-4, rtol=0)
    torch.testing.assert_close(vectors.std(0, correction=0), torch.ones(DIM), atol=1e-3, rtol=0)


def test_a_new_batch_is_moved_by_what_was_seen_and_padding_is_zero() -> None:
    standardiser, new = fitted(), targets(5, 9, 4)
    made = standardiser(new)
    rows = torch.cat([each.hidden[4][each.valid] for each in SEEN]).double()
    expected = (new.hidden[4].double() - rows.mean(0)) / rows.std(0, correction=0)
    torch.testing.assert_close(made.hidden[4][new.valid].double(), expected[new.valid], rtol=1e-3, atol=1e-4)
    assert not made.hidden[2][~new.valid].any()
    assert not made.hidden[4][~new.valid].any()
    assert torch.equal(made.valid, new.valid)


def test_what_has_no_scale_stays_as_it_is() -> None:
    codes, attention = torch.randn(1, 2, 9, 3), {}
    new = Targets(torch.ones(2, 9, dtype=torch.bool), {}, attention, codes)
    made = Standardiser([2], DIM, vector=False)(new)
    assert made.codes is codes
    assert made.attention is attention
    assert made.vector is None


def test_a_channel_that_stands_still_is_not_blown_up() -> None:
    hidden = torch.randn(1, 400, DIM, generator=torch.Generator().manual_seed(0))
    hidden[:, :, 1] = 4
    still = Targets(torch.ones(1, 400, dtype=torch.bool), {2: hidden})
    standardiser = Standardiser([2], DIM, vector=False)
    standardiser.fit([still])
    assert not standardiser(still).hidden[2][:, :, 1].any()
    hidden[0, 0, 1] += 0.01
    assert standardiser(still).hidden[2][0, 0, 1] < 10


def test_the_only_clip_of_a_teacher_of_vectors_gives_numbers() -> None:
    one = Targets(torch.zeros(1, 3, dtype=torch.bool), vector=torch.tensor([[1.0, -2.0, 3.0, 0.5, 7.0]]))
    standardiser = Standardiser([], DIM, vector=True)
    standardiser.fit([one])
    assert torch.equal(standardiser(one).vector, torch.zeros(1, DIM))


def test_statistics_are_in_checkpoints_and_learn_nothing() -> None:
    standardiser = fitted()
    again = Standardiser([2, 4], DIM, vector=True)
    again.load_state_dict(standardiser.state_dict())
    new = targets(9, 6)
    for layer in (2, 4):
        assert torch.equal(again(new).hidden[layer], standardiser(new).hidden[layer])
    assert torch.equal(again(new).vector, standardiser(new).vector)
    assert not list(standardiser.parameters())
