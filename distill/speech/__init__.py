"""The built-in synthetic speech: a source-filter synthesizer and the corpus it speaks."""
