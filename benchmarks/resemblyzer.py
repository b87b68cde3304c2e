"""Resemblyzer's speaker encoder (GE2E, Wan et al. 2018), from a torch checkpoint to ONNX with its front end.

The checkpoint is in torch's old format: it is read by torch with `weights_only`, which makes tensors and
plain containers and calls nothing else. The graph does what the authors' `embed_utterance` does: quiet clips
made louder, mel power of 40 bands (librosa's defaults), windows of 1.6 s every 0.77 s through the LSTM, the
mean of their vectors. Only the trimming of silences is left out, for which they ask another model.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from earkit.distill.teachers.mel_front_ends import slaney_filters
from earkit.runtime.atomic import replacing
from earkit.runtime.errors import CheckpointError

Array = NDArray[np.float32]
Weights = Mapping[str, Array]

N_FFT = 400
HOP = 160
BANDS = 40
FRAMES = 160  # of a window
STEP = 77  # frames from window to window: 1.3 of them a second
LEAST = 0.75  # of a further window that must be sound
LOUD_ENOUGH = 10 ** (-30 / 20)  # root mean square; what is quieter is made as loud
SMALLEST = 1e-10  # lengths below it count as this
LAYERS = 3
OPSET = 17
IR_VERSION = 8

# What torch raises over a file that is none of its own, or that asks for more than tensors.
_REFUSALS = (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError)


def convert(checkpoint: Path, out: Path) -> None:
    """Write `out`, which turns `audio` (1, samples) at 16 kHz into `embedding` (1, dim), of length one."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["model_state"]
        weights = {str(name): tensor.float().numpy() for name, tensor in state.items()}
        model = resemblyzer(weights)
    except _REFUSALS as error:
        raise CheckpointError(
            f"{checkpoint} is no speaker encoder of Resemblyzer ({str(error).splitlines()[0][:120]}); "
            "fetch it again"
        ) from error
    with replacing(out) as temporary:
        temporary.write_bytes(model.SerializeToString())


def resemblyzer(weights: Weights) -> onnx.ModelProto:
    """Lay out the network around its weights, which decide all widths but that of the front end."""
    constants = {**_front_end(), **_numbers(), **_network(weights)}
    hidden, dim = weights["lstm.weight_hh_l0"].shape[1], len(weights["linear.bias"])
    graph = onnx.parser.parse_graph(_graph(hidden, dim))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="earkit"
    )


def _front_end() -> dict[str, Array]:
    """Window and Fourier transform as one convolution, cosines before sines, and librosa's mel filters."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    angles = 2 * np.pi * np.outer(np.arange(N_FFT // 2 + 1), np.arange(N_FFT)) / N_FFT
    waves = np.concatenate([np.cos(angles), -np.sin(angles)]) * window
    return {
        "waves": waves[:, None].astype(np.float32),
        "filters": np.tile(slaney_filters(BANDS), (2, 1)).astype(np.float32),
    }


def _numbers() -> dict[str, NDArray[Any]]:
    whole = {
        "zero": 0,
        "one": 1,
        "half": N_FFT // 2,
        "step": STEP,
        "window_samples": FRAMES * HOP,
        "step_samples": STEP * HOP,
        "least_samples": round(LEAST * FRAMES * HOP),
    }
    return {
        **{name: np.array([value]) for name, value in whole.items()},
        "nought": np.array(0),
        "single": np.array(1),
        "offsets": np.arange(FRAMES)[:, None],
        "smallest": np.array(SMALLEST, np.float32),
        "loud_enough": np.array(LOUD_ENOUGH, np.float32),
        "unchanged": np.array(1, np.float32),
    }


def _network(weights: Weights) -> dict[str, Array]:
    made = {"linear": weights["linear.weight"], "bias": weights["linear.bias"]}
    for k in range(LAYERS):
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w, r, *biases = (_gates(weights[f"lstm.{kind}_l{k}"]) for kind in kinds)
        made |= {f"w{k}": w[None], f"r{k}": r[None], f"b{k}": np.concatenate(biases)[None]}
    return made


def _gates(values: Array) -> Array:
    """From torch's order of an LSTM's gates (input, forget, cell, output) to ONNX's (i, o, f, c)."""
    i, f, c, o = np.split(values, 4)
    return np.concatenate([i, o, f, c])


def _graph(hidden: int, dim: int) -> str:
    """Give the graph in ONNX's own text.

    A further window counts when `LEAST` of it lies in the clip, the first one always; so there are
    max(0, samples - least) // step + 1 of them.
    """
    lstm = "\n".join(
        f"    all{k}, last{k} = LSTM <hidden_size = {hidden}> (heard{k}, w{k}, r{k}, b{k})\n"
        f"    heard{k + 1} = Squeeze(all{k}, one)"
        for k in range(LAYERS)
    )
    return f"""resemblyzer (float[1, samples] audio) => (float[1, {dim}] embedding) {{
    squares = Mul(audio, audio)
    power = ReduceMean <keepdims = 0> (squares)
    root = Sqrt(power)
    loudness = Max(root, smallest)
    wanted = Div(loud_enough, loudness)
    gain = Max(wanted, unchanged)
    louder = Mul(audio, gain)

    samples = Shape <start = 1> (audio)
    beyond = Sub(samples, least_samples)
    reached = Max(beyond, zero)
    further = Div(reached, step_samples)
    begin = Mul(further, step_samples)
    end = Add(begin, window_samples)
    over = Sub(end, samples)
    silence = Max(over, zero)
    behind = Add(silence, half)
    pads = Concat <axis = 0> (zero, half, zero, behind)
    padded = Pad(louder, pads)

    signal = Unsqueeze(padded, one)
    transformed = Conv <strides = [{HOP}]> (signal, waves)
    energies = Mul(transformed, transformed)
    in_time = Transpose <perm = [0, 2, 1]> (energies)
    bands = MatMul(in_time, filters)
    frames = Squeeze(bands, zero)

    windows = Add(further, one)
    count = Squeeze(windows)
    numbers = Range(nought, count, single)
    starts = Mul(numbers, step)
    places = Add(offsets, starts)
    heard0 = Gather <axis = 0> (frames, places)

{lstm}
    states = Squeeze(last{LAYERS - 1}, zero)
    projected = Gemm <transB = 1> (states, linear, bias)
    positive = Relu(projected)
    norms = ReduceL2 <axes = [1]> (positive)
    safe_norms = Max(norms, smallest)
    units = Div(positive, safe_norms)
    mean = ReduceMean <axes = [0]> (units)
    length = ReduceL2 <axes = [1]> (mean)
    safe_length = Max(length, smallest)
    embedding = Div(mean, safe_length)
}}"""
