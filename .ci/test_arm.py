"""Model files on emulated ARM processors, with the aarch64 wheel of onnxruntime: their results against x86's.

    .venv/bin/python .ci/test_arm.py [MODEL.onnx …]

Without model files it makes two of an untrained student, in float and in int8, as `test_web.py` does. Exits
with a sentence when something is not as it should be.
"""

import sys
import tempfile
from pathlib import Path

from test_web import untrained

from earkit.benchmarks.aarch64 import find_aarch64
from earkit.benchmarks.arm_parity import report
from earkit.runtime.errors import EarkitError


def main() -> None:
    """Fetch the machine, make the models, compare."""
    print("looking for an emulated ARM machine, and fetching what is missing", flush=True)
    try:
        arm = find_aarch64()
        with tempfile.TemporaryDirectory() as name:
            report(arm, [Path(argument) for argument in sys.argv[1:]] or untrained(Path(name)))
    except EarkitError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
