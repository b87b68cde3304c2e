"""A model file for phones: onnxruntime's own format, and the list of operators that a reduced build needs."""

from dataclasses import dataclass
from pathlib import Path

import onnxruntime
from onnxruntime.tools.ort_format_model.ort_model_processor import OrtFormatModelProcessor

from earkit.runtime.atomic import replacing, write_text
from earkit.runtime.errors import CheckpointError, ConfigError
from earkit.runtime.model_file import REFUSALS, ModelInfo, read_model_file

BROWSERS_LACK = frozenset({"ConvInteger"})
"""Operators of our files that onnxruntime-web does not have."""


@dataclass(frozen=True)
class Mobile:
    """What was written."""

    file: Path
    required_operators: Path


def for_phones(file: Path) -> Mobile:
    """Write <name>.ort and <name>.required_operators.config beside a model file.

    Optimised for any processor: what only suits that of this machine is left out.
    """
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
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{file} cannot be made an .ort file ({reason}): leave out --mobile"
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
    return Mobile(ort, config)


def refuse_for_browsers(info: ModelInfo) -> None:
    """Refuse a file with an operator that onnxruntime-web does not have."""
    lacking = sorted(BROWSERS_LACK & set(info.operators))
    if lacking:
        raise ConfigError(
            f"{info.name} has {', '.join(lacking)}, which browsers do not run: quantize it without, or leave "
            "out --web"
        )
