"""What a batch is asked to do: a frozen snapshot, taken before it begins."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_coordgate.config import BatchConfig, BatchRuntime, BatchSettings
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.batch import BatchSummary

__all__ = ["BatchRequest", "results_folder"]


@dataclass(frozen=True)
class BatchRequest:
    """A folder, a network in its file, and how to run it.

    Attributes
    ----------
    folder : Path
        The images.
    output : Path
        Where results go.
    checkpoint : Path
        The network.
    config : BatchSettings
        Settings.
    overwrite : bool
        Do all files anew, and replace whatever has the names of their results.
    """

    folder: Path
    output: Path
    checkpoint: Path
    config: BatchSettings
    overwrite: bool = False

    def check(self) -> None:
        """Make sure that there is a folder, and a network.

        Raises
        ------
        SettingsError
            If one is missing, or both folders are the same.
        """
        if not self.folder.is_dir():
            raise SettingsError(f"{self.folder} is no folder; choose one with images.")
        if self.output.exists() and not self.output.is_dir():
            raise SettingsError(f"{self.output} is no folder; choose another for the results.")
        if self.output.resolve() == self.folder.resolve():
            raise SettingsError("Images and results are in one folder; choose another for either.")
        if not self.checkpoint.is_file():
            raise SettingsError(f"The network's file {self.checkpoint} is gone; save it anew.")

    def again(self) -> "BatchRequest":
        """The same, for what is not done yet."""
        return replace(self, overwrite=False)

    def events(self, job: Job) -> Generator[Event, None, "BatchSummary"]:
        """Events of the batch; for the background thread."""
        from napari_coordgate.batch import deblur_folder_events  # brings in torch

        return deblur_folder_events(
            self.folder,
            self.output,
            self.checkpoint,
            config=self.config.select(BatchConfig),
            runtime=self.config.select(BatchRuntime),
            overwrite=self.overwrite,
            cancel=job.cancel_requested,
            thumbnails=True,
        )


def results_folder(folder: Path) -> Path:
    """Folder that is offered for the results of another one: beside it."""
    return folder.parent / f"{folder.name} deblurred".strip()  # a disk's root has no name
