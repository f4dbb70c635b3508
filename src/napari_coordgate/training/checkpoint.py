"""State of an interrupted training, and the files that a training writes."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.io.files import (
    check_not_exists,
    check_writable,
    last_checkpoint_path,
    remove_stale_temp_files,
)
from napari_coordgate.io.locks import acquire_lock
from napari_coordgate.model import Model, check_model_name, read_tensors, write_tensors

OUTPUT_EXISTS_HINT = (
    "choose another name, continue it (resume, --resume), or replace it (overwrite, --overwrite)"
)
"""Advice if the output of a training exists."""

PREFIX = "training."
PROGRESS = {"images", "learning_rate", "plateau"}
NETWORK, OPTIMIZER = "network.", "optimizer."

MAX_NAME_LENGTH = 200
"""Characters of a file name that leave room for our own prefix and suffix."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of an interrupted training: averaged model, network and optimizer, and progress."""

    model: Model
    tensors: Mapping[str, Tensor]
    """Weights as ``network.WEIGHT``, and moments as ``optimizer.INDEX.MOMENT``."""
    progress: dict[str, Any]
    """The rest of the state, as JSON values."""

    @classmethod
    def capture(
        cls, model: Model, network: nn.Module, optimizer: Optimizer, progress: dict[str, Any]
    ) -> Self:
        """Current state of a network and its optimizer."""
        tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
        for index, moments in optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"{OPTIMIZER}{index}.{name}"] = torch.as_tensor(value)
        return cls(model, tensors, progress)

    def restore(self, network: nn.Module, optimizer: Optimizer) -> None:
        """Load the state into a network and an optimizer; ValueError if parts are missing."""
        weights: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith(NETWORK):
                weights[name.removeprefix(NETWORK)] = tensor
            else:
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = tensor.clone()
        is_number = all(tensor.is_floating_point() for tensor in self.tensors.values())
        if not is_number or len({frozenset(each) for each in moments.values()}) > 1:
            raise ValueError("the state of the optimizer is incomplete or of another type")
        network.load_state_dict(weights)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def save(self, path: Path) -> None:
        """Write the checkpoint to a file, replacing an earlier one."""
        tensors = {PREFIX + name: tensor for name, tensor in self.tensors.items()}
        header = self.model.header() | {"progress": self.progress}
        write_tensors(path, header, self.model.tensors() | tensors, overwrite=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a checkpoint; raises ModelError if the file is not one."""
        header, tensors = read_tensors(path)
        model = Model.from_tensors(path, header, tensors)
        state = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
        progress = header.get("progress")
        if not state or not isinstance(progress, dict):
            raise ModelError(f"{path}: contains a finished model, not an interrupted training.")
        if missing := PROGRESS - progress.keys():
            raise ModelError(f"{path}: damaged header, without {', '.join(sorted(missing))}.")
        return cls(model, state, progress)


class TrainingFiles:
    """The best model and the last checkpoint of a training, locked against other trainings.

    ``best`` and ``last`` are None if nothing is to be written.
    """

    def __init__(self, output: str | Path | None) -> None:
        self.best = None if output is None else Path(output)
        self.last = None if output is None else last_checkpoint_path(output)
        self._locks: list[FileLock] = []
        self._made: list[Path] = []
        self._saved = time.monotonic()

    def close(self) -> None:
        """Release the lock, and remove the folders that were made but stayed empty."""
        for lock in self._locks:
            # Removed before it is released, or others would hold a lock that is then removed.
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        self._locks.clear()
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    @property
    def minutes_unsaved(self) -> float:
        """Minutes since the last checkpoint was written, or since the start."""
        return (time.monotonic() - self._saved) / 60

    def claim(self, *, overwrite: bool) -> None:
        """Lock the files for a new training; raises OutputError if they cannot be written."""
        if self.best is not None:
            check_model_name(self.best)
        targets = [path for path in (self.best, self.last) if path is not None]
        for path in targets:
            check_writable(path)
            self._made += [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
        self.lock()
        check_not_exists(targets, overwrite, OUTPUT_EXISTS_HINT)

    def lock(self) -> None:
        """Lock the files, and remove temporary files of a training that was killed."""
        if self.best is None or self.last is None or not self.best.parent.is_dir():
            return
        for path in (self.best, self.last):  # the checkpoint of one may be the model of another
            lock = path.with_name(f".napari-coordgate.{path.name[-MAX_NAME_LENGTH:]}.lock")
            taken = (
                f"Another training is writing {path}; wait until it ends, or choose another name."
            )
            self._locks.append(acquire_lock(lock, taken))
        remove_stale_temp_files([self.best.parent])

    def load_last(self) -> Checkpoint:
        """Checkpoint to resume from, which can be replaced."""
        if self.last is None:
            raise SettingsError("Resuming needs the output of the interrupted training.")
        checkpoint = Checkpoint.load(self.last)
        check_writable(self.last)
        return checkpoint

    def load_best(self) -> Model | None:
        """Best model of an interrupted training, if it exists."""
        return Model.load(self.best) if self.best is not None and self.best.exists() else None

    def save_best(self, model: Model) -> None:
        """Write the best model so far."""
        if self.best is not None:
            model.save(self.best, overwrite=True)

    def save_last(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint to resume from."""
        if self.last is not None:
            checkpoint.save(self.last)
        self._saved = time.monotonic()
