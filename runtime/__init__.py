"""Ground floor of earkit: audio in, model file in, embeddings out. Never imports torch."""
