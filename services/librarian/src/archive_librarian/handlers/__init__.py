"""Commands come in; progress, chunks and the fate of documents go out."""
