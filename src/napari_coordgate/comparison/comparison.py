"""A comparison, finished or on its way, as it lies in its folder."""

import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_coordgate.comparison.rows import SHARP, Row
from napari_coordgate.config import ComparisonConfig, Method
from napari_coordgate.errors import OutputError, format_validation_error
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.files import atomic_write, check_writable
from napari_coordgate.version import __version__

__all__ = [
    "SUMMARY",
    "TABLE",
    "Comparison",
    "called_as",
    "claim",
    "describe_machine",
    "error_map_path",
    "example_path",
    "load_comparison",
    "plan_path",
    "row_path",
    "save_comparison",
    "write_pixels",
]

SUMMARY = "comparison.json"
TABLE = "comparison.md"
ROWS = "rows"

Float32 = NDArray[np.float32]


class Comparison(BaseModel):
    """Rows of a comparison, and how they came about."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    format: Literal["napari-coordgate comparison 1"] = "napari-coordgate comparison 1"
    folder: Path = Field(exclude=True)
    """Where it lies."""
    methods: tuple[Method, ...]
    """What was compared, in this order."""
    settings: ComparisonConfig
    """The footing of all."""
    command: str
    """What was last called."""
    machine: dict[str, str]
    """What it was last called on; each row tells its device."""
    rows: tuple[Row, ...]
    """The blurred images, then each method with each of its seeds, as far as they are done."""

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.names)}; {len(self.rows)} rows in {self.folder})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the blurred images and of the methods that have rows, in their order."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    def of(self, name: str) -> list[Row]:
        """Rows of a method, one for each seed."""
        return [row for row in self.rows if row.method == name]

    def error_map(self, row: Row) -> Float32:
        """Mean squared error of a row at each pixel of the frame; NaN where no image lay."""
        return _read(error_map_path(self.folder, row.stem))

    def example(self, row: Row) -> Float32:
        """First test image as a row's method restored it, scaled."""
        return _read(example_path(self.folder, row.stem))

    @property
    def sharp_example(self) -> Float32:
        """First test image as it is, scaled."""
        return _read(example_path(self.folder, SHARP))


def load_comparison(folder: str | Path) -> Comparison:
    """Read a comparison, which need not be finished.

    Parameters
    ----------
    folder : str or Path
        Where `compare` wrote it.

    Returns
    -------
    Comparison
        Its rows so far, with the settings of the last start.

    Raises
    ------
    OutputError
        If there is none, or it is damaged.
    """
    path = Path(folder) / SUMMARY
    try:
        content = json.loads(path.read_bytes())
        return Comparison.model_validate({**content, "folder": Path(folder)})
    except FileNotFoundError:
        raise OutputError(f"{path}: no such file; 'napari-coordgate compare' makes one.") from None
    except ValidationError as error:
        reason = format_validation_error(error)
    except (OSError, TypeError, ValueError) as error:
        reason = str(error)
    raise OutputError(f"{path}: is no comparison of this version ({reason}).") from None


def save_comparison(comparison: Comparison) -> None:
    """Write the rows so far, in place of those of an earlier start."""
    with atomic_write(comparison.folder / SUMMARY, overwrite=True) as temporary:
        temporary.write_text(comparison.model_dump_json(indent=1) + "\n", encoding="utf-8")


def claim(folder: Path) -> None:
    """Make sure that a folder is new, empty, or that of a comparison to go on with.

    Raises
    ------
    OutputError
        If it is none of these, or cannot be written to.
    """
    if (folder / SUMMARY).exists():
        load_comparison(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty, and holds no comparison; choose another folder.")
    check_writable(folder / SUMMARY)


def describe_machine() -> dict[str, str]:
    """Software and hardware behind the times, in words."""
    return {
        "napari-coordgate": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def called_as() -> str:
    """Command line of this process, in one line."""
    return " ".join(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]).splitlines())


def row_path(folder: Path, stem: str) -> Path:
    """File of a row's figures; it is written last."""
    return folder / ROWS / f"{stem}.json"


def plan_path(folder: Path, slug: str) -> Path:
    """File of the steps that a method's trainings take, and took so far."""
    return folder / ROWS / f"{slug}.plan.json"


def error_map_path(folder: Path, stem: str) -> Path:
    """Image of a row's mean squared error over the frame."""
    return folder / ROWS / f"{stem}.error.tif"


def example_path(folder: Path, stem: str) -> Path:
    """Image of the first test image as a row's method restored it."""
    return folder / ROWS / f"{stem}.example.tif"


def write_pixels(path: Path, pixels: Float32, pixel_size_um: float | None) -> None:
    """Write an image that belongs to a row; one that an interrupted start left is replaced."""
    size = None if pixel_size_um is None else (pixel_size_um, pixel_size_um)
    write_image(path, Image(np.asarray(pixels, np.float32), "YX", size), overwrite=True)


def _read(path: Path) -> Float32:
    return read_image(path).pixels.astype(np.float32, copy=False)
