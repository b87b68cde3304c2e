"""Anything that turns audio into frame features, ours or not."""
