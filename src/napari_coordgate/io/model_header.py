"""Headers of model files, read without loading torch."""

import json
from pathlib import Path

from napari_coordgate.opening import regular

FORMAT, VERSION = "napari-coordgate model", 2
FORMER_FORMAT, FORMER_VERSION = "napari-coordgate checkpoint", 1
"""Key of the header, and its version, in files of earlier development versions."""
UNIVERSAL_FORMAT = "napari-coordgate universal model"
"""Key of the header of a model that serves every lens."""
MODEL_FORMATS = {FORMAT: VERSION, FORMER_FORMAT: FORMER_VERSION}

_LENGTH_BYTES = 8
MAX_HEADER_BYTES = 10_000_000
"""Far beyond any of ours; the text takes some hundred MB when it is parsed."""


def read_metadata(path: str | Path, max_bytes: int = MAX_HEADER_BYTES) -> dict[str, str]:
    """Texts in the header of a safetensors file; ValueError or OSError if it has no header."""
    with open(path, "rb", opener=regular) as file:
        start = file.read(_LENGTH_BYTES)
        length = int.from_bytes(start, "little")
        return metadata_of(start + file.read(min(length, max_bytes)))


def metadata_of(data: bytes) -> dict[str, str]:
    """Texts in the header with which a safetensors file begins."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if not 0 < length <= min(len(data) - _LENGTH_BYTES, MAX_HEADER_BYTES):
        raise ValueError("it has no header")
    try:
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}
