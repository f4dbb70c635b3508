"""Preview of a lens: its PSFs over the frame, and an image blurred by it, as layers."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.layers import (
    LENS,
    LENS_PREVIEW,
    LiveLayer,
    copy_appearance,
    copy_transform,
    frame_transform,
    metadata,
    psf_field_metadata,
)

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFField, PSFGrid

AnyLens = Lens | GaussianLens
ZOOM_SIDE = 700
"""Side of a frame, pixels, in which PSFs of a few pixels are too small to see."""
BLUR_TOLERANCE = 0.03
"""Relative error of the blur in the preview; it is not visible."""


@dataclass(frozen=True, eq=False)
class PSFPreview:
    """PSFs over the frame, also as an image (H, W); ``origin`` is the frame's in the image."""

    grid: "PSFGrid"
    montage: NDArray[np.float32]
    lens: AnyLens
    origin: tuple[int, int]
    zoom: int = 1
    """Enlargement of the PSFs, which are a few pixels of a large frame."""


@dataclass(frozen=True, eq=False)
class BlurPreview:
    """An image (H, W) as blurred by the lens, in its own units, at ``origin`` of the sharp one."""

    pixels: NDArray[np.float32]
    origin: tuple[int, int]


@dataclass(frozen=True, eq=False)
class PreviewRequest:
    """A lens, its frame, and optionally a plane of an image (..., H, W) of at least that size."""

    lens: AnyLens
    frame_shape: tuple[int, int]
    pixels: Any = None
    plane: tuple[int, ...] = ()
    image_name: str = ""

    def events(self, job: Job) -> Generator[PSFPreview | BlurPreview, None, str]:
        """PSFs first, then the blurred image; returns why an image does not fit, if so."""
        from napari_coordgate.optics import PSFField, PSFGrid  # import torch
        from napari_coordgate.simulation import center_crop_window

        origin, sharp, note = (0, 0), None, ""
        if self.pixels is not None:
            sharp = np.asarray(self.pixels[self.plane], np.float32)
            try:
                origin = center_crop_window(sharp.shape, self.frame_shape, self.image_name).origin
            except FrameMismatchError as error:
                sharp, note = None, str(error)
        grid = PSFGrid.from_lens(self.lens, self.frame_shape)
        zoom = 1 + 2 * (max(self.frame_shape) // ZOOM_SIDE)
        yield PSFPreview(grid, grid.montage(zoom), self.lens, origin, zoom)
        if sharp is not None:
            psf_field = PSFField.from_lens(
                self.lens, self.frame_shape, BLUR_TOLERANCE, cancel=job.cancel_requested
            )
            before = -origin[0], -origin[1]
            yield BlurPreview(psf_field.blur(sharp, origin=before), origin)
        return note


class LensLayers:
    """The two layers of a lens: its PSFs over the frame, and an image blurred by it."""

    def __init__(self, viewer: Viewer) -> None:
        self.psfs, self.blurred = LiveLayer(viewer), LiveLayer(viewer)
        self.lens: AnyLens | None = None

    def show_psfs(self, preview: PSFPreview, name: str, over: ImageLayer | None) -> None:
        """Show the PSFs over the frame, or over the image if there is one."""
        lens = preview.lens
        transform = frame_transform((), lens.pixel_size_um)
        if over is not None:
            transform = _window_transform(over, preview.origin)
        self.psfs.show(
            preview.montage,
            name=f"{name} PSFs",
            colormap="magma",
            blending="additive",
            contrast_limits=(0, 1),
            metadata=metadata(LENS, lens=lens.model_dump(mode="json")),
            **transform,
        )
        self.lens = lens

    def rename_psfs(self, name: str) -> None:
        """Name the layer of PSFs after the lens."""
        if self.psfs.layer is not None:
            self.psfs.layer.name = f"{name} PSFs"

    def attach_psf_field(self, psf_field: "PSFField | None", lens: AnyLens) -> None:
        """Attach the PSF field of the lens to its layer, which can then be saved as one."""
        if psf_field is not None and self.psfs.layer is not None and self.lens == lens:
            self.psfs.layer.metadata = psf_field_metadata(psf_field)

    def show_blurred(self, blurred: BlurPreview, sharp: ImageLayer, lens: AnyLens) -> None:
        """Show the blurred image over the sharp one."""
        is_new = self.blurred.show(
            blurred.pixels,
            name=f"{sharp.name} blurred",
            metadata=metadata(LENS_PREVIEW, image=sharp.name, lens=lens.model_dump(mode="json")),
            **_window_transform(sharp, blurred.origin),
            **copy_appearance(sharp),
        )
        if is_new:
            self.psfs.move_to_top()


def _window_transform(layer: ImageLayer, origin: tuple[int, int]) -> dict[str, Any]:
    """Transform of a window of a layer that begins at this pixel."""
    transform = copy_transform(layer, 2)
    return transform | {"translate": transform["translate"] + transform["scale"] * origin}
