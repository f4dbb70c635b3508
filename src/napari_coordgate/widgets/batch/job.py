"""A batch as a job of the window: its request, the status of its files, and files to open."""

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_coordgate.config import BatchConfig, BatchRuntime, BatchSettings
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event, FileChanged
from napari_coordgate.io import read_image
from napari_coordgate.version import __version__
from napari_coordgate.widgets.batch.table import STATUSES, status_text
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.layers import DEBLURRED, OPENED, LayerData
from napari_coordgate.widgets.opening import contrast, image_layer

if TYPE_CHECKING:
    from napari_coordgate.batch import BatchSummary


@dataclass(frozen=True)
class BatchRequest:
    """A folder of images, a folder for results, and how to run the batch.

    ``method`` is the file of a model or PSF field.
    """

    folder: Path
    output: Path
    method: Path
    settings: BatchSettings
    overwrite: bool = False

    def check(self) -> None:
        """Raise SettingsError if a folder or file is missing, or both folders are the same."""
        if not self.folder.is_dir():
            raise SettingsError(f"{self.folder} is not a folder; choose a folder of images.")
        if self.output.exists() and not self.output.is_dir():
            raise SettingsError(f"{self.output} is not a folder; choose another for the results.")
        if self.output.resolve() == self.folder.resolve():
            raise SettingsError("Images and results are in the same folder; choose another one.")
        if not self.method.is_file():
            raise SettingsError(f"The file {self.method} does not exist; save it again.")

    def events(self, job: Job) -> Generator[Event, None, "BatchSummary"]:
        """Events of the batch, for the background thread."""
        from napari_coordgate.batch import deblur_folder_events  # imports torch

        return deblur_folder_events(
            self.folder,
            self.output,
            self.method,
            config=self.settings.select(BatchConfig),
            runtime=self.settings.select(BatchRuntime),
            overwrite=self.overwrite,
            cancel=job.cancel_requested,
            thumbnails=True,
        )

    def layers(self, file: FileChanged) -> list[LayerData]:
        """Image of a file and its result if there is one, as layers; reads only headers."""
        settings, name = self.settings, " ".join(filter(None, [file.source.name, file.scene]))
        blurred = read_image(file.source, settings.axes, scene=file.scene)
        blurred = blurred.select(settings.selection)
        layers = [image_layer(blurred, name, OPENED, path=str(file.source))]
        if file.status in ("done", "up_to_date") and file.output is not None:
            result = image_layer(
                read_image(file.output),
                f"{name} deblurred",
                DEBLURRED,
                image=str(file.source),
                path=str(file.output),
                method=str(self.method),
                settings=settings.model_dump(mode="json"),
                version=__version__,
            )
            result[1].update(contrast(blurred))
            layers.append(result)
        return layers


class BatchStatus:
    """Status of the files of a batch; it is kept when the widget is closed.

    `files` are by their path and scene, without thumbnails, of which there may be many; `latest`
    is the latest finished file with its thumbnails.
    """

    changed = Signal(list)
    """New and changed files."""

    def __init__(self, request: BatchRequest) -> None:
        self.request = request
        self.files: dict[tuple[Path, str | None], FileChanged] = {}
        self.latest: FileChanged | None = None

    def update(self, events: Iterable[Any]) -> None:
        """Take a batch of events."""
        files = [event for event in events if isinstance(event, FileChanged)]
        self.latest = next((file for file in reversed(files) if file.thumbnails), self.latest)
        self._set({(file.source, file.scene): replace(file, thumbnails=None) for file in files})

    def end(self) -> None:
        """Files that were running when the batch ended wait for the next run."""
        running = [file for file in self.files.values() if file.status == "running"]
        self._set({(file.source, file.scene): replace(file, status="waiting") for file in running})

    def _set(self, files: dict[tuple[Path, str | None], FileChanged]) -> None:
        self.files |= files
        if files:
            self.changed.emit(list(files.values()))

    @property
    def failed(self) -> int:
        """Number of failed files."""
        return sum(file.status == "failed" for file in self.files.values())

    def __str__(self) -> str:
        counts = Counter(file.status for file in self.files.values())
        known = ((counts[status], status_text(status)) for status in STATUSES)
        return ", ".join(f"{count} {word}" for count, word in known if count)


def default_output(folder: Path) -> Path:
    """Folder beside another one that is suggested for its results."""
    return folder.parent / f"{folder.name} deblurred".strip()  # the root of a disk has no name
