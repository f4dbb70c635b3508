"""Split images into training and test images, identified by their content."""

import hashlib
import threading
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate.config import ComparisonConfig
from napari_coordgate.data import Images, Plane, find_planes
from napari_coordgate.errors import ImageError
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.io import Image, as_pixel_array, find_images, is_pixel_array, read_image

SPLIT_SEED = 1729
"""Seed that draws the test images, the same for all trainings."""

Item = Any  # path, Image or array: an element of `Images`


@dataclass(frozen=True, eq=False)
class DataSplit:
    """Sharp images to train and to test on, and digests of their pixels."""

    training: list[Item]
    test: list[Item]
    training_digest: str
    test_digest: str


@dataclass(frozen=True, eq=False)
class _Item:
    """Planes of an item and their digests."""

    item: Item
    planes: list[Plane]
    digests: list[str]


def split_images(
    images: Images,
    test: Images | None,
    config: ComparisonConfig,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, DataSplit]:
    """Split images into disjoint training and test images; a part is drawn if `test` is None.

    Planes of one file stay together because they may show the same cells; a single stack is
    split by planes. Copies of an image stay together too.
    """
    items = _items(images, by_planes=test is None)
    held_out = [] if test is None else _items(test)
    stopwatch = Stopwatch("checking for duplicates", len(items) + len(held_out))
    found: list[_Item] = []
    for item in (*items, *held_out):
        raise_if_canceled(cancel, "Canceled while reading the images; nothing was written.")
        planes = find_planes(item)
        found.append(_Item(item, planes, [digest_of(plane.read()) for plane in planes]))
        yield stopwatch.progress(len(found))
    if test is None:
        training, tested = _draw_test(found, config.test_fraction)
    else:
        training, tested = found[: len(items)], found[len(items) :]
        _check_no_leak(training, tested)
    counted = [digest for part in tested for digest in part.digests][: config.test_images]
    return DataSplit(
        [part.item for part in training],
        [part.item for part in tested],
        _digest_of_all(digest for part in training for digest in part.digests),
        _digest_of_all(counted),
    )


def digest_of(*arrays: np.ndarray[Any, Any]) -> str:
    """Digest of arrays, equal for equal types, shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        digest.update(f"{native.dtype} {native.shape} ".encode())
        digest.update(native.tobytes() if native.dtype.kind == "b" else native.data)
    return digest.hexdigest()


def _digest_of_all(digests: Iterable[str]) -> str:
    listed = list(digests)
    joined = hashlib.blake2b(" ".join(listed).encode(), digest_size=16).hexdigest()
    return f"{len(listed)} of {joined}"


def _items(images: Images, by_planes: bool = False) -> list[Item]:
    """List of files, images or arrays; a single stack becomes its planes if asked for."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        images = find_images(images)
    is_one = isinstance(images, str | Path | Image) or is_pixel_array(images)
    several: Any = [images] if is_one else images
    items = list(several)
    return _planes_of(items[0]) if by_planes and len(items) == 1 else items


def _planes_of(item: Item) -> list[Item]:
    image = read_image(item) if isinstance(item, str | Path) else item
    data = image.data if isinstance(image, Image) else as_pixel_array(image)
    return [Image(data[p.index], "YX", title=p.name) for p in find_planes(item)]


def _draw_test(found: list[_Item], fraction: float) -> tuple[list[_Item], list[_Item]]:
    """Draw a part for the test; its copies are not trained on either."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(found))
    drawn = order[: max(1, round(fraction * len(found)))]
    tested = [found[number] for number in sorted(drawn)]
    seen = _names(tested)
    training = [part for part in found if seen.keys().isdisjoint(part.digests)]
    if not training:
        raise ImageError(
            "There are too few different images to hold out some for the test; give more images, "
            "a smaller test_fraction, or separate test images."
        )
    return training, tested


def _check_no_leak(training: Sequence[_Item], tested: Sequence[_Item]) -> None:
    seen = _names(training)
    for part in tested:
        for plane, digest in zip(part.planes, part.digests, strict=True):
            if digest in seen:
                raise ImageError(
                    f"The test image {plane.name} is the same image as the training image "
                    f"{seen[digest]}; remove it from one of the two."
                )


def _names(parts: Sequence[_Item]) -> dict[str, str]:
    """Names of planes by their digests."""
    return {
        digest: plane.name
        for part in parts
        for plane, digest in zip(part.planes, part.digests, strict=True)
    }
