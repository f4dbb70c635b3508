"""Arguments that several commands have, and the reading of their values."""

import re
from pathlib import Path
from typing import Annotated

import typer

from napari_coordgate.errors import SettingsError

Blurred = Annotated[Path, typer.Argument(help="Blurred image, or stack of images.")]
Field = Annotated[Path, typer.Option(help="PSF field, made by 'napari-coordgate psf'.")]
Restored = Annotated[
    Path, typer.Option("--output", "-o", help="Image to write: .tif, .ome.tif, .npy or .png.")
]
Axes = Annotated[
    str | None,
    typer.Option(
        help="Axes of the image, such as TCYX, if the file does not state them correctly."
    ),
]
Origin = Annotated[
    str | None,
    typer.Option(
        metavar="Y,X",
        help="Position of the image's top left pixel in the frame, if it shows a part of it.",
    ),
]
LensOutput = Annotated[Path, typer.Option("--output", "-o", help="Lens to write (.yaml).")]
LensReport = Annotated[Path | None, typer.Option(help="Page of figures to write as well (.html).")]
KnownLens = Annotated[
    Path | None,
    typer.Option(
        help="Lens (.yaml, or the name of a kept one): NA, wavelength, pixel size, and values "
        "to hold; default: that of the objective, or as the metadata of the image state it."
    ),
]
PlaneDistance = Annotated[
    float | None,
    typer.Option(help="Distance of the planes of a stack, um; default: that in the file."),
]
Dark = Annotated[
    list[Path] | None,
    typer.Option(help="Frames without light; repeat the flag for several files."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]


def parse_origin(origin: str | None) -> tuple[int, int] | None:
    """Value of the flag ``--origin``."""
    return None if origin is None else _two_numbers(origin, ",", "--origin", "128,256")


def parse_frame(frame: str | None) -> tuple[int, int] | None:
    """Value of the flag ``--frame``, height and width in pixels."""
    from napari_coordgate.geometry import MAX_FRAME_SIDE

    if frame is None:
        return None
    shape = _two_numbers(frame, "x", "--frame", "512x512")
    if 0 in shape:
        raise SettingsError(f"--frame {frame!r} has no pixels; use the form 512x512.")
    if max(shape) > MAX_FRAME_SIDE:
        raise SettingsError(f"--frame {frame!r} is larger than any camera; use the form 512x512.")
    return shape


def _two_numbers(text: str, separator: str, flag: str, example: str) -> tuple[int, int]:
    """Two numbers of a flag such as ``512x512``."""
    match = re.fullmatch(rf"(-?\d+)\s*{separator}\s*(-?\d+)", text.strip(), re.IGNORECASE)
    if match is None:
        raise SettingsError(f"{flag} {text!r} is not valid; use the form {example}.")
    if "-" in text:
        raise SettingsError(f"{flag} {text!r} must not be negative; use the form {example}.")
    return int(match[1]), int(match[2])
