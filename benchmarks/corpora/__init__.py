"""Recipes: from the package that holds a corpus to 16 kHz clips and a manifest."""
