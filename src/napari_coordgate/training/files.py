"""The two files of a run: its best checkpoint, and its last one to go on from."""

import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from napari_coordgate.errors import ModelError, OutputError, SettingsError
from napari_coordgate.io.files import (
    check_not_exists,
    check_writable,
    last_checkpoint_path,
    remove_stale_temp_files,
)
from napari_coordgate.io.locks import acquire_lock
from napari_coordgate.model import Model

__all__ = ["OUTPUT_EXISTS_HINT", "RunFiles"]

OUTPUT_EXISTS_HINT = "choose another name, go on with --resume, or replace it with --overwrite"
"""Advice where an earlier run stands in the way."""

_NAME_KEPT = 200
"""Characters of a name that fit beside our own."""


class RunFiles:
    """Files that a run writes, if it is to write any; they are its own until it closes them.

    Parameters
    ----------
    output : str, Path or None
        Where the best checkpoint goes; none: nothing is written.

    Attributes
    ----------
    written : list of Path
        Files that this run has on disk by now, all whole.
    """

    def __init__(self, output: str | Path | None) -> None:
        self.best = None if output is None else Path(output)
        self.last = None if output is None else last_checkpoint_path(output)
        self.written: list[Path] = []
        self._lock: FileLock | None = None
        self._made: list[Path] = []
        self._saved = time.monotonic()

    def close(self) -> None:
        """Let other runs have the files; a folder in which there are none is gone again."""
        if self._lock is not None:
            # Removed before it is released, or others would hold a lock that is then removed.
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    @property
    def minutes_unsaved(self) -> float:
        """Time since the last checkpoint to go on from was written, or since the beginning."""
        return (time.monotonic() - self._saved) / 60

    def claim(self, *, overwrite: bool) -> None:
        """Make sure that a new run may write its files.

        Raises
        ------
        OutputError
            If a name is wrong, taken and not to be overwritten, or cannot be written, or
            another run is writing it at this moment.
        """
        if self.best is not None and self.best.suffix != ".safetensors":
            raise OutputError(f"{self.best}: a checkpoint's name must end in .safetensors.")
        targets = [path for path in (self.best, self.last) if path is not None]
        for path in targets:
            check_writable(path)
            self._made += [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
        self.lock()
        check_not_exists(targets, overwrite, OUTPUT_EXISTS_HINT)

    def lock(self) -> None:
        """Keep other runs off the files, and clear away what one that was killed had begun.

        Raises
        ------
        OutputError
            If another run is writing them.
        """
        if self.best is None or self.last is None or not self.best.parent.is_dir():
            return
        path = self.best.with_name(f".napari-coordgate.{self.best.name[-_NAME_KEPT:]}.lock")
        self._lock = acquire_lock(
            path, f"Another training writes {self.best}; wait for its end, or choose another name."
        )
        remove_stale_temp_files([self.best, self.last])

    def load_last(self) -> Model:
        """Checkpoint to go on from.

        Raises
        ------
        SettingsError
            If the run writes no files.
        CheckpointError
            If there is no checkpoint that a run can go on from.
        OutputError
            If it cannot be replaced by a later one.
        """
        if self.last is None:
            raise SettingsError("Resuming needs the output of the run to go on with.")
        checkpoint = Model.load(self.last)
        if not checkpoint.state:
            raise ModelError(f"{self.last}: holds a finished model, not a run to go on with.")
        check_writable(self.last)
        return checkpoint

    def load_best(self) -> Model | None:
        """Best checkpoint of the run to go on with, if it is there."""
        if self.best is None or not self.best.exists():
            return None
        self.written.append(self.best)
        return Model.load(self.best)

    def save_best(self, checkpoint: Model) -> None:
        """Write the best checkpoint by now."""
        self._save(self.best, checkpoint)

    def save_last(self, checkpoint: Model) -> None:
        """Write the checkpoint to go on from."""
        self._save(self.last, checkpoint)
        self._saved = time.monotonic()

    def _save(self, path: Path | None, checkpoint: Model) -> None:
        if path is None:
            return
        checkpoint.save(path, overwrite=True)
        if path not in self.written:
            self.written.append(path)
