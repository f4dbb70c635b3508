"""A comparison, its rows, and the files that keep them."""

import json
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_coordgate.config import ComparisonConfig, Method
from napari_coordgate.errors import OutputError, format_validation_error
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.files import atomic_write, check_writable
from napari_coordgate.io.locks import LOCK_NAME
from napari_coordgate.opening import read_file
from napari_coordgate.version import __version__

BLURRED = "blurred"
"""Name of the baseline row: the blurred images as they are."""
SHARP = "sharp"

Kind = Literal["blurred", "network", "model", "wiener", "richardson_lucy", "universal", "unrolled"]

SUMMARY = "comparison.json"
TABLE = "comparison.md"
ROWS, PLAN, ERROR_MAP, EXAMPLE = "rows", ".plan.json", ".error.tif", ".example.tif"
"""Folder of the rows, and suffixes of their files."""
FORMAT: Literal["napari-coordgate comparison 2"] = "napari-coordgate comparison 2"

Float32 = NDArray[np.float32]


class Record(BaseModel):
    """JSON file with results and the recipe that they depend on."""

    # JSON has no infinity, which is the PSNR of a perfect image.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    fingerprint: dict[str, Any] = Field(default_factory=dict)
    """Recipe of the results: settings by name, images and files by their digests."""


R = TypeVar("R", bound=Record)


class Row(Record):
    """Result of one method, or of one training of a network."""

    method: str
    """Name of the method."""
    kind: Kind
    """Type of the method."""
    seed: int | None = None
    """Seed of the training; None if there was none."""
    quality: dict[str, float]
    """Means of `metrics.quality` over the test images; empty where the sharp image is unknown."""
    image_psnr: tuple[float, ...] = ()
    """PSNR of each test image, dB."""
    radius: tuple[float, ...] = ()
    """Centers of the bins of the field radius."""
    radial_error: tuple[float | None, ...] = ()
    """Mean squared error in each bin, relative to the squared data range; None: no pixels."""
    parameters: int = 0
    """Number of learned parameters."""
    steps: int | None = None
    """Steps of the training."""
    training_seconds: float | None = None
    """Wall time of the training with its validations."""
    inference_seconds: float | None = None
    """Wall time for one image."""
    device: str = ""
    """Device that computed the row."""
    verdict: Literal["", "green", "amber", "red"] = ""
    """Whether the result can be trusted; empty where the sharp image is known."""
    contradicted: float | None = None
    """Fraction of the pixels at which the image contradicts the result."""
    expected_error: float | None = None
    """Mean of the expected error (90 % bound), in units of the image."""
    note: str = ""
    """Why the method failed, or what to know about its result."""
    stem: str = Field("", pattern=r"^[^/\\]+$")
    """Name of the row's files without suffix; empty where there are none."""


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
        ``row.quality`` has the metrics of `quality`, means over the test images.

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
            content = json.loads(read_file(path))
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
        return _read(row_file(self.folder, row.stem, ERROR_MAP))

    def example(self, row: Row) -> Float32:
        """First test image (h, w) as the row's method restored it, scaled."""
        return _read(row_file(self.folder, row.stem, EXAMPLE))

    @property
    def sharp_example(self) -> Float32:
        """First test image (h, w) without blur, scaled."""
        return _read(row_file(self.folder, SHARP, EXAMPLE))


def save_comparison(comparison: Comparison) -> None:
    """Write the summary with the rows done so far; an earlier one is replaced."""
    with atomic_write(comparison.folder / SUMMARY, overwrite=True) as temporary:
        temporary.write_text(comparison.model_dump_json(indent=1) + "\n", encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Raise `OutputError` unless a folder is new, empty, or a comparison that can be resumed."""
    if (folder / SUMMARY).exists():
        Comparison.load(folder)
    elif folder.is_dir() and any(file.name != LOCK_NAME for file in folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty and contains no comparison; choose another folder."
        )
    check_writable(folder / SUMMARY)


def read_record(path: Path, model: type[R]) -> R | None:
    """Read a record; None if there is no such file."""
    try:
        return model.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error}); choose another folder.") from None
    except ValidationError as error:
        raise OutputError(
            f"{path}: is damaged or of another version ({format_validation_error(error)}); "
            "delete it to repeat the work, or choose another folder."
        ) from None


def write_record(path: Path, record: Record, *, overwrite: bool = False) -> None:
    """Write a record atomically."""
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def check_same(path: Path, record: Record, fingerprint: Mapping[str, Any]) -> None:
    """Raise `OutputError`, naming the differences, if a record was made with another recipe."""
    before, now = dict(_flat(record.fingerprint)), dict(_flat(fingerprint))
    changed = [
        f"{name} (was {before.get(name)}, is {now.get(name)})"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise OutputError(
            f"{path} was made with another {', '.join(changed)}; choose another folder, or "
            "compare with the same settings."
        )


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings by their dotted names."""
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


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


def row_file(folder: Path, stem: str, suffix: str = ".json") -> Path:
    """File of a row (the default, written last), or with a suffix another file of it."""
    return folder / ROWS / f"{stem}{suffix}"


def write_pixels(path: Path, pixels: Float32, pixel_size_um: float | None) -> None:
    """Write an image of a row; one from an interrupted start is replaced."""
    size = None if pixel_size_um is None else (pixel_size_um, pixel_size_um)
    write_image(path, Image(np.asarray(pixels, np.float32), "YX", size), overwrite=True)


def _read(path: Path) -> Float32:
    return read_image(path).pixels.astype(np.float32, copy=False)
