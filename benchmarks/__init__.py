"""Measurements: what is fast, and which defaults are best."""
