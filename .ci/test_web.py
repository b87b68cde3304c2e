"""The page in examples/web in headless Chromium: its vectors against Python's, and what a user does with it.

    .venv/bin/python .ci/test_web.py [MODEL.onnx …]

Without model files it makes two of an untrained student, in float and in int8: for parity, weights need not
mean anything. Exits with a sentence when something is not as it should be.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import soundfile
import torch
from numpy.typing import NDArray

from earkit.benchmarks.chromium import Chromium, find_chromium
from earkit.benchmarks.devtools import Page, headless
from earkit.benchmarks.web_page import serving, vendor
from earkit.benchmarks.web_parity import compare, in_base64, least_cosine
from earkit.compress.calibration import calibrate
from earkit.compress.int8 import static_int8
from earkit.distill.distilled import DistilledStudent, Outputs, Provenance, save_student
from earkit.distill.student import StudentConfig
from earkit.export.mobile import refuse_for_browsers
from earkit.export.student import export_student
from earkit.runtime.embedder import Embedder
from earkit.runtime.errors import EarkitError
from earkit.runtime.model_file import KEY, read_model_file
from earkit.runtime.trial_sounds import sounds

LARGEST_DIFFERENCE = 1e-4  # of a float embedding
LEAST_COSINE = 0.999  # of an int8 embedding
LEAST_TOKENS = {"float32": 0.99, "int8": 0.9}  # equal ones: two codewords may be as good but for rounding
VOICES = {
    "voice.wav": (16_000, 0.9999),
    "stereo.wav": (44_100, 0.9999),
    "voice.flac": (22_050, 0.9999),
    "voice.ogg": (48_000, 0.999),
    "voice.mp3": (44_100, 0.99),
}
"""File -> its rate, and the least cosine to Python: decoders and resamplers are the browser's own."""

MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

TEXT = "document.getElementById('{}').textContent"
DECODE = """
async (text, name) => {
  const { Embedder, loadRuntime } = await import("./embedder.js");
  const { decodeFile } = await import("./sound.js");
  const bytes = await (await fetch("model.onnx")).arrayBuffer();
  const embedder = await Embedder.open(await loadRuntime(), bytes, "model.onnx");
  const file = new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name);
  const { embedding } = await embedder.hear(await decodeFile(file, name));
  return Array.from(embedding);
}
"""
FOLLOW = """
async (text, piece) => {
  const { Embedder, loadRuntime } = await import("./embedder.js");
  const { LiveTokens } = await import("./live.js");
  const bytes = await (await fetch("model.onnx")).arrayBuffer();
  const embedder = await Embedder.open(await loadRuntime(), bytes, "model.onnx");
  const sound = new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const microphone = { rate: 16000, length: 0, samples: (begin, end) => sound.slice(begin, end) };
  const live = new LiveTokens(embedder);
  const settled = [];
  while (microphone.length < sound.length) {
    microphone.length = Math.min(sound.length, microphone.length + piece);
    await live.update(microphone);
    settled.push(...live.tokens.slice(settled.length, live.settled));
  }
  return settled;
}
"""


def main() -> None:
    """Check all of it; what is made lies below a temporary folder."""
    print("looking for onnxruntime-web and Chromium, and fetching what is missing", flush=True)
    try:
        page, chromium = vendor(), find_chromium()
        with tempfile.TemporaryDirectory() as name:
            models = [Path(argument) for argument in sys.argv[1:]] or untrained(Path(name))
            voices = write_voices(Path(name))
            for model in models:
                with headless(chromium) as browser, serving(page, model) as address:
                    check_parity(browser, address, model)
                    check_live_tokens(browser, address, model)
            with headless(chromium) as browser, serving(page, models[0]) as address:
                check_decoders(browser, address, models[0], voices)
            check_use(page, chromium, models[0], voices)
            check_refusals(page, chromium, models[0], voices[0])
            check_offline(page, chromium, models[0], voices[:1])
    except EarkitError as error:
        sys.exit(str(error))


def untrained(folder: Path) -> list[Path]:
    """Export a student with random weights, and quantize it."""
    torch.manual_seed(0)
    config = StudentConfig(
        size="custom", dim=64, depth=3, kernel=7, kernel_ahead=3, bands=40, embedding_dim=64
    )
    model = DistilledStudent(config, Outputs(dims=(16, 64), codebooks=1, codebook_size=32)).eval()
    torch.nn.init.normal_(model.student.log_mel.mean, -6.0, 1.0)
    torch.nn.init.uniform_(model.student.log_mel.deviation, 1.0, 3.0)
    save_student(model, folder / "untrained" / "student", Provenance(name="untrained"))
    made = export_student(folder / "untrained")
    refuse_for_browsers(made.info)
    proto = onnx.load(made.file)
    quantized = static_int8(proto, calibrate(proto, sounds(), "min-max"))
    operators = tuple(sorted({node.op_type for node in quantized.graph.node}))
    info = dataclasses.replace(made.info, precision="int8", operators=operators)
    refuse_for_browsers(info)
    onnx.helper.set_model_props(quantized, {KEY: info.to_json()})
    int8 = made.file.with_stem("untrained-int8")
    int8.write_bytes(quantized.SerializeToString())
    return [made.file, int8]


