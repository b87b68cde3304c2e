"""A checksum at the end of a model file: without it, a flipped bit among the weights is a wrong result.

It is one more entry of the ONNX metadata, so a sealed file is still ONNX: protobuf reads what is appended as
if it had stood there from the beginning. A file without a seal is taken as it is.
"""

import hashlib

KEY = "earkit.sha256"

_DIGITS = 64
_ENTRY = (
    b"\x0a" + bytes([len(KEY)]) + KEY.encode() + b"\x12" + bytes([_DIGITS])
)  # key is field 1, value field 2
_HEAD = b"\x72" + bytes([len(_ENTRY) + _DIGITS]) + _ENTRY  # metadata_props is field 14


def sealed(model: bytes) -> bytes:
    """Append the checksum of a serialized model."""
    return model + _HEAD + hashlib.sha256(model).hexdigest().encode()


def is_broken(model: memoryview) -> bool:
    """Whether a file has a seal that is not its own: it was damaged or changed since."""
    body = len(model) - len(_HEAD) - _DIGITS
    if body < 0 or model[body : body + len(_HEAD)] != _HEAD:
        return False
    return hashlib.sha256(model[:body]).hexdigest().encode() != model[-_DIGITS:]
