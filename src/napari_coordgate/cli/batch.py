"""Deblur a folder of images from the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_coordgate.batch import deblur_folder_events
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.output import command_line
from napari_coordgate.config import BatchConfig, BatchRuntime, BatchSettings
from napari_coordgate.events import FileChanged

MAX_LISTED = 10
"""Maximum number of failures, and of warnings, that are printed; the report has all."""


def deblur_images(
    folder: Path,
    method: Path | Mapping[str, Path],
    output: Path,
    settings: BatchSettings,
    overwrite: bool,
) -> int:
    """Deblur a folder and print failures and warnings.

    Returns 1 if a file failed, or if there was no image at all, else 0.
    """
    with cancel_on_signal() as cancel:
        summary = follow(
            deblur_folder_events(
                folder,
                output,
                method,
                config=settings.select(BatchConfig),
                runtime=settings.select(BatchRuntime),
                overwrite=overwrite,
                command=command_line(),
                cancel=cancel,
            )
        )
    _print_files("warning", [file for file in summary.done if file.message])
    _print_files("failed", summary.failed)
    found = summary.done or summary.up_to_date or summary.failed
    if not found:
        _print_files("skipped", summary.skipped)
    say(f"{output}: {summary}")
    return 1 if summary.failed or not found else 0


def _print_files(label: str, files: Sequence[FileChanged]) -> None:
    """Print the messages of some files, each with the file's name."""
    for file in files[:MAX_LISTED]:
        name = str(file.source) if file.scene is None else f"{file.source}, scene {file.scene}"
        unnamed = file.message.removeprefix(f"{file.source}: ")
        text = file.message if name in file.message else f"{name}: {unnamed}"
        say(f"{label}: {' '.join(text.split())}", err=True)
    if len(files) > MAX_LISTED:
        say(f"... and {len(files) - MAX_LISTED} more, see the report.", err=True)
