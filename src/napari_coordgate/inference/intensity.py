"""Gray values that are scaled to 0 and 1: of a plane, of its stack, or fixed."""

import threading
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from napari_coordgate.config import DeblurConfig, Scaling
from napari_coordgate.io import Image, PlaneView, plane_indices, subsample
from napari_coordgate.io.image import PlaneIndex
from napari_coordgate.normalization import Normalizer, fit_stack_normalizer

SAMPLED_SIDE = 256
"""Side to which the planes of a stack are reduced for its percentiles, pixels."""


class IntensityRanges:
    """Ranges of the planes of an image as the settings want them; those of a stack are kept."""

    def __init__(self, image: Image, config: DeblurConfig, scaling: Scaling) -> None:
        self._image, self._config, self._scaling = image, config, scaling
        self._lock = threading.Lock()
        self._of_stack: dict[PlaneIndex, Normalizer | None] = {}

    def of(self, plane: PlaneView) -> Normalizer | None:
        """Range of a plane; None if it is that of the plane alone."""
        dark, bright = self._config.dark_gray, self._config.bright_gray
        if dark is not None and bright is not None:
            return Normalizer(dark, bright)
        if self._config.intensity == "per-plane":
            return None
        with self._lock:
            key = self._channel(plane.index)
            if key not in self._of_stack:
                self._of_stack[key] = fit_stack_normalizer(self._samples(key), self._scaling)
            return self._of_stack[key]

    def _channel(self, index: PlaneIndex) -> PlaneIndex:
        """Index of a plane over channels and color samples, which have ranges of their own."""
        return tuple(
            item for letter, item in zip(self._image.axes, index, strict=True) if letter in "CS"
        )

    def _samples(self, key: PlaneIndex) -> Iterator[NDArray[Any]]:
        for index in plane_indices(self._image):
            if self._channel(index) == key:
                yield subsample(self._image.view(index), SAMPLED_SIDE)
