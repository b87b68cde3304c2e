"""Pruning and quantization, each behind a gate that measures before it accepts."""