def write_voices(folder: Path) -> list[Path]:
    """Write harmonics of a wavering tone in all formats, each at its own pitch."""
    files = []
    for place, (name, (rate, _)) in enumerate(VOICES.items()):
        t = np.arange(3 * rate) / rate
        phase = 2 * np.pi * (110 * 1.3**place * t + 3 * np.sin(2 * np.pi * t))
        tone = np.sum([np.sin(k * phase) / k for k in range(1, 20)], axis=0)
        sound = 0.1 * tone * (1.1 + np.sin(2 * np.pi * 3 * t))
        files.append(folder / name)
        soundfile.write(files[-1], np.stack([sound, sound / 2], 1) if "stereo" in name else sound, rate)
    return files


def check_parity(browser: Page, address: str, model: Path) -> None:
    """Check that embeddings are Python's, alone and in a batch, on one thread and on two."""
    for threads in (1, 2):
        made = compare(browser, address, model, threads)
        if (
            made.precision == "float32"
            and max(made.difference, made.difference_together) > LARGEST_DIFFERENCE
        ):
            sys.exit(
                f"{model.name}: embeddings are off by {made.difference:.1e} from Python and by "
                f"{made.difference_together:.1e} in a batch, {LARGEST_DIFFERENCE:g} is allowed"
            )
        if made.cosine < LEAST_COSINE:
            sys.exit(f"{model.name}: a cosine to Python's is {made.cosine:.6f}, {LEAST_COSINE} is allowed")
        if made.tokens < LEAST_TOKENS.get(made.precision, 0.9):
            sys.exit(f"{model.name}: only {made.tokens:.1%} of the tokens are Python's")
        print(
            f"{model.name}, {made.megabytes:.2f} MB, threads: {threads}: off by {made.difference:.1e} from "
            f"Python and {made.difference_together:.1e} in a batch, least cosine {made.cosine:.6f}, "
            f"{made.tokens:.1%} of the tokens; opened in {made.opened:.0f} ms, {made.milliseconds:.2f} ms "
            f"for a second of audio, {made.times_python:.1f} times Python's",
            flush=True,
        )


def check_live_tokens(browser: Page, address: str, model: Path) -> None:
    """Check that the settled tokens of a growing sound are those of the whole sound, by Python."""
    embedder = Embedder.load(model, threads=1)
    (sound,) = sounds((12.0,), seed=1)
    browser.go(address)
    settled = np.array(browser.call(FOLLOW, in_base64(sound), 3700))
    wanted = embedder.embed(sound, 16_000, output="tokens")
    least = len(sound) // 640 - -(-embedder.info.lookahead // 640)
    equal = float(np.mean(settled == wanted[: len(settled)]))
    if len(settled) != least or equal < LEAST_TOKENS.get(embedder.info.precision, 0.9):
        sys.exit(f"{model.name}: of {len(settled)} live tokens, {least} expected, {equal:.1%} are Python's")
    print(f"{model.name}: {len(settled)} live tokens, {equal:.1%} of them Python's", flush=True)


def check_decoders(browser: Page, address: str, model: Path, voices: Sequence[Path]) -> None:
    """Check that files which the browser decodes and resamples give nearly what Python makes of them."""
    embedder = Embedder.load(model, threads=1)
    browser.go(address)
    for file in voices:
        made = np.array(browser.call(DECODE, in_base64(file.read_bytes()), file.name))
        wanted = embedder.embed(file)
        cosine, least = least_cosine(made, wanted), VOICES[file.name][1]
        off = float(np.abs(made - wanted).max())
        print(f"{file.name}: cosine {cosine:.6f} to Python's, off by {off:.1e}", flush=True)
        if cosine < least:
            sys.exit(f"{file.name}: the cosine to Python's embedding is {cosine:.6f}, {least} is allowed")


