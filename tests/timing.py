"""How long what is promised may take in a test."""

BUSY = 3
"""How much slower than promised a computer may be that does other work as well."""
