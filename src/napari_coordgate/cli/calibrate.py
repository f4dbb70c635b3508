"""Commands ``calibrate``: measure the lens and the camera from images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_coordgate.calibration import (
    LensFit,
    calibrate_beads_events,
    calibrate_focus_events,
    calibrate_images_events,
    calibrate_shifted_events,
    estimate_flat_field_events,
    estimate_noise_events,
)
from napari_coordgate.calibration.images import FREE
from napari_coordgate.calibration.reading import as_images
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.lenses import find_pupil_lens, lens_for, optics_of
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import BeadsConfig, Camera, Lens, load_settings
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.files import check_not_exists, check_not_source


def calibrate_noise(
    images: Sequence[Path],
    dark: Sequence[Path],
    offset: float | None,
    output: Path,
    axes: str | None,
    overwrite: bool,
) -> None:
    """Measure the noise of a camera, print it, and write it as settings."""
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise SettingsError(f"{output}: the file name of a camera must end in .yaml.")
    check_not_exists([output], overwrite)
    with cancel_on_signal() as cancel:
        estimate = follow(
            estimate_noise_events(
                list(images) or None,
                dark=list(dark) or None,
                offset=offset,
                axes=axes,
                cancel=cancel,
            )
        )
    estimate.save(output, overwrite=overwrite)
    for line in (*estimate.lines(), *estimate.notes):
        say(line)


def calibrate_flat_field(
    images: Sequence[Path],
    dark: Sequence[Path],
    offset: float | None,
    output: Path,
    uniform: bool,
    axes: str | None,
    overwrite: bool,
) -> None:
    """Measure the gain of each pixel, and write it as an image."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise SettingsError(f"{output}: the file name of a flat field must end in .tif.")
    for source in (*images, *dark):
        check_not_source(source, output)
    check_not_exists([output], overwrite)
    with cancel_on_signal() as cancel:
        gain = follow(
            estimate_flat_field_events(
                list(images),
                dark=list(dark) or None,
                offset=offset,
                uniform=uniform,
                axes=axes,
                cancel=cancel,
            )
        )
    write_image(output, Image(gain, "YX"), overwrite)
    say(f"{output}: Gain from {gain.min():.2f} to {gain.max():.2f} of its mean.")


@dataclass(frozen=True)
class BeadFiles:
    """Files that ``calibrate beads`` reads and writes."""

    image: Path
    lens: Path | None
    camera: Path | None
    flat_field: Path | None
    output: Path
    report: Path | None
    psf_field: Path | None


def calibrate_beads(
    files: BeadFiles,
    diameter_um: float,
    z_um: float | None,
    axes: str | None,
    given: CliSettings[BeadsConfig],
    overwrite: bool,
) -> None:
    """Measure a lens with beads, print it, and write it, its report and its PSF field if wanted."""
    config = given.settings()
    check_lens_outputs(files.output, files.report, overwrite)
    if (path := files.psf_field) is not None:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise SettingsError(f"{path}: the file name of a PSF field must end in .tif.")
        check_not_exists([path], overwrite)
    image = read_image(files.image)
    camera = None if files.camera is None else load_settings(Camera, files.camera)
    flat_field = None if files.flat_field is None else read_image(files.flat_field).pixels
    with cancel_on_signal() as cancel:
        fit = follow(
            calibrate_beads_events(
                image,
                optics_of(image) if files.lens is None else find_pupil_lens(files.lens),
                bead_diameter_um=diameter_um,
                z_um=z_um,
                camera=camera,
                flat_field=flat_field,
                config=config,
                axes=axes,
                cancel=cancel,
            )
        )
    say(f"{fit.beads.summary()}.")
    say(f"Deviance of held-out beads: {fit.reduced_deviance:.2f} (1: as noise alone).")
    write_lens_fit(fit, files.output, files.report, overwrite)
    if files.psf_field is not None:
        fit.psf_field().save(files.psf_field, overwrite=overwrite)


def check_lens_outputs(output: Path, report: Path | None, overwrite: bool) -> None:
    """Raise an error if a lens or its report cannot be written under these names."""
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise SettingsError(f"{output}: the file name of a lens must end in .yaml.")
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"{report}: the file name of a report must end in .html.")
    check_not_exists([output] if report is None else [output, report], overwrite)


