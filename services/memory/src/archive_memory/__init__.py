"""Remembers documents and conversations, and finds them again."""
