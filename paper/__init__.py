"""Reproduction of the paper's figures and claims; run ``python -m paper --help``."""
