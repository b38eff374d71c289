"""Requests come in, jobs for lanes go out."""
