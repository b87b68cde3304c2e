"""Learning: data, the DinoSR teacher, distillation."""
