"""What is counted from a student's shape is what its weights and its forward pass have."""

import dataclasses

import pytest
import torch
import torch_pruning as tp

from earkit.compress.prune_cost import SECONDS, cost
from earkit.distill.distil_dry_run import multiply_adds
from earkit.distill.student import Student, StudentConfig
from earkit.runtime.audio import SAMPLE_RATE

SMALL = StudentConfig(size="custom", dim=64, depth=3, heads=4, bands=24, kernel=5, kernel_ahead=2, stem=6)
SHAPES = {
    "convolution": SMALL,
    "attention": dataclasses.replace(SMALL, block="attention"),
    "hybrid": dataclasses.replace(SMALL, block="hybrid", attention_back=9, attention_ahead=4),
    "pruned convolution": dataclasses.replace(SMALL, inner_dims=(48, 16, 32)),
    "pruned attention": dataclasses.replace(
        SMALL, block="attention", inner_dims=(16, 128, 7), block_heads=(1, 4, 2)
    ),
    "pruned hybrid": dataclasses.replace(
        SMALL, block="hybrid", inner_dims=(16, 32, 7), block_heads=(0, 3, 0)
    ),
    "tiny": StudentConfig(),
}
CLIP = {"audio": torch.zeros(1, SECONDS * SAMPLE_RATE), "lengths": torch.tensor([SECONDS * SAMPLE_RATE])}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_counts_are_those_of_the_network(shape: StudentConfig) -> None:
    student = Student(shape)
    counted = cost(shape)
    assert counted.parameters == sum(p.numel() for p in student.parameters())
    assert counted.multiply_adds == multiply_adds(student, CLIP["audio"])


def test_what_pruning_saves_is_what_torch_pruning_counts() -> None:
    """It sees modules alone, so no fixed tables; of a narrower layer the same goes, and each bias once."""
    before, after = SHAPES["convolution"], SHAPES["pruned convolution"]
    theirs = [tp.utils.count_ops_and_params(Student(shape), CLIP) for shape in (before, after)]
    ours = [cost(shape) for shape in (before, after)]
    assert ours[0].parameters - ours[1].parameters == theirs[0][1] - theirs[1][1]
    biases = sum(before.inner_dim(k) - after.inner_dim(k) for k in (1, 2, 3))
    assert ours[0].multiply_adds - ours[1].multiply_adds == theirs[0][0] - theirs[1][0] - biases
