"""From files to batches: corpora, what is skipped, augmentation, crops."""
