"""PSF fields on disk: a TIFF stack of kernels that any viewer opens.

The description of the first page is JSON and holds what belongs to the field
beside its arrays; the coefficients are the file's second series.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import PSFError
from napari_coordgate.io.files import atomic_write
from napari_coordgate.io.tiff import PSF_FIELD, pixel_size_options, read_tiff

__all__ = ["VERSION", "parse_description", "read_psf_field", "write_psf_field"]

VERSION = 1


def write_psf_field(
    path: str | Path,
    description: dict[str, Any],
    kernels: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    *,
    overwrite: bool,
) -> None:
    """Write the parts of a PSF field, the arrays in single precision.

    Parameters
    ----------
    path : str or Path
        File to write.
    description : dict
        `PSFField.description`.
    kernels : ndarray, shape (R, K, K)
        The kernels.
    coefficients : ndarray, shape (R, G, G)
        Their coefficients.
    overwrite : bool
        Replace a file of that name.

    Raises
    ------
    OutputError
        If the file exists, or cannot be written.
    """
    side = description["pixel_size_um"]
    options = pixel_size_options("plain", None if side is None else (side, side))
    options["metadata"] |= {"axes": "QYX", PSF_FIELD: description}
    with atomic_write(path, overwrite) as temporary, tifffile.TiffWriter(temporary) as tiff:
        tiff.write(
            kernels.astype(np.float32),
            photometric="minisblack",
            **options,
        )
        tiff.write(
            coefficients.astype(np.float32),
            photometric="minisblack",
            metadata={"axes": "QYX", "Name": "Chebyshev coefficients"},
        )


def read_psf_field(path: str | Path) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    """Read the parts of a PSF field; whether they fit together is not looked at.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    description : any JSON value
        As given to `write_psf_field`.
    kernels, coefficients : ndarray
        The arrays.

    Raises
    ------
    PSFError
        If the file is missing, cut short or no PSF field.
    """
    try:
        kernels = np.asarray(read_tiff(Path(path))[0])
        with tifffile.TiffFile(path) as tiff:
            description = json.loads(tiff.pages.first.description)[PSF_FIELD]
            _, series = tiff.series
            # Stored uncompressed: what claims more than the file holds gets no memory.
            if series.nbytes > tiff.filehandle.size:
                raise ValueError("the coefficients are damaged")
            coefficients = series.asarray()
    except FileNotFoundError:
        raise PSFError(f"{path}: no such file; 'napari-coordgate psf' makes one.") from None
    except Exception as error:
        # A foreign file can fail anywhere in the decoder, with any exception.
        raise PSFError(
            f"{path}: is no whole PSF field ({type(error).__name__}); "
            "make one with 'napari-coordgate psf'."
        ) from error
    return description, kernels, coefficients


def parse_description(
    description: Any,
) -> tuple[tuple[int, int], float | None, dict[str, Any]]:
    """What `PSFField.description` told.

    Parameters
    ----------
    description : any JSON value
        As it came from a file.

    Returns
    -------
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    pixel_size_um : float or None
        Side of a pixel in the object, um.
    source : dict
        What the field was made from.

    Raises
    ------
    PSFError
        If the version is unknown, or an entry is missing or no such value.
    """
    version = description.get("version") if isinstance(description, dict) else None
    if version != VERSION:
        raise PSFError(
            f"PSF field of version {version!r}, but this program knows {VERSION}; "
            "update napari-coordgate."
        )
    try:
        height, width = description["frame_shape"]
        side = description["pixel_size_um"]
        pixel_size_um = None if side is None else float(side)
        return (int(height), int(width)), pixel_size_um, dict(description["source"])
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise PSFError(
            f"damaged description of a PSF field ({error!r}); make the field anew."
        ) from None
