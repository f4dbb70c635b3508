"""Train a network on sharp images and a PSF field, or on measured pairs."""

from napari_coordgate.widgets.train.widget import TrainWidget

__all__ = ["TrainWidget"]
