"""Candide: a ChatGPT that its users own."""

__version__ = "0.1.0"
