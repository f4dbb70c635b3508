"""PSF fields on disk: a TIFF stack of kernels that any viewer opens.

The description of the first page is JSON with everything but the arrays; the coefficients
are the file's second series.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import MAX_FRAME_SIDE
from napari_coordgate.io.files import atomic_write
from napari_coordgate.io.tiff import PSF_FIELD_KEY, tiff_scenes
from napari_coordgate.io.tiff_metadata import pixel_size_options

VERSION = 1


def write_psf_field(
    path: str | Path,
    description: dict[str, Any],
    kernels: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    *,
    overwrite: bool,
) -> None:
    """Write a `PSFField.description` and the arrays (R, K, K) and (R, G, G) in float32."""
    side = description["pixel_size_um"]
    options = pixel_size_options("plain", None if side is None else (side, side))
    options["metadata"] |= {"axes": "QYX", PSF_FIELD_KEY: description}
    with atomic_write(path, overwrite) as temporary, tifffile.TiffWriter(temporary) as tiff:
        tiff.write(kernels.astype(np.float32), photometric="minisblack", **options)
        tiff.write(
            coefficients.astype(np.float32),
            photometric="minisblack",
            metadata={"axes": "QYX", "Name": "Chebyshev coefficients"},
        )


def read_psf_field(path: str | Path) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    """Description, kernels and coefficients of a file; whether they fit together is not checked."""
    try:
        kernels = np.asarray(tiff_scenes(Path(path))[0].read()[0])
        with tifffile.TiffFile(path) as tiff:
            description = json.loads(tiff.pages.first.description)[PSF_FIELD_KEY]
            _, series = tiff.series
            # Stored uncompressed, so a series larger than the file is damaged; allocate nothing.
            if series.nbytes > tiff.filehandle.size:
                raise ValueError("the coefficients are damaged")
            coefficients = series.asarray()
    except FileNotFoundError:
        raise PSFError(f"{path}: no such file; create it with 'napari-coordgate psf'.") from None
    except Exception as error:
        # The decoder can fail anywhere in a foreign file, with any exception.
        raise PSFError(
            f"{path}: not a complete PSF field ({type(error).__name__}); "
            "create one with 'napari-coordgate psf'."
        ) from error
    return description, kernels, coefficients


def parse_description(description: Any) -> dict[str, Any]:
    """Arguments of `PSFField`, except the arrays, from the JSON value of a file."""
    version = description.get("version") if isinstance(description, dict) else None
    if version != VERSION:
        raise PSFError(
            f"PSF field of version {version!r}, but this program reads version {VERSION}; "
            "update napari-coordgate."
        )
    try:
        height, width = description["frame_shape"]
        if not max(height, width) <= MAX_FRAME_SIDE:
            raise ValueError(f"a frame of {height} x {width} pixels")
        side = description["pixel_size_um"]
        source = dict(description["source"])
        # Files of 0.1 development versions have the axis in the lens they were computed from.
        lens_axis = dict(source.get("lens", {})).get("axis", (0.0, 0.0))
        y, x = description.get("axis", lens_axis)
        return {
            "frame_shape": (int(height), int(width)),
            "pixel_size_um": None if side is None else float(side),
            "axis": (float(y), float(x)),
            "source": source,
            "flat_field": description.get("flat_field"),
        }
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise PSFError(
            f"damaged description of a PSF field ({error!r}); create the PSF field again."
        ) from None
