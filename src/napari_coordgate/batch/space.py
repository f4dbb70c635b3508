"""Whether the results of a batch have room on the disk."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from napari_coordgate.batch.sources import Source
from napari_coordgate.config import BatchConfig
from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.inference import output_dtype
from napari_coordgate.io import read_image

__all__ = ["check_space"]

LOOKED_AT = 16
"""Files by which the size of all results is estimated."""
COMPRESSED = {"ome-tiff": 1.0, "ome-zarr": 0.5}
"""Part of their pixels' size that results take at least, by their format."""


def check_space(
    sources: Sequence[Source], folder: Path, output: Path, config: BatchConfig, replaced: int
) -> None:
    """Make sure that there is room for the results, as far as a few of the files tell.

    Parameters
    ----------
    sources : sequence of Source
        The files to deblur.
    folder, output : Path
        Where they are, and where results go.
    config : BatchConfig
        The settings.
    replaced : int
        Bytes of earlier results, which go when the new ones are there.

    Raises
    ------
    OutputError
        If the results will not fit.
    """
    step = max(1, len(sources) // LOOKED_AT)
    looked_at = [source for source in sources[::step] if source.size]
    results = [_result_bytes(folder / source.name, config) for source in looked_at]
    known = [(size, source.size) for size, source in zip(results, looked_at, strict=True) if size]
    if not known:
        return
    ratio = sum(size for size, _ in known) / sum(size for _, size in known)
    needed = ratio * COMPRESSED[config.format] * sum(source.size for source in sources)
    free = shutil.disk_usage(output).free + replaced
    if needed > free:
        raise OutputError(
            f"The results need about {needed / 1e9:.1f} GB, but {output} has {free / 1e9:.1f} GB "
            "free; free some space, choose another disk, or pass --keep-dtype."
        )


def _result_bytes(path: Path, config: BatchConfig) -> int:
    """Size of a result's pixels; zero where the file cannot be read."""
    try:
        image = read_image(path, config.axes).select(config.selection)
    except ImageError:
        return 0
    pixels: int = math.prod(image.data.shape)
    return pixels * output_dtype(image.data, config).itemsize
