"""One file for each loss of distillation."""
