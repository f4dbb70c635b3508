"""Faults made on purpose, again and again: what the project promises, tried for real."""
