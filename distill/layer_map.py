"""Which teacher layer each student block learns from: pairs (block, layer), both counted from 1."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from earkit.runtime.errors import ConfigError

LayerMap = tuple[tuple[int, int], ...]


def uniform(depth: int, layers: int) -> LayerMap:
    """TinyBERT's g(m) = m * layers / depth (Jiao et al. 2020, section 4.1), rounded, at least 1."""
    return tuple((m, max(1, (2 * m * layers + depth) // (2 * depth))) for m in range(1, depth + 1))


def last(depth: int, layers: int) -> LayerMap:
    """Only the last block learns, from the last layer."""
    return ((depth, layers),)


def explicit(pairs: Sequence[tuple[int, int]], depth: int, layers: int) -> LayerMap:
    """Take the pairs as they are, if both networks have them and the blocks are in order."""
    blocks = [block for block, _ in pairs]
    exist = all(1 <= block <= depth and 1 <= layer <= layers for block, layer in pairs)
    if not pairs or not exist or blocks != sorted(set(blocks)):
        written = ", ".join(f"{block}:{layer}" for block, layer in pairs) or "no pair"
        raise ConfigError(
            f"the layer map has {written}: give pairs of a student block from 1 to {depth}, each block once "
            f"and in order, and a teacher layer from 1 to {layers}"
        )
    return tuple((block, layer) for block, layer in pairs)


def linear_cka(features: Sequence[Tensor]) -> Tensor:
    """Linear centred kernel alignment between layers (Kornblith et al. 2019, eq. 1 to 4), 0 to 1.

    That is the cosine between their centred Gram matrices, so memory grows with frames^2: give more frames
    than dims (with fewer, everything looks alike), but no more than some thousands. features: (frames, dim)
    for each layer, of the same frames. -> (layers, layers).
    """
    centred = [x.float() - x.float().mean(0) for x in features]
    grams = torch.stack([F.normalize((x @ x.T).flatten(), dim=0) for x in centred])
    return grams @ grams.T


def by_similarity(student_depth: int, gram: Tensor) -> LayerMap:
    """Pair the blocks with the layers that represent all layers best; the last layer is always chosen.

    Every layer is represented by the more similar of the chosen ones next to it (below and above), and the
    sum of those similarities is the largest possible. gram: (layers, layers), as `linear_cka` gives it for
    the layers from 1 up. A student that is deeper than its teacher gets the uniform map.
    """
    layers = len(gram)
    if student_depth > layers:
        return uniform(student_depth, layers)
    like = gram.double().cpu()

    def between(i: int, j: int) -> float:
        """Similarity of the layers above chosen layer i, up to chosen layer j; i = -1: none is below."""
        above = like[i + 1 : j + 1, j]
        return float((above if i < 0 else torch.maximum(like[i + 1 : j + 1, i], above)).sum())

    gain = [[between(i, j) for j in range(layers)] for i in range(-1, layers)]  # row i + 1
    # The best choice of so many layers that ends with j, and what it sums to.
    best: dict[int, tuple[float, tuple[int, ...]]] = {j: (gain[0][j], (j,)) for j in range(layers)}
    for chosen in range(1, student_depth):
        best = {
            j: max((best[i][0] + gain[i + 1][j], (*best[i][1], j)) for i in best if i < j)
            for j in range(chosen, layers)
        }
    return tuple((block, layer + 1) for block, layer in enumerate(best[layers - 1][1], start=1))
