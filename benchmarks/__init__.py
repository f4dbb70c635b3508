"""Benchmarks of speed, memory and default settings."""
