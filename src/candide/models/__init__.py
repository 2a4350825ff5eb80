"""Weights: what there is, where to get it, what is here, and which of it suits this machine."""
