from itertools import combinations

import numpy as np
import pytest
import torch

from earkit.distill.layer_map import by_similarity, explicit, last, linear_cka, uniform
from earkit.runtime.errors import ConfigError


@pytest.mark.parametrize(
    ("depth", "layers", "expected"),
    [
        (4, 12, [3, 6, 9, 12]),  # the paper's TinyBERT 4: g(m) = 3 m
        (6, 12, [2, 4, 6, 8, 10, 12]),  # and TinyBERT 6: g(m) = 2 m
        (3, 4, [1, 3, 4]),  # 1.33, 2.67, 4
        (4, 6, [2, 3, 5, 6]),  # halves go up: 1.5, 3, 4.5, 6
        (5, 2, [1, 1, 1, 2, 2]),  # 0.4 would be layer 0
    ],
)
def test_uniform_is_that_of_the_paper(depth: int, layers: int, expected: list[int]) -> None:
    assert uniform(depth, layers) == tuple(enumerate(expected, start=1))


def test_last_is_one_pair() -> None:
    assert last(4, 12) == ((4, 12),)


def test_explicit_keeps_the_pairs() -> None:
    assert explicit([(1, 6), (3, 5)], 3, 6) == ((1, 6), (3, 5))


@pytest.mark.parametrize(
    "pairs", [[], [(0, 1)], [(4, 1)], [(1, 0)], [(1, 7)], [(2, 1), (1, 2)], [(1, 1), (1, 2)]]
)
def test_explicit_refuses_what_the_networks_do_not_have(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match=r"block from 1 to 3, .* layer from 1 to 6"):
        explicit(pairs, 3, 6)


def cka_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with the centring matrix H written out."""
    n = len(x)
    h = np.eye(n) - 1 / n
    gram_x, gram_y = x @ x.T, y @ y.T

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.trace(a @ h @ b @ h)) / (n - 1) ** 2

    return hsic(gram_x, gram_y) / np.sqrt(hsic(gram_x, gram_x) * hsic(gram_y, gram_y))


def test_cka_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) + 3  # the mean must not count
    layers = [x, x @ rng.normal(size=(5, 5)), rng.normal(size=(40, 5)) - 1]
    found = linear_cka([torch.from_numpy(layer) for layer in layers]).numpy()
    expected = [[cka_by_definition(a, b) for b in layers] for a in layers]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cka_does_not_see_rotation_scale_or_shift() -> None:
    x = torch.randn(30, 4)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    torch.testing.assert_close(linear_cka([x, 5 * x @ rotation + 2]), torch.ones(2, 2))


def gram_of(coordinates: list[float]) -> torch.Tensor:
    """Layers on a line: the further apart, the less alike."""
    places = torch.tensor(coordinates)
    return torch.exp(-(places[:, None] - places[None, :]).abs())


def represented(chosen: tuple[int, ...], gram: torch.Tensor) -> float:
    return sum(max(float(gram[layer, c - 1]) for c in chosen) for layer in range(len(gram)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("depth", [1, 2, 4, 9])
def test_by_similarity_is_the_best_of_all_choices(seed: int, depth: int) -> None:
    gram = gram_of(sorted(np.random.default_rng(seed).uniform(0, 6, 9).tolist()))
    pairs = by_similarity(depth, gram)
    chosen = tuple(layer for _, layer in pairs)
    assert [block for block, _ in pairs] == list(range(1, depth + 1))
    assert list(chosen) == sorted(set(chosen))
    assert chosen[-1] == 9
    best = max(represented((*rest, 9), gram) for rest in combinations(range(1, 9), depth - 1))
    assert represented(chosen, gram) == pytest.approx(best, rel=1e-6)


def test_by_similarity_takes_one_of_each_group() -> None:
    gram = gram_of([0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 9.0, 9.1])
    assert [layer for _, layer in by_similarity(3, gram)] == [2, 5, 8]


def test_a_deeper_student_gets_the_uniform_map() -> None:
    assert by_similarity(4, gram_of([0.0, 1.0])) == uniform(4, 2)
