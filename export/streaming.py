"""The step graph: the same weights, fed a stream in steps of whole frames, with its memory outside of it.

A frame needs what comes after it, so frames come out `delay` frames after their audio went in. Each block is
that much later than the one before, and keeps the frames that its kernel still needs; what lies before the
stream's beginning and behind its end is zero, as it is in a whole file. Behind the end one feeds `delay`
frames of nothing (`lengths` 0) to get the last frames out.
"""

import copy
import math

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earkit.distill.distilled import DistilledStudent
from earkit.distill.front_end import FRAME, HOP, LEAD, WINDOW, student_frames
from earkit.export.folded_fourier import FoldedLogMel, fold_front_end
from earkit.export.graph import Selection, to_onnx, token_head
from earkit.export.verify import differences, gather, reference
from earkit.runtime.errors import ConfigError
from earkit.runtime.inference import STEP, open_graph, play
from earkit.runtime.model_file import Stream
from earkit.runtime.trial_sounds import BATCHES, SECONDS, sounds


class StepLogMel(nn.Module):
    """The log-mel front end of a stream: 0 where there is no stream.

    A module in the place of the other, so that quantization knows its nodes by the same names.
    """

    def __init__(self, whole: FoldedLogMel) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, audio: Tensor, windows: int, first: Tensor, total: Tensor) -> Tensor:
        """Hear windows that begin at each hop, the first one of index `first`. -> (batch, bands, windows)."""
        # The last window ends within its last hop.
        hops = F.pad(audio, (0, HOP))[:, : HOP * (windows + 2)]
        return self.whole.of_windows(hops, windows) * _within(first, windows, total)[:, None]


class StepGraph(nn.Module):
    """What one step computes; `given` is in the order of `names`."""

    def __init__(self, model: DistilledStudent, selection: Selection) -> None:
        super().__init__()
        config = model.config
        if config.block != "convolution":
            raise ConfigError(
                f"a student of {config.block} blocks has no step graph, only convolution blocks have: export "
                "it without --streaming"
            )
        self.model = model
        self.model.student.add_module("log_mel", StepLogMel(fold_front_end(model.student)))
        # In tuples, which are no modules: so these keep the names that they have in the student.
        self.blocks = tuple(model.student.blocks[: selection.depth])
        self.last = (model.student.norms[selection.depth - 1],)
        self.token_head = token_head(model, selection.codebook) if "tokens" in selection.outputs else None
        self.names = (*selection.names, "frame_start", "next_heard", "next_past_audio", "next_past_frames")
        self.back, self.ahead = config.kernel - 1 - config.kernel_ahead, config.kernel_ahead
        self.overlap = (config.stem - 4) // 2
        # Frames that the stem is late, and the samples before the step that its windows reach back to.
        self.stem_delay = math.ceil((self.overlap * HOP + WINDOW - HOP - LEAD) / FRAME)
        self.past = self.stem_delay * FRAME + self.overlap * HOP + LEAD

    @property
    def stream(self) -> Stream:
        """Delay, and the states.

        heard: frames fed and samples that counted, so far. past_audio, past_frames: what the stem and each
        block still need of what was before.
        """
        config = self.model.config
        return Stream(
            delay=self.stem_delay + len(self.blocks) * self.ahead,
            states={
                "heard": (0, 2),
                "past_audio": (0, self.past),
                "past_frames": (0, len(self.blocks), self.back + self.ahead, config.dim),
            },
        )

    def forward(
        self, audio: Tensor, lengths: Tensor, heard: Tensor, past_audio: Tensor, past_frames: Tensor
    ) -> tuple[Tensor, ...]:
        """audio: (batch, FRAME * frames); lengths: (batch,), fewer than that at the end of a stream."""
        time = audio.shape[1] // FRAME
        samples = heard[:, 1] + lengths
        total = student_frames(samples)[:, None]  # frames that the stream has so far
        counted = torch.arange(audio.shape[1]) < lengths[:, None]
        all_audio = torch.cat([past_audio, torch.where(counted, audio, 0.0)], dim=1)
        first = heard[:, :1] - self.stem_delay  # index of the first frame that the stem makes
        x = self._stem(all_audio, time, first, total)
        kept = []
        for k, block in enumerate(self.blocks):
            all_frames = torch.cat([past_frames[:, k], x], dim=1)  # (batch, back + ahead + time, dim)
            kept.append(all_frames[:, time:])
            x = self._block(block, all_frames, time, first, total)
            first = first - self.ahead
        valid = _within(first, time, total)
        frames = self.last[0](x) * valid[:, :, None]
        given = {
            "frames": frames,
            "frame_lengths": total[:, 0],
            "frame_start": first[:, 0],
            "next_heard": torch.stack([heard[:, 0] + time, samples], dim=1),
            "next_past_audio": all_audio[:, -self.past :],
            "next_past_frames": torch.stack(kept, dim=1),
        }
        if self.token_head is not None:
            given["tokens"] = torch.where(valid, self.token_head(frames).argmax(-1), -1)
        return tuple(given[name] for name in self.names)

    def _stem(self, audio: Tensor, time: int, first: Tensor, total: Tensor) -> Tensor:
        """Make frames of samples that begin `past` before the step. -> (batch, time, dim)."""
        student = self.model.student
        log_mel = student.get_submodule("log_mel")
        mel = log_mel(audio, 4 * time + 2 * self.overlap, 4 * first - self.overlap, 4 * total)
        x: Tensor = student.stem(mel).transpose(1, 2)
        return x * _within(first, time, total)[:, :, None]

    def _block(self, block: nn.Module, frames: Tensor, time: int, first: Tensor, total: Tensor) -> Tensor:
        """(batch, back + ahead + time, dim) -> (batch, time, dim), `ahead` frames later."""
        before = self.back + self.ahead
        valid = _within(first - before, before + time, total)[:, :, None]
        convolution = block.get_submodule("convolution")
        y = (convolution.get_submodule("norm")(frames) * valid).transpose(1, 2)
        convolved: Tensor = convolution.get_submodule("depthwise")(y).transpose(1, 2)
        x = frames[:, self.back : self.back + time] + convolved
        added: Tensor = x + block.get_submodule("feed_forward")(x)
        return added


