"""Fig. 3: a blur that varies along a line, and which networks can learn it."""

from napari_coordgate.paper.line.job import run

__all__ = ["run"]
