"""Input of a comparison, as a frozen snapshot of the form."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_coordgate.config import (
    Camera,
    DeblurRuntime,
    RichardsonLucyConfig,
    UniversalConfig,
    WienerConfig,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import Image
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFField


@dataclass(frozen=True, eq=False)
class OnePlane:
    """One plane of an image, read later; ``index`` is its index over the axes before Y and X."""

    image: Image
    index: tuple[int, ...]

    def read(self) -> Image:
        """Read the plane, in the background thread."""
        pixels = self.image.plane((*self.index, slice(None), slice(None)))
        return Image(pixels, "YX", self.image.pixel_size_um, title=self.image.name)


@dataclass(frozen=True, eq=False)
class CompareRequest:
    """Snapshot of the input of a comparison: image, sharp image if known, and methods by name."""

    plane: OnePlane
    is_sharp: bool
    """Whether the image is sharp and is blurred first."""
    truth: OnePlane | None
    psf_field: "PSFField | None"
    camera: Camera
    methods: Mapping[str, Any]
    runtime: DeblurRuntime

    def check(self) -> None:
        """Raise `SettingsError` if something that the methods need is missing or does not fit."""
        of_lens = (UniversalConfig, WienerConfig, RichardsonLucyConfig)
        if not self.methods:
            raise SettingsError("Select the methods to compare.")
        if self.psf_field is None and self.is_sharp:
            raise SettingsError("Choose a lens to blur the image; describe one in Lens PSF.")
        if self.psf_field is None and any(isinstance(m, of_lens) for m in self.methods.values()):
            raise SettingsError(
                "Choose a lens for the universal network, Wiener and Richardson-Lucy (describe one "
                "in Lens PSF), or deselect them."
            )
        if self.is_sharp and self.psf_field is not None:
            self._check_covers(self.psf_field.frame_shape)
        if self.truth is not None:
            self._check_truth(self.truth.image)

    def _check_covers(self, frame_shape: tuple[int, int]) -> None:
        shape = self.plane.image.frame_shape
        if any(n < m for n, m in zip(shape, frame_shape, strict=True)):
            raise SettingsError(
                f"The image is {_size(shape)} pixels, smaller than the camera image of the lens, "
                f"{_size(frame_shape)}; choose another one."
            )

    def _check_truth(self, truth: Image) -> None:
        image = self.plane.image
        if truth.data is image.data:
            raise SettingsError("The sharp image is the blurred image itself; choose another one.")
        if truth.frame_shape != image.frame_shape:
            raise SettingsError(
                f"The image is {_size(image.frame_shape)} pixels, but its sharp image "
                f"{_size(truth.frame_shape)}; choose one of the same part of the specimen."
            )

    def events(self, job: Job) -> Generator[Any, None, list[Any]]:
        """Yield a `Scene`, then the events of the comparison, in the background thread."""
        from napari_coordgate.comparison.on_image import (  # imports torch
            Scene,
            blurred_scene,
            compare_on_image_events,
        )

        image = self.plane.read()
        if self.is_sharp:
            assert self.psf_field is not None
            scene = blurred_scene(image, self.psf_field, self.camera)
        else:
            scene = Scene(image, None if self.truth is None else self.truth.read().pixels)
        yield scene
        return (
            yield from compare_on_image_events(
                scene,
                self.methods,
                self.psf_field,
                camera=self.camera,
                runtime=self.runtime,
                cancel=job.cancel_requested,
            )
        )

    def done_message(self, done: list[Any]) -> str:
        """Summary of the results."""
        from napari_coordgate.comparison.on_image import summarize_methods

        return summarize_methods(self.plane.image.name, [one.row for one in done])


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
