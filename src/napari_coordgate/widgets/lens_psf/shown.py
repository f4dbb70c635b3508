"""A lens as layers: its PSFs over the frame, and an image as it would blur it."""

from typing import TYPE_CHECKING

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

from napari_coordgate.widgets.contributions.layer_metadata import (
    LENS,
    field_metadata,
    metadata,
    on_frame,
)
from napari_coordgate.widgets.layers import look_of, place_of
from napari_coordgate.widgets.lens_psf.portrait import AnyLens, BlurredImage, Portrait
from napari_coordgate.widgets.live_layer import LiveLayer

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFField

__all__ = ["ShownLens"]


class ShownLens:
    """The two layers of a lens.

    Parameters
    ----------
    viewer : Viewer
        Where they are shown.

    Attributes
    ----------
    psfs, blurred : LiveLayer
        PSFs over the frame; the image.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.psfs, self.blurred = LiveLayer(viewer), LiveLayer(viewer)

    def show_psfs(
        self, portrait: Portrait, name: str, lens: AnyLens, over: ImageLayer | None
    ) -> None:
        """Show the PSFs, each at its place in the frame; over the image where there is one."""
        place = on_frame((), lens.pixel_size_um) if over is None else place_of(over, 2)
        self.psfs.show(
            portrait.montage,
            name=f"{name} PSFs",
            colormap="magma",
            blending="additive",
            contrast_limits=(0, 1),
            metadata=metadata(LENS, lens=lens.model_dump(mode="json")),
            **place,
        )

    def carry(self, field: "PSFField") -> None:
        """Let the layer of PSFs be saved as the PSF field of this lens."""
        if self.psfs.layer is not None:
            self.psfs.layer.metadata = field_metadata(field)

    def show_blurred(self, blurred: BlurredImage, sharp: ImageLayer) -> None:
        """Show the image, where it lies in the sharp one."""
        options = place_of(sharp, 2) | look_of(sharp)
        options["translate"] = options["translate"] + options["scale"] * blurred.origin
        self.blurred.show(blurred.pixels, name=f"{sharp.name} blurred", **options)
