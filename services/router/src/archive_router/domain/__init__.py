"""Lanes, their health, and the choice among them: no I/O, no clock."""
