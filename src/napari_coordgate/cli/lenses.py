"""Command ``lenses``, and the lens that a command is to use: of a file, by name, of an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from napari_coordgate.cli.info import to_text
from napari_coordgate.cli.messages import say
from napari_coordgate.config import GaussianLens, Lens, describe_calibration, load_lens
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import (
    Image,
    describe_sources,
    find_lens,
    keep_lens,
    kept_lens_for,
    kept_lenses,
    lens_from_metadata,
    lens_of_image,
    read_image,
)
from napari_coordgate.io.lens_library import lens_folder


class LensSource(NamedTuple):
    """A lens file or the name of a kept lens, or an image and a channel of it."""

    lens: Path | None = None
    image: Path | None = None
    channel: int = 0

    def read(self) -> tuple[Lens | GaussianLens, tuple[int, int] | None]:
        """Lens, and the frame of the image if it was described by one."""
        if self.lens is not None:
            return find_lens(self.lens), None
        assert self.image is not None
        image = read_image(self.image)
        return lens_for(image, self.channel), image.frame_shape


def lens_for(image: Image, channel: int = 0) -> Lens:
    """Lens that was calibrated for the objective of an image, or else as its file states it.

    Says on standard error where each value came from. Raises SettingsError that lists what the
    file does not state.
    """
    if found := kept_lens_for(image, channel):
        name, lens = found
        assert lens.calibration is not None
        _say(
            f"lens: {name}, {describe_calibration(lens.calibration)} "
            f"(objective {lens.calibration.objective})"
        )
        return lens
    lens = optics_of(image, channel)
    _say("field curvature and aberrations are not stated and taken as 0; 'calibrate' measures them")
    return lens


def optics_of(image: Image, channel: int = 0) -> Lens:
    """Lens without aberrations as the file of an image states it, with the source of each value.

    Raises SettingsError that lists what the file does not state.
    """
    lens = lens_of_image(image, channel)
    _say(f"lens from {image.name}: {describe_sources(lens_from_metadata(image, channel))}")
    return lens


def find_pupil_lens(lens: Path) -> Lens:
    """Lens in a file or with this name; SettingsError if it is described by its blur alone."""
    found = find_lens(lens)
    if isinstance(found, GaussianLens):
        raise SettingsError(
            f"{lens} describes a lens without NA, which cannot be fitted to images; give na, "
            "wavelength_nm and pixel_size_um."
        )
    return found


def keep_and_list(files: Sequence[Path], overwrite: bool) -> None:
    """Copy calibrated lenses to the user's folder, and print those in it."""
    for file in files:
        lens = load_lens(file)
        if isinstance(lens, GaussianLens) or lens.calibration is None:
            raise SettingsError(
                f"{file} was not measured, so that there is nothing to keep; make it with "
                "'napari-coordgate calibrate'."
            )
        keep_lens(lens, file.stem, overwrite)
    found = kept_lenses()
    if not found:
        say(f"no calibrated lens in {lens_folder()}")
    for name, lens in found.items():
        assert lens.calibration is not None
        say(to_text({name: _summary(lens)}))


def _summary(lens: Lens) -> dict[str, object]:
    """What tells one calibrated lens from another."""
    calibration = lens.calibration
    assert calibration is not None
    error = calibration.standard_errors.get("field_curvature_um")
    return {
        "objective": calibration.objective,
        "camera": calibration.camera,
        "calibration": describe_calibration(calibration),
        "pixel_size_um": lens.pixel_size_um,
        "wavelength_nm": lens.wavelength_nm,
        "field_curvature_um": f"{lens.field_curvature_um:.3g}"
        + ("" if error is None else f" ± {error:.2g}"),
    }


def _say(text: str) -> None:
    say(text, err=True)
