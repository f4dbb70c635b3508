"""Compare methods on the same images, noise, seeds and budget."""

from napari_coordgate.comparison.comparison import BLURRED, Comparison, Row
from napari_coordgate.comparison.figures import draw_examples, draw_parameters, draw_radial_error
from napari_coordgate.comparison.job import compare, compare_events
from napari_coordgate.comparison.methods import ReadyMethod, build_method
from napari_coordgate.comparison.table import as_table, summarize

__all__ = [
    "BLURRED",
    "Comparison",
    "ReadyMethod",
    "Row",
    "as_table",
    "build_method",
    "compare",
    "compare_events",
    "draw_examples",
    "draw_parameters",
    "draw_radial_error",
    "summarize",
]
