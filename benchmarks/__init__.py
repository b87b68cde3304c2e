"""Where every number in the README comes from."""
