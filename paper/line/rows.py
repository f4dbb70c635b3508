"""What is kept of each training on the line, at once, so that a second start need not repeat it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_coordgate.comparison.rows import Record, check_same, read_record, write_record
from paper.line.models import Model
from paper.line.training import Protocol

__all__ = ["LineRow", "Rows"]


class LineRow(Record):
    """One network, trained from one seed."""

    model: str
    """Name of the network."""
    seed: int
    """Of weights, order of samples and random numbers."""
    parameters: int
    """Numbers that the network learned."""
    steps: int
    """Steps until the last gain of 1 % in validation loss."""
    converged: bool
    """Whether the training ended for want of a gain, and not for the most steps allowed."""
    training_seconds: float
    """Wall time, together with the other seeds trained side by side."""
    figures: dict[str, Any]
    """What `measuring.figures_of` tells."""


class Rows:
    """Rows in a folder, each a file.

    Parameters
    ----------
    folder : Path
        Where they lie, or will.
    protocol : Protocol
        How the networks are trained.
    """

    def __init__(self, folder: Path, protocol: Protocol) -> None:
        self.folder = folder
        self.protocol = protocol

    def fingerprint(self, model: Model, seed: int) -> dict[str, Any]:
        """All that a row depends on."""
        return {"model": asdict(model), "training": asdict(self.protocol), "seed": seed}

    def read(self, model: Model, seed: int) -> LineRow | None:
        """Row of an earlier start; none if there is none.

        Raises
        ------
        OutputError
            If it cannot be read, or was made with other settings.
        """
        path = self._path(model, seed)
        row = read_record(path, LineRow)
        if row is not None:
            check_same(path, row, self.fingerprint(model, seed))
        return row

    def missing(self, model: Model, seeds: Sequence[int]) -> list[int]:
        """Seeds from which a network has not been trained."""
        return [seed for seed in seeds if self.read(model, seed) is None]

    def keep(self, model: Model, seed: int, row: Mapping[str, Any]) -> None:
        """Write a row."""
        whole = {"fingerprint": self.fingerprint(model, seed), **row}
        write_record(self._path(model, seed), LineRow.model_validate(whole))

    def _path(self, model: Model, seed: int) -> Path:
        slug = re.sub(r"[^a-z0-9-]+", "-", model.name.lower()).strip("-")
        return self.folder / f"{slug}.seed{seed}.json"
