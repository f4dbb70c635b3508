"""Images of files as layers, and layers as files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_coordgate.errors import OutputError
from napari_coordgate.io import (
    Image,
    is_image,
    middle_plane_index,
    read_images,
    subsample,
    write_image,
)
from napari_coordgate.io.files import atomic_write
from napari_coordgate.io.metadata import processing_facts
from napari_coordgate.io.tiff_writing import tiff_layout, write_tiff
from napari_coordgate.widgets.jobs import Job, JobEnd
from napari_coordgate.widgets.kept import keep_folder, last_folder
from napari_coordgate.widgets.layers import (
    IMAGE,
    OPENED,
    LayerData,
    image_of,
    image_transform,
    metadata,
    provenance,
    without_pixels,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_coordgate.widgets.session import Session

IMAGE_FILES = (
    "Images (*.tif *.tiff *.czi *.nd2 *.lif *.png *.jpg *.jpeg *.npy *.zip zarr.json .zattrs)"
)
"""Files of a dialog; of an OME-Zarr, a file in its folder."""
SAVED_FILES = "OME-TIFF (*.ome.tif);;OME-Zarr (*.ome.zarr)"
SAVED_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.zarr", ".zarr")
MAX_SAMPLED_SIDE = 512
"""Number of pixels along a side from which the contrast limits are computed."""


def image_layer(image: Image, name: str, kind: str = OPENED, /, **facts: Any) -> LayerData:
    """Layer of an image, with its scale, units, axes and all that its file states; lazy."""
    options = {
        **image_transform(image),
        **contrast(image),
        "colormap": "gray",
        "name": name,
        "metadata": metadata(kind, **facts, **{IMAGE: without_pixels(image)}),
    }
    return image.data, options, "image"


def contrast(image: Image) -> dict[str, Any]:
    """Contrast limits from a few pixels of the middle plane; napari would read all of them."""
    if "S" in image.axes:
        return {}
    pixels = subsample(image.view(middle_plane_index(image)), MAX_SAMPLED_SIDE)
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    return {"contrast_limits": (low, high)} if low < high else {}


def read_layers(path: Path) -> list[LayerData]:
    """Layers of all images of a file, one for each scene."""
    path = image_path(path)
    name = path.name.removesuffix(path.suffix).removesuffix(".ome")
    return [
        image_layer(image, " ".join(filter(None, [name, image.scene])))
        for image in read_images(path)
    ]


def image_path(path: Path) -> Path:
    """File of an image; the folder of an OME-Zarr, of which a file was chosen."""
    stores = [folder for folder in path.parents if folder.suffix.lower() == ".zarr"]
    return path if is_image(path) or not stores else stores[0]


def load_images(viewer: Viewer, session: Session) -> Callable[[Path], Job[list[LayerData]]]:
    """Function that opens the images of a file as layers, in the background."""

    def add(end: JobEnd[list[LayerData]]) -> None:
        for pixels, options, _ in reversed(end.result or []):  # the first one is on top
            viewer.add_image(pixels, **options)

    def load(path: Path) -> Job[list[LayerData]]:
        job = Job.from_function(f"Open {path.name}", lambda _: read_layers(path))
        job.finished.connect(add)
        session.start(job)
        return job

    return load


def layer_image(layer: ImageLayer) -> Image:
    """Image that is written for a layer: its pixels, metadata of its file, and our settings."""
    facts = provenance(layer.metadata)
    image = image_of(layer)
    if "settings" not in facts:
        return image
    settings = yaml.safe_dump(dict(facts["settings"]), sort_keys=False)
    methods = {key: str(facts[key]) for key in ("model", "psf_field", "method") if key in facts}
    return replace(image, processing=processing_facts(settings, **methods))


def save_image(path: Path, image: Image, *, overwrite: bool) -> None:
    """Write an image as OME-Zarr, or as OME-TIFF whatever the ending, so that it keeps all."""
    if path.suffix.lower() == ".zarr":
        write_image(path, image, overwrite)
        return
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(f"{path.name}: choose a name that ends in .ome.tif or .ome.zarr.")
    pixels = image.pixels
    name = path.with_name("image.ome.tif")
    layout = tiff_layout(name, pixels.shape, pixels.dtype, image.axes, image.metadata)
    with atomic_write(path, overwrite) as temporary:
        write_tiff(temporary, pixels, layout)


class SaveButton(QPushButton):
    """Saves the layer that it was offered last."""

    def __init__(self, session: Session) -> None:
        super().__init__("Save…")
        self.setToolTip("Save with axes, pixel size, channels and settings.")
        self._session = session
        self._layer: ImageLayer | None = None
        self.clicked.connect(self._ask)
        self.offer(None)

    def offer(self, layer: ImageLayer | None) -> None:
        """Save this layer at the next click."""
        self._layer = layer
        self.setEnabled(layer is not None)

    def _ask(self) -> None:
        layer = self._layer
        if layer is None:
            return
        name = re.sub(r"[/\\:]+", "-", layer.name)  # as files of Windows cannot have them
        proposed = str(Path(last_folder(SAVED_FILES)) / f"{name}.ome.tif")
        typed, _ = QFileDialog.getSaveFileName(self, "Save", proposed, SAVED_FILES)
        if typed:
            keep_folder(SAVED_FILES, typed)
            is_complete = typed.lower().endswith(SAVED_ENDINGS)
            path = Path(typed if is_complete else f"{typed}{SAVED_ENDINGS[0]}")
            save_layer(self._session, layer, path, overwrite=is_complete)


def save_layer(session: Session, layer: ImageLayer, path: Path, *, overwrite: bool) -> Job[None]:
    """Save a layer in the background, and say so."""
    image = layer_image(layer)
    job: Job[None] = Job.from_function(
        f"Save {layer.name}",
        lambda _: save_image(path, image, overwrite=overwrite),
        done_message=lambda _: f"Saved {path.name}.",
    )
    job.finished.connect(lambda end: end.error or show_info(end.message))
    session.start(job)
    return job