def _within(first: Tensor, count: int, total: Tensor) -> Tensor:
    """Whether indices first, first + 1, … are in the stream. first, total: (batch, 1) -> (batch, count)."""
    index = first + torch.arange(count)
    return (index >= 0) & (index < total)


def stream_graph(model: DistilledStudent, selection: Selection) -> tuple[onnx.ModelProto, Stream]:
    """Make the graph of one step, and say how it is to be fed."""
    graph = StepGraph(copy.deepcopy(model).eval(), selection)
    example = {"audio": torch.zeros(2, STEP), "lengths": torch.tensor([STEP, STEP])}
    for name, (_, *shape) in graph.stream.states.items():
        example[name] = torch.zeros(2, *shape, dtype=torch.int64 if name == "heard" else torch.float32)
    return to_onnx(graph, example, graph.names), graph.stream


def verify_stream(proto: onnx.ModelProto, model: DistilledStudent, selection: Selection) -> dict[str, float]:
    """Compare streams, fed in steps of 80 ms, with whole files in torch; above 1e-4 it is an error.

    Clips of all lengths, each alone and in batches of streams that end at different times.
    """
    session, clips = open_graph(proto), sounds()
    wanted = [reference(model, selection, clip) for clip in clips]
    found: dict[str, float] = {}
    for together in (*((i,) for i in range(len(clips))), *BATCHES):
        given = play(session, [clips[i] for i in together])
        for row, i in enumerate(together):
            own = {name: each[row : row + 1] for name, each in given.items()}
            where = f"in a stream of {SECONDS[i]:g} s, one of {len(together)}"
            gather(found, differences(own, wanted[i]), where)
    return found
