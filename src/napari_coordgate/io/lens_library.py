"""Calibrated lenses on disk: as files, and in a folder of the user, by name."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import Lens, load_lens
from napari_coordgate.config.lenses import GaussianLens
from napari_coordgate.errors import SettingsError
from napari_coordgate.io.files import atomic_write
from napari_coordgate.io.image import Image
from napari_coordgate.io.writing import write_image

LENS_FOLDER_VARIABLE = "NAPARI_COORDGATE_LENSES"
"""Environment variable of another folder for lenses, such as one that a facility shares."""

LENS_SUFFIXES = (".yaml", ".yml")
_SAME_PIXEL_SIZE = 0.01
"""Relative difference of pixel sizes that are the same up to rounding."""


def save_lens(lens: Lens | GaussianLens, path: str | Path, overwrite: bool = False) -> None:
    """Write a lens as a YAML file that `load_lens` reads.

    The error bars, date, objective and camera of a calibrated lens are written, too.

    Parameters
    ----------
    lens : Lens or GaussianLens
        The lens.
    path : str or Path
        The file; its name ends in ``.yaml`` or ``.yml``.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    SettingsError
        If the name has another ending.
    OutputError
        If the file exists and is not to be replaced, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> lens = Lens(na=0.8, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_lens(lens, f"{folder}/lens.yaml")
    ...     load_lens(f"{folder}/lens.yaml") == lens
    True
    """
    if Path(path).suffix.lower() not in LENS_SUFFIXES:
        raise SettingsError(f"{path}: the file name of a lens must end in .yaml.")
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(lens.to_yaml(), encoding="utf-8")


def lens_folder() -> Path:
    """Folder of the user's calibrated lenses; it may not exist yet."""
    if chosen := os.environ.get(LENS_FOLDER_VARIABLE):
        return Path(chosen).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "napari-coordgate" / "lenses"


def kept_lens_files() -> dict[str, Path]:
    """Files in the user's folder of lenses, by name."""
    try:
        found = sorted(path for path in lens_folder().iterdir() if path.suffix in LENS_SUFFIXES)
    except OSError:
        return {}
    return {path.stem: path for path in found if not path.name.startswith(".")}


def kept_lenses() -> dict[str, Lens]:
    """Calibrated lenses in the user's folder by name; other and damaged files are left out."""
    lenses = {}
    for name, path in kept_lens_files().items():
        try:
            lens = load_lens(path)
        except SettingsError:
            continue
        if isinstance(lens, Lens) and lens.calibration is not None:
            lenses[name] = lens
    return lenses


def keep_lens(
    lens: Lens,
    name: str,
    overwrite: bool = False,
    flat_field: NDArray[np.floating[Any]] | None = None,
) -> Path:
    """Write a calibrated lens to the user's folder, with the gain (H, W) of the camera's pixels.

    Returns the file of the lens. A flat field kept under this name before is removed.
    """
    if lens.calibration is None:
        raise SettingsError(
            f"{name} was not measured, so that there is nothing to keep; calibrate it first."
        )
    if not name.strip() or Path(name).name != name or name.startswith("."):
        raise SettingsError(f"{name!r} is no name for a lens; use one without slashes.")
    path = lens_folder() / f"{name}.yaml"
    save_lens(lens, path, overwrite)
    if flat_field is None:
        _flat_field_file(name).unlink(missing_ok=True)
    else:
        write_image(_flat_field_file(name), Image(flat_field.astype(np.float32), "YX"), True)
    return path


def kept_flat_field(name: str) -> Path | None:
    """Image of the gain that was kept with a lens; None if there is none."""
    path = _flat_field_file(name)
    return path if path.exists() else None


def _flat_field_file(name: str) -> Path:
    return lens_folder() / f"{name}.flat.tif"


def find_lens(lens: str | Path) -> Lens | GaussianLens:
    """Lens in a file, or that of the user's folder with this name."""
    path, kept = Path(lens), kept_lens_files()
    if path.exists() or path.suffix.lower() in LENS_SUFFIXES:
        return load_lens(path)
    if str(lens) in kept:
        return load_lens(kept[str(lens)])
    known = f"those kept are {', '.join(kept)}" if kept else "no lens was kept"
    raise SettingsError(f"{lens}: no such file, and no calibrated lens of this name; {known}.")


def kept_lens_for(image: Image, channel: int = 0) -> tuple[str, Lens] | None:
    """Name and lens that were calibrated for the objective of an image, if there is one.

    Objective and pixel size agree, and camera and frame as far as they are known. Of several, it
    is that of the nearest wavelength, and then the newest.
    """
    wavelength = image.optics.wavelength_nm(channel)

    def rank(item: tuple[str, Lens]) -> tuple[float, str]:
        lens, calibration = item[1], item[1].calibration
        distance = abs(lens.wavelength_nm - wavelength.value) if wavelength else 0.0
        return -distance, (calibration and calibration.date) or ""

    fitting = [item for item in kept_lenses().items() if _is_of(item[1], image)]
    return max(fitting, key=rank, default=None)


def _is_of(lens: Lens, image: Image) -> bool:
    """Whether a lens was calibrated for the objective, camera and frame of an image."""
    calibration, optics, size = lens.calibration, image.optics, image.pixel_size_um
    if calibration is None or calibration.objective is None or size is None:
        return False
    if optics.objective is None or not _same(calibration.objective, optics.objective.value):
        return False
    if calibration.camera and optics.camera and not _same(calibration.camera, optics.camera.value):
        return False
    if calibration.frame_shape not in (None, image.frame_shape):
        return False
    return abs(size[0] / lens.pixel_size_um - 1) <= _SAME_PIXEL_SIZE


def _same(name: str, other: str) -> bool:
    """Whether two names are the same but for case and spaces."""
    return name.casefold().split() == other.casefold().split()
