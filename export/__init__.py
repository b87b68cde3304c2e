"""From a trained student to one ONNX file."""
