"""What a batch has brought by now; it stays when its widget is closed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_coordgate.events import FileChanged, FileStatus
from napari_coordgate.widgets.batch.request import BatchRequest

__all__ = ["STATES", "ShownBatch"]

STATES: dict[FileStatus, str] = {
    "failed": "failed",
    "running": "running",
    "waiting": "waiting",
    "done": "done",
    "up_to_date": "up to date",
    "skipped": "skipped",
}
"""States in words, those first that ask for a look."""


class ShownBatch:
    """Files of a batch, and pictures of the one done last.

    Parameters
    ----------
    request : BatchRequest
        What was asked for.

    Attributes
    ----------
    files : dict of Path to FileChanged
        How each file stands, in their order; without pictures, of which there may be many.
    latest : FileChanged or None
        The file done last, with its pictures.
    """

    changed = Signal(list)
    """Files of which some are new and others have changed."""

    def __init__(self, request: BatchRequest) -> None:
        self.request = request
        self.files: dict[Path, FileChanged] = {}
        self.latest: FileChanged | None = None

    def take(self, events: Iterable[Any]) -> None:
        """Take note of the events of a handover."""
        changed: dict[Path, FileChanged] = {}
        for event in events:
            if isinstance(event, FileChanged):
                changed[event.source] = replace(event, thumbnails=None)
                if event.thumbnails is not None:
                    self.latest = event
        self._update(changed)

    def end(self, _: object) -> None:
        """Mark files that were not done when the job ended."""
        running = ((path, file) for path, file in self.files.items() if file.status == "running")
        self._update({path: replace(file, status="waiting") for path, file in running})

    def _update(self, changed: dict[Path, FileChanged]) -> None:
        self.files |= changed
        if changed:
            self.changed.emit(list(changed.values()))

    @property
    def failed(self) -> int:
        """How many files have failed."""
        return sum(file.status == "failed" for file in self.files.values())

    def __str__(self) -> str:
        counts = Counter(file.status for file in self.files.values())
        known = ((counts[state], word) for state, word in STATES.items())
        return ", ".join(f"{count} {word}" for count, word in known if count)
