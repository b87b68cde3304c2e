"""The command `kit`: one file per verb, no logic."""
