"""A model file for phones: onnxruntime's own format, what a reduced build needs, and one shape."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.tools.ort_format_model.ort_model_processor import OrtFormatModelProcessor

from earkit.export.fixed_shape import fixed_drift, fixed_shape
from earkit.export.mobile_usability import Usability, usability, usability_table
from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import CheckpointError, ConfigError, reason
from earkit.runtime.inference import STEP
from earkit.runtime.model_file import REFUSALS, ModelInfo, read_model_file
from earkit.runtime.write_model_file import card_of, write_model_file

BROWSERS_LACK = frozenset({"ConvInteger"})
"""Operators of our files that onnxruntime-web does not have."""


@dataclass(frozen=True)
class Mobile:
    """What was written."""

    file: Path
    required_operators: Path
    fixed: Path
    """Of one shape, for accelerators."""
    card: Path
    """Of that."""
    usability: tuple[Usability, ...]
    """Of that, by accelerator."""

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [self.file, self.required_operators, self.fixed, self.card]


def for_phones(file: Path, seconds: float) -> Mobile:
    """Write <name>.ort, <name>.required_operators.config, <name>-fixed.onnx and its card beside a model file.

    seconds: of audio that the file of one shape takes; of a step graph it takes a step of 80 ms.
    """
    ort, config = _ort(file)
    fixed, found = _fixed(file, seconds)
    return Mobile(ort, config, fixed, card_of(fixed), found)


def _fixed(file: Path, seconds: float) -> tuple[Path, tuple[Usability, ...]]:
    info, proto = read_model_file(file), onnx.load(file)
    samples = STEP if info.stream else round(seconds * info.sample_rate)
    made = fixed_shape(proto, samples)
    drift = fixed_drift(proto, made, info, samples)
    found = usability(made)
    own = dataclasses.replace(
        info, name=f"{info.name}-fixed", samples=samples, drift=drift, latency=(), machine=""
    )
    place = file.with_name(f"{file.stem}-fixed.onnx")
    write_model_file(place, made, own, remarks=f"\n{usability_table(found)}")
    return place, found


def _ort(file: Path) -> tuple[Path, Path]:
    """Optimised for any processor: what only suits that of this machine is left out."""
    ort, config = file.with_suffix(".ort"), file.with_suffix(".required_operators.config")
    info = read_model_file(file)
    with replacing(ort) as temporary:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(temporary)
        options.add_session_config_entry("session.save_model_format", "ORT")
        try:
            onnxruntime.InferenceSession(
                str(file),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["NchwcTransformer"],
            )
        except REFUSALS as error:
            raise CheckpointError(
                f"{file} cannot be made an .ort file ({reason(error)}): leave out --mobile"
            ) from error
        needed: dict[str, dict[int, set[str]]] = {}
        OrtFormatModelProcessor(str(temporary), needed, None).process()
    if read_model_file(ort) != info:
        raise CheckpointError(f"{ort} does not describe itself as {file} does: leave out --mobile")
    lines = [
        f"{domain or 'ai.onnx'};{opset};{','.join(sorted(names))}"
        for domain, by_opset in sorted(needed.items())
        for opset, names in sorted(by_opset.items())
        if names
    ]
    write_text(config, "\n".join([f"# what {ort.name} needs", *lines]) + "\n")
    return ort, config


def refuse_for_browsers(info: ModelInfo) -> None:
    """Refuse a file with an operator that onnxruntime-web does not have."""
    lacking = sorted(BROWSERS_LACK & set(info.operators))
    if lacking:
        raise ConfigError(
            f"{info.name} has {', '.join(lacking)}, which browsers do not run: quantize it without, or leave "
            "out --web"
        )
