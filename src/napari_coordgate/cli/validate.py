"""Command ``validate-shifted``: two shifted images of one sample prove a deblurring."""

from pathlib import Path

from napari_coordgate.cli.calibrate import GivenShifts
from napari_coordgate.cli.deblur import MethodFiles
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import BatchSettings, DeblurConfig, DeblurRuntime
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.validation import validate_shifted_events
from napari_coordgate.validation.shifted import output_paths


def validate_shifted_images(
    images: tuple[Path, Path],
    files: MethodFiles,
    folder: Path | None,
    shift_px: str | None,
    axes: str | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> bool:
    """Print the agreement of two images, and write its picture; whether deblurring raised it."""
    settings = files.settings(given)
    shifts = GivenShifts((shift_px,) if shift_px else (), ()).pairs()
    if folder is not None:
        check_not_exists(output_paths(folder), overwrite)
    files.check()
    with cancel_on_signal() as cancel:
        result = follow(
            validate_shifted_events(
                *images,
                files.method,
                shifts_px=shifts.get("shifts_px"),
                axes=axes,
                config=settings.select(DeblurConfig),
                runtime=settings.select(DeblurRuntime),
                cancel=cancel,
            )
        )
    for line in result.lines():
        say(line)
    if folder is not None:
        picture, numbers = result.save(folder, overwrite=overwrite)
        say(f"Picture: {picture}; numbers: {numbers}")
    return result.outcome == "better"
