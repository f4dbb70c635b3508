"""A comparison and the folder that keeps it, finished or not."""

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

from napari_coordgate.comparison.records import SHARP, Row
from napari_coordgate.config import ComparisonConfig, Method
from napari_coordgate.errors import OutputError, format_validation_error
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.files import atomic_write, check_writable
from napari_coordgate.version import __version__

SUMMARY = "comparison.json"
TABLE = "comparison.md"
ROWS = "rows"
FORMAT: Literal["napari-coordgate comparison 2"] = "napari-coordgate comparison 2"

Float32 = NDArray[np.float32]


class Comparison(BaseModel):
    """Result of `compare`: a row for each method and seed, and how they were made.

    Attributes
    ----------
    folder : Path
        Folder of the comparison.
    methods : tuple of Method
        Compared methods in the order of the table.
    config : ComparisonConfig
        Settings shared by all methods.
    command : str
        Last command line that worked on the folder.
    machine : dict of str to str
        Software and hardware of that command; each row names its own device.
    rows : tuple of Row
        Rows done so far: the blurred images, then each method with each of its seeds.
        ``row.quality`` holds the metrics of `quality`, means over the test images.

    See Also
    --------
    compare : Makes a comparison.

    Examples
    --------
    >>> from napari_coordgate import Comparison
    >>> Comparison.load("no-such-folder")
    Traceback (most recent call last):
        ...
    napari_coordgate.errors.OutputError: no-such-folder/comparison.json: no such file; ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    format: Literal["napari-coordgate comparison 2"] = FORMAT
    folder: Path = Field(exclude=True)
    methods: tuple[Method, ...]
    config: ComparisonConfig
    command: str
    machine: dict[str, str]
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.names)}; {len(self.rows)} rows in {self.folder})"

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Load a comparison, finished or not.

        Parameters
        ----------
        folder : str or Path
            Output folder of `compare`.

        Returns
        -------
        Comparison
            Rows done so far, with the settings of the last start.

        Raises
        ------
        OutputError
            If there is none, it is damaged, or an earlier version wrote it.
        """
        path = Path(folder) / SUMMARY
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
                raise OutputError(
                    f"{path}: was written by another version of napari-coordgate "
                    f"({content['format']!r}); choose another folder."
                )
            return cls.model_validate({**content, "folder": Path(folder)})
        except FileNotFoundError:
            raise OutputError(
                f"{path}: no such file; 'napari-coordgate compare' writes one."
            ) from None
        except ValidationError as error:
            reason = format_validation_error(error)
        except (OSError, TypeError, ValueError) as error:
            reason = str(error)
        raise OutputError(f"{path}: is not a comparison ({reason}); choose another folder.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods that have rows, first the blurred images."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    def of(self, name: str) -> list[Row]:
        """Rows of a method, one for each seed."""
        return [row for row in self.rows if row.method == name]

    def error_map(self, row: Row) -> Float32:
        """Mean squared error (H, W) of a row over the test images; NaN where none has pixels."""
        return _read(error_map_path(self.folder, row.stem))

    def example(self, row: Row) -> Float32:
        """First test image (h, w) as the row's method restored it, scaled."""
        return _read(example_path(self.folder, row.stem))

    @property
    def sharp_example(self) -> Float32:
        """First test image (h, w) without blur, scaled."""
        return _read(example_path(self.folder, SHARP))


def save_comparison(comparison: Comparison) -> None:
    """Write the summary with the rows done so far; an earlier one is replaced."""
    with atomic_write(comparison.folder / SUMMARY, overwrite=True) as temporary:
        temporary.write_text(comparison.model_dump_json(indent=1) + "\n", encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Raise `OutputError` unless a folder is new, empty, or a comparison that can be resumed."""
    if (folder / SUMMARY).exists():
        Comparison.load(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty and contains no comparison; choose another folder."
        )
    check_writable(folder / SUMMARY)


def describe_machine() -> dict[str, str]:
    """Software and hardware that the times depend on."""
    return {
        "napari-coordgate": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def command_line() -> str:
    """Command line of this process as one line."""
    return " ".join(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]).splitlines())


def row_path(folder: Path, stem: str) -> Path:
    """File of a row, written after all its other files."""
    return folder / ROWS / f"{stem}.json"


def plan_path(folder: Path, slug: str) -> Path:
    """File of the training plan of a method."""
    return folder / ROWS / f"{slug}.plan.json"


def error_map_path(folder: Path, stem: str) -> Path:
    """Image of a row's mean squared error over the frame."""
    return folder / ROWS / f"{stem}.error.tif"


def example_path(folder: Path, stem: str) -> Path:
    """First test image as a row's method restored it."""
    return folder / ROWS / f"{stem}.example.tif"


def write_pixels(path: Path, pixels: Float32, pixel_size_um: float | None) -> None:
    """Write an image of a row; one from an interrupted start is replaced."""
    size = None if pixel_size_um is None else (pixel_size_um, pixel_size_um)
    write_image(path, Image(np.asarray(pixels, np.float32), "YX", size), overwrite=True)


def _read(path: Path) -> Float32:
    return read_image(path).pixels.astype(np.float32, copy=False)
