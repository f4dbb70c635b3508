"""The paper's figures, made anew: one module a figure, and what they say of the paper's claims."""

from paper.figures import FIGURES, Figure, Scale, run_figure

__all__ = ["FIGURES", "Figure", "Scale", "run_figure"]
