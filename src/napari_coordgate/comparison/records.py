"""Rows of a comparison, and files that say which recipe made them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_coordgate.errors import OutputError, format_validation_error
from napari_coordgate.io.files import atomic_write

BLURRED = "blurred"
"""Name of the baseline row: the blurred images as they are."""
SHARP = "sharp"

Kind = Literal["blurred", "network", "checkpoint", "wiener", "richardson_lucy"]


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
    note: str = ""
    """Why the method failed, or what to know about its result."""
    stem: str = Field("", pattern=r"^[^/\\]+$")
    """Name of the row's files without suffix; empty where there are none."""


def read_record(path: Path, model: type[R]) -> R | None:
    """Read a record; None if there is no such file."""
    try:
        return model.model_validate_json(path.read_bytes())
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
