"""Methods compared on one footing: the same images, noise, seeds and budget, one table."""

from napari_coordgate.comparison.comparison import Comparison, load_comparison
from napari_coordgate.comparison.figures import draw_examples, draw_parameters, draw_radial_error
from napari_coordgate.comparison.job import compare
from napari_coordgate.comparison.methods import Restorer, build_restorer
from napari_coordgate.comparison.rows import BLURRED, Row
from napari_coordgate.comparison.table import as_table

__all__ = [
    "BLURRED",
    "Comparison",
    "Restorer",
    "Row",
    "as_table",
    "build_restorer",
    "compare",
    "draw_examples",
    "draw_parameters",
    "draw_radial_error",
    "load_comparison",
]
