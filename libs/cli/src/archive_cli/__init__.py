"""The `archive` command: starts and supervises everything on one machine, and speaks to it."""

__version__ = "0.1.0"
