"""A file of a batch as layers: blurred, and deblurred where it is done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate.events import FileChanged
from napari_coordgate.io import Image, middle_plane_index, read_image, subsample
from napari_coordgate.version import __version__
from napari_coordgate.widgets.batch.request import BatchRequest
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.layers import BLURRED, DEBLURRED, LayerData, image_transform, metadata

__all__ = ["OpenRequest"]

LOOKED_AT = 512
"""Pixels along a side that are looked at for the contrast."""


@dataclass(frozen=True)
class OpenRequest:
    """A file to open.

    Attributes
    ----------
    file : FileChanged
        The file, as its batch left it.
    batch : BatchRequest
        What the batch was asked for.
    """

    file: FileChanged
    batch: BatchRequest

    def read(self, _: Job) -> list[LayerData]:
        """Read the headers and return layers of lazy pixels, in the background thread."""
        blurred = self._blurred()
        look = {"colormap": "gray", **_contrast(blurred)}
        layers = [_layer(blurred, look, self._name, metadata(BLURRED, path=str(self.file.source)))]
        if self.file.status in ("done", "up_to_date") and self.file.output is not None:
            deblurred = read_image(self.file.output)
            name, how = f"{self._name} deblurred", self._how(blurred, self.file.output)
            layers.append(_layer(deblurred, look, name, how))
        return layers

    @property
    def _name(self) -> str:
        return self.file.source.name

    def _blurred(self) -> Image:
        """The part of the file that was deblurred."""
        config = self.batch.config
        return read_image(self.file.source, config.axes).select(config.selection)

    def _how(self, blurred: Image, output: Path) -> dict[str, Any]:
        """How a result was made; a batch is not told by napari, but by its files."""
        return metadata(
            DEBLURRED,
            image=str(self.file.source),
            path=str(output),
            axes=blurred.axes,
            network=str(self.batch.checkpoint),
            settings=self.batch.config.model_dump(mode="json"),
            version=__version__,
        )


def _layer(image: Image, look: dict[str, Any], name: str, made: dict[str, Any]) -> LayerData:
    return image.data, {**image_transform(image), **look, "name": name, "metadata": made}, "image"


def _contrast(image: Image) -> dict[str, Any]:
    """Contrast by a few pixels of the middle plane; napari would look at all of them."""
    pixels = subsample(image.view(middle_plane_index(image)), LOOKED_AT)
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    return {"contrast_limits": (low, high)} if low < high else {}