def check_use(page: Path, chromium: Chromium, model: Path, voices: Sequence[Path]) -> None:
    """Choose a model, choose sounds, read the matrix; listen to a microphone that plays the first of them."""
    voices = [file for file in voices if file.suffix in {".wav", ".flac"}]  # decoders agree on them
    capture = f"--use-file-for-fake-audio-capture={voices[0]}"
    with headless(chromium, *MICROPHONE, capture) as browser, serving(page) as address:
        browser.go(address)
        choose_model(browser, model)
        browser.choose("#sounds", voices)
        wait_for_clips(browser, len(voices))
        wanted = np.asarray(Embedder.load(model, threads=1).embed(voices))
        off = float(np.abs(matrix(browser) - wanted @ wanted.T).max())
        if off > 0.006:  # it is rounded to hundredths
            sys.exit(f"the similarity matrix is off by {off:.3f}, 0.006 is allowed: {matrix(browser)}")
        strips = "[...document.querySelectorAll('#clips canvas')].map((strip) => strip.ariaLabel)"
        if not all(label.split(": ")[1] for label in browser.evaluate(strips)):
            sys.exit(f"the token strips do not say their tokens: {browser.evaluate(strips)}")
        print(f"similarity matrix of {len(voices)} files: off by {off:.3f}; {text(browser, 'latency')}")
        click(browser, "microphone")
        browser.wait("document.getElementById('live-strip').width >= 75 * 6")  # tokens of 3 s, one round
        click(browser, "microphone")
        wait_for_clips(browser, len(voices) + 1)
        heard = matrix(browser)[-1]
        if heard[0] < 0.9 or heard[0] < heard[1:-1].max():
            sys.exit(f"what the microphone heard does not resemble what was played: {heard}")
        print(f"microphone: cosine of {heard[0]:.2f} to what was played")


def check_refusals(page: Path, chromium: Chromium, model: Path, voice: Path) -> None:
    """Check that what cannot be used is told in a sentence, and that what was there stays."""
    folder = voice.parent
    nonsense, foreign, cut = folder / "nonsense.onnx", folder / "foreign.onnx", folder / "cut.onnx"
    fixed = folder / "some-fixed.onnx"
    nonsense.write_bytes(b"this is no model")
    proto = onnx.load(model)
    one_shape = dataclasses.replace(read_model_file(model), samples=16_000)
    onnx.helper.set_model_props(proto, {KEY: one_shape.to_json()})
    fixed.write_bytes(proto.SerializeToString())
    del proto.metadata_props[:]
    foreign.write_bytes(proto.SerializeToString())
    cut.write_bytes(model.read_bytes()[:5000])
    soundfile.write(folder / "long.wav", np.zeros(61 * 8000), 8000)
    (folder / "noise.mp3").write_bytes(b"no sound either")
    denied = f"{MICROPHONE[1]}=deny"
    with headless(chromium, MICROPHONE[0], denied) as browser, serving(page) as address:
        browser.go(address)
        choose_model(browser, model)
        browser.choose("#sounds", [folder / "noise.mp3", voice, folder / "long.wav"])
        refused(browser, "noise.mp3 is no sound that this browser can read", "long.wav lasts 61.0 s")
        wait_for_clips(browser, 1)
        for file, sentence in {
            nonsense: "nonsense.onnx is no ONNX file, or a damaged one",
            foreign: "foreign.onnx is no model file of earkit",
            fixed: "some-fixed.onnx takes 16000 samples and nothing else",
            cut: "cut.onnx is no ONNX file, or a damaged one",
        }.items():
            browser.choose("#model", [file])
            refused(browser, sentence)
        click(browser, "microphone")
        refused(browser, "The microphone was not permitted")
        wait_for_clips(browser, 1)
        browser.go(f"{address}?backend=abacus")
        refused(browser, "There is no backend abacus")
    print("wrong models, wrong sounds and a microphone that is denied: a sentence each")


def check_offline(page: Path, chromium: Chromium, model: Path, voices: Sequence[Path]) -> None:
    """Check that a page goes on when its server is gone, and comes back when it is opened again."""
    with headless(chromium) as browser:
        with serving(page) as address:
            browser.go(address)
            browser.wait("document.documentElement.dataset.offline === 'ready'")
        for visit in ("loaded", "opened again"):
            choose_model(browser, model)
            browser.choose("#sounds", voices)
            wait_for_clips(browser, len(voices))
            print(f"without its server, {visit}: works")
            browser.go(address)


def choose_model(browser: Page, model: Path) -> None:
    """Choose a model file that can be used."""
    browser.wait("!document.getElementById('model').disabled")
    browser.choose("#model", [model])
    browser.wait("!document.getElementById('sounds').disabled")


def wait_for_clips(browser: Page, count: int) -> None:
    """Wait until so many clips are there."""
    browser.wait(f"document.querySelectorAll('#matrix th[scope=row]').length === {count}")


def matrix(browser: Page) -> NDArray[np.float64]:
    """Read the cosines that the page shows."""
    rows = "[...document.querySelectorAll('#matrix tr')].slice(1)"
    cells = f"{rows}.map((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent)))"
    return np.array(browser.evaluate(cells))


def refused(browser: Page, *sentences: str) -> None:
    """Wait until the page says them."""
    for sentence in sentences:
        browser.wait(f"{TEXT.format('error')}.includes({json.dumps(sentence)})")


def text(browser: Page, name: str) -> str:
    """Read an element."""
    return str(browser.evaluate(TEXT.format(name)))


def click(browser: Page, name: str) -> None:
    """Press a button."""
    browser.evaluate(f"document.getElementById('{name}').click()")


if __name__ == "__main__":
    main()
