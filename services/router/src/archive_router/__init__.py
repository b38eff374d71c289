"""Decides which lane serves a request."""
