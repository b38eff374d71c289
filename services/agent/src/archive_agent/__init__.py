"""Answers from documents with citations, and works on tasks with tools."""
