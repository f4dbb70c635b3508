"""A lens as layers: its PSFs over the frame, and an image as it would blur it."""

from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

from napari_coordgate.widgets.layers.live import LiveLayer
from napari_coordgate.widgets.layers.places import look_of, on_frame, place_of
from napari_coordgate.widgets.layers.provenance import BLURRED, LENS, field_metadata, metadata
from napari_coordgate.widgets.lens_psf.portrait import AnyLens, BlurredImage, Portrait

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
        self.lens: AnyLens | None = None

    def show_psfs(self, portrait: Portrait, name: str, over: ImageLayer | None) -> None:
        """Show the PSFs, each at its place in the frame; over the image where there is one."""
        lens = portrait.lens
        place = on_frame((), lens.pixel_size_um)
        if over is not None:
            place = _part_of(over, portrait.origin)
        self.psfs.show(
            portrait.montage,
            name=f"{name} PSFs",
            colormap="magma",
            blending="additive",
            contrast_limits=(0, 1),
            metadata=metadata(LENS, lens=lens.model_dump(mode="json")),
            **place,
        )
        self.lens = lens

    def rename_psfs(self, name: str) -> None:
        """Call the layer of PSFs by another name of the lens."""
        if self.psfs.layer is not None:
            self.psfs.layer.name = f"{name} PSFs"

    def carry(self, field: "PSFField | None", lens: AnyLens) -> None:
        """Let the layer of PSFs be saved as the PSF field of its lens."""
        if field is not None and self.psfs.layer is not None and self.lens == lens:
            self.psfs.layer.metadata = field_metadata(field)

    def show_blurred(self, blurred: BlurredImage, sharp: ImageLayer, lens: AnyLens) -> None:
        """Show the image, where it lies in the sharp one."""
        is_new = self.blurred.show(
            blurred.pixels,
            name=f"{sharp.name} blurred",
            metadata=metadata(BLURRED, image=sharp.name, lens=lens.model_dump(mode="json")),
            **_part_of(sharp, blurred.origin),
            **look_of(sharp),
        )
        if is_new:
            self.psfs.raise_()


def _part_of(layer: ImageLayer, origin: tuple[int, int]) -> dict[str, Any]:
    """Place of a window of a layer that begins at this pixel."""
    place = place_of(layer, 2)
    return place | {"translate": place["translate"] + place["scale"] * origin}
