"""Turns files into clean, cited, token-sized chunks."""
