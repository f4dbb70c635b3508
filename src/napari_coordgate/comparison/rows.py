"""One row of a comparison: what a method reached, and what that depends on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_coordgate.errors import OutputError, format_validation_error
from napari_coordgate.io.files import atomic_write

__all__ = ["BLURRED", "SHARP", "Kind", "Record", "Row", "check_same", "read_record", "write_record"]

BLURRED = "blurred"
"""Name of the row that every method is to beat: the blurred images as they are."""
SHARP = "sharp"

Kind = Literal["blurred", "network", "checkpoint", "wiener", "richardson_lucy"]


class Record(BaseModel):
    """Figures on disk as JSON, with all that they depend on."""

    # Infinite figures (a perfect image) are strings: JSON has no such number.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    fingerprint: dict[str, Any]
    """What the figures depend on: settings by name, arrays by their digests."""


R = TypeVar("R", bound=Record)


class Row(Record):
    """What one method reached on the test images, of one seed if it was trained.

    All intensities are scaled, 0 to 1, as the training's scaling tells.
    """

    method: str
    """Name of the method."""
    kind: Kind
    """What it is."""
    seed: int | None
    """Seed of the training; none where there was none."""
    quality: dict[str, float]
    """Means over the test images of the figures of `metrics.quality`."""
    image_psnr: tuple[float, ...]
    """PSNR of each test image, dB."""
    radius: tuple[float, ...]
    """Middles of the bins of field radius."""
    radial_error: tuple[float | None, ...]
    """Mean squared error in each bin; none where it has no pixels."""
    parameters: int
    """Numbers that the method learned."""
    steps: int | None
    """Steps of the training."""
    training_seconds: float | None
    """Wall time of the training with its validations."""
    inference_seconds: float | None
    """Wall time for a test image, the median once it is warm."""
    peak_memory_bytes: int | None
    """Memory for a test image beside the program and its libraries; none: not measured."""
    device: str
    """What computed."""
    stem: str = Field(pattern=r"^[^/\\]+$")
    """Name of the row's files, without suffix."""


def read_record(path: Path, model: type[R]) -> R | None:
    """Record in a file; none where there is no file.

    Raises
    ------
    OutputError
        If the file is not such a record.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error}); choose another folder.") from None
    except ValidationError as error:
        raise OutputError(
            f"{path}: is damaged or of another version ({format_validation_error(error)}); "
            "remove it to make it again, or choose another folder."
        ) from None


def write_record(path: Path, record: Record, *, overwrite: bool = False) -> None:
    """Write a record; the file appears when it is whole."""
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def check_same(path: Path, record: Record, fingerprint: Mapping[str, Any]) -> None:
    """Make sure that a record depends on just what is asked for now.

    Parameters
    ----------
    path : Path
        Where it stands, for the error.
    record : Record
        What an earlier start left.
    fingerprint : mapping
        What it would depend on now.

    Raises
    ------
    OutputError
        If it was made otherwise; the message says what changed.
    """
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
