"""Writer of small image stacks of Micro-Manager, whose positions may be in several files.

The layout is that of https://micro-manager.org/Micro-Manager_File_Formats.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

SITES = ("left", "right", "third")


def write_stack(
    path: Path, planes: Mapping[tuple[int, int], NDArray[Any]], shape: tuple[int, int]
) -> None:
    """Write planes of uint16 by time and position; ``shape`` is the planned number of each."""
    summary = {
        **{"MicroManagerVersion": "2.0.0", "Prefix": "cells", "Slices": 1, "Channels": 1},
        **{"Frames": shape[0], "Positions": shape[1], "PixelSize_um": 0.5, "Interval_ms": 2000.0},
        "StagePositions": [{"Label": name} for name in SITES[: shape[1]]],
    }
    text = json.dumps(summary).encode()
    header = (54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(text))
    file = bytearray(b"II*\0" + bytes(4) + struct.pack("<8I", *header) + text)
    index, previous = [], 4
    for (time, position), plane in planes.items():
        file += bytes(len(file) % 2)
        struct.pack_into("<I", file, previous, len(file))
        index.append((0, 0, time, position, len(file)))
        stated = json.dumps({"XPositionUm": 100.0 * position, "YPositionUm": 5.0}).encode()
        start = len(file) + 162
        end = start + plane.nbytes
        height, width = plane.shape
        tags = (
            *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1)),
            *((262, 3, 1, 1), (273, 4, 1, start), (277, 3, 1, 1), (278, 3, 1, height)),
            *((279, 4, 1, plane.nbytes), (282, 5, 1, end), (283, 5, 1, end), (296, 3, 1, 1)),
            (51123, 2, len(stated), end + 8),
        )
        file += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        previous = len(file)
        file += bytes(4) + plane.tobytes() + struct.pack("<2I", 0, 1) + stated
    struct.pack_into("<I", file, 12, len(file))
    file += struct.pack("<2I", 3453623, len(index))
    path.write_bytes(file + b"".join(struct.pack("<5I", *entry) for entry in index))
