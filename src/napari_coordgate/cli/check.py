"""Command ``check``: whether images fit a lens and a camera, before they are deblurred."""

from collections.abc import Sequence
from pathlib import Path

from napari_coordgate.calibration import check
from napari_coordgate.cli.messages import say
from napari_coordgate.config import Camera, load_settings
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import find_lens


def check_images(
    images: Sequence[Path],
    references: Sequence[Path | None],
    camera: Path | None,
    axes: str | None,
    origin: tuple[int, int] | None,
) -> bool:
    """Print what was found; returns whether something is red.

    The references are a lens, a PSF field and a model, of which one is given.
    """
    given = [reference for reference in references if reference is not None]
    if len(given) != 1:
        raise SettingsError("Give one of --lens, --psf and --model to check the images against.")
    expected = None if camera is None else load_settings(Camera, camera)
    lens = references[0]
    reference = given[0] if lens is None else find_lens(lens)
    result = check(list(images), reference, camera=expected, axes=axes, origin=origin)
    for finding in result.findings:
        say(f"{finding.verdict}: {finding.message}")
    for note in result.notes:
        say(note)
    return result.verdict == "red"
