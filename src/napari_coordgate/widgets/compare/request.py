"""What a comparison is asked to do: a frozen snapshot, taken before it begins."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_coordgate.config import Camera, DeblurRuntime, RichardsonLucyConfig, WienerConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Finished
from napari_coordgate.io import Image
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFField

__all__ = ["CompareRequest", "OnePlane"]


@dataclass(frozen=True, eq=False)
class OnePlane:
    """One plane of an image, still to be read.

    Attributes
    ----------
    image : Image
        The image, as lazy as its layer.
    place : tuple of int
        Index of the plane over the axes before height and width.
    """

    image: Image
    place: tuple[int, ...]

    def read(self) -> Image:
        """Read the plane alone; for the background thread."""
        pixels = self.image.plane((*self.place, slice(None), slice(None)))
        return Image(pixels, "YX", self.image.pixel_size_um, title=self.image.name)


@dataclass(frozen=True, eq=False)
class CompareRequest:
    """An image, what is known of it, and the methods.

    Attributes
    ----------
    plane : OnePlane
        The image.
    is_sharp : bool
        Whether it is sharp, and to be blurred first.
    truth : OnePlane or None
        The same, sharp, if that is known of a blurred one.
    field : PSFField or None
        Blur of the lens.
    camera : Camera
        Its noise.
    methods : mapping of str to Checkpoint, WienerConfig or RichardsonLucyConfig
        By the names that users see.
    runtime : DeblurRuntime
        How networks are run.
    """

    plane: OnePlane
    is_sharp: bool
    truth: OnePlane | None
    field: "PSFField | None"
    camera: Camera
    methods: Mapping[str, Any]
    runtime: DeblurRuntime

    def check(self) -> None:
        """Make sure that there is all that the methods need.

        Raises
        ------
        SettingsError
            If something is missing, or does not fit.
        """
        classical = (WienerConfig, RichardsonLucyConfig)
        if not self.methods:
            raise SettingsError("Tick the methods to compare.")
        if self.field is None and self.is_sharp:
            raise SettingsError("Choose a PSF field to blur the image; Lens PSF makes one.")
        if self.field is None and any(isinstance(m, classical) for m in self.methods.values()):
            raise SettingsError(
                "Choose a PSF field for Wiener and Richardson-Lucy (Lens PSF makes one), or "
                "untick them."
            )
        shape = self.plane.image.frame_shape
        if self.is_sharp and any(n < m for n, m in zip(shape, self.field.frame_shape, strict=True)):  # type: ignore[union-attr]
            raise SettingsError(
                f"The image is {_size(shape)} pixels, less than the PSF field's frame of "
                f"{_size(self.field.frame_shape)}; choose another one."  # type: ignore[union-attr]
            )
        if self.truth is not None:
            self._check_truth(self.truth.image)

    def _check_truth(self, truth: Image) -> None:
        image = self.plane.image
        if truth.data is image.data:
            raise SettingsError("The truth is the blurred image itself; choose the sharp one.")
        if truth.frame_shape != image.frame_shape:
            raise SettingsError(
                f"The image is {_size(image.frame_shape)} pixels, but the truth "
                f"{_size(truth.frame_shape)}; choose one of the same part of the specimen."
            )

    def events(self, job: Job) -> Iterator[Any]:
        """A `Scene`, then the events of the comparison; for the background thread."""
        from napari_coordgate.comparison.on_image import (  # brings in torch
            Scene,
            blurred_scene,
            compare_on_image_events,
            summarize_methods,
        )

        image = self.plane.read()
        if self.is_sharp:
            assert self.field is not None
            scene = blurred_scene(image, self.field, self.camera)
        else:
            scene = Scene(image, None if self.truth is None else self.truth.read().pixels)
        yield scene
        done = yield from compare_on_image_events(
            scene,
            self.methods,
            self.field,
            camera=self.camera,
            runtime=self.runtime,
            cancel=job.cancel_requested,
        )
        message = summarize_methods(image.name, [one.row for one in done])
        yield Finished("completed", message, result=done)


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