def write_lens_fit(fit: LensFit, output: Path, report: Path | None, overwrite: bool) -> None:
    """Write a fitted lens and optionally its report, and print the values with their errors."""
    fit.save(output, overwrite=overwrite)
    if report is not None:
        fit.report(report, overwrite=overwrite)
    for line in (*fit.lines(), *fit.notes):
        say(line)


@dataclass(frozen=True)
class ImageFiles:
    """Files that ``calibrate images`` reads and writes."""

    images: Sequence[Path]
    lens: Path | None
    camera: Path | None
    output: Path
    report: Path | None


def calibrate_from_images(
    files: ImageFiles, free: Sequence[str], axes: str | None, overwrite: bool
) -> None:
    """Estimate the focus of a lens from blurred images, print it, and write the lens."""
    check_lens_outputs(files.output, files.report, overwrite)
    lens = _known_lens(files.lens, as_images(list(files.images), axes)[0])
    camera = None if files.camera is None else load_settings(Camera, files.camera)
    with cancel_on_signal() as cancel:
        fit = follow(
            calibrate_images_events(
                list(files.images),
                lens,
                free=tuple(free) or FREE,
                camera=camera,
                axes=axes,
                cancel=cancel,
            )
        )
    write_lens_fit(fit, files.output, files.report, overwrite)


def calibrate_from_focus_series(
    stack: Path,
    lens_path: Path | None,
    output: Path,
    report: Path | None,
    z_um: float | None,
    axes: str | None,
    overwrite: bool,
) -> None:
    """Measure the focus of a lens with a focus series, print it, and write the lens."""
    check_lens_outputs(output, report, overwrite)
    image = read_image(stack, axes)
    lens = _known_lens(lens_path, image)
    with cancel_on_signal() as cancel:
        fit = follow(calibrate_focus_events(image, lens, z_um=z_um, cancel=cancel))
    write_lens_fit(fit, output, report, overwrite)


@dataclass(frozen=True)
class GivenShifts:
    """Flags ``--shift-px`` and ``--shift-um``: a text "Y,X" for each image after the first."""

    px: Sequence[str]
    um: Sequence[str]

    def pairs(self) -> dict[str, list[tuple[float, float]]]:
        """Arguments of `calibrate_shifted`."""
        return {
            name: [_two_floats(text, flag) for text in texts]
            for name, flag, texts in (
                ("shifts_px", "--shift-px", self.px),
                ("shifts_um", "--shift-um", self.um),
            )
            if texts
        }


def calibrate_from_shifted_images(
    images: Sequence[Path],
    lens_path: Path | None,
    output: Path,
    report: Path | None,
    shifts: GivenShifts,
    camera_path: Path | None,
    free: Sequence[str],
    axes: str | None,
    overwrite: bool,
) -> None:
    """Measure the focus of a lens with shifted images, print it, and write the lens."""
    check_lens_outputs(output, report, overwrite)
    pairs = shifts.pairs()
    lens = _known_lens(lens_path, as_images(list(images), axes)[0])
    camera = None if camera_path is None else load_settings(Camera, camera_path)
    with cancel_on_signal() as cancel:
        fit = follow(
            calibrate_shifted_events(
                list(images),
                lens,
                shifts_px=pairs.get("shifts_px"),
                shifts_um=pairs.get("shifts_um"),
                camera=camera,
                free=tuple(free) or FREE,
                axes=axes,
                cancel=cancel,
            )
        )
    shown = "; ".join(f"{y:.1f}, {x:.1f}" for y, x in fit.shifts_px[1:])
    say(f"Shifts (y, x) against the first image, pixels: {shown}")
    write_lens_fit(fit, output, report, overwrite)


def _two_floats(text: str, flag: str) -> tuple[float, float]:
    """Two numbers of a flag such as ``-512,0``."""
    try:
        y, x = map(float, text.split(","))
    except ValueError:
        raise SettingsError(f"{flag} {text!r} is not valid; use the form -512,0.") from None
    return y, x


def _known_lens(path: Path | None, image: Image) -> Lens:
    """Lens of a file or name; else that kept for the objective, or as the metadata state it."""
    return lens_for(image) if path is None else find_pupil_lens(path)
