"""Probes of frozen representations on real audio: one file per task, all of them in `evaluate`."""
