"""Fig. 3: a blur that varies along a line, and which networks can learn it."""

from paper.line.job import run

__all__ = ["run"]
