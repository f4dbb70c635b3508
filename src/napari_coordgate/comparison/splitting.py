"""Which images are trained on and which are tested on, known by their content."""

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

__all__ = ["Material", "digest_of", "split_images"]

SPLIT_SEED = 1729
"""Seed by which test images are drawn: the same ones for every seed of a training."""

Item = Any  # a path, an Image or an array: one of the things that `Images` is made of


@dataclass(frozen=True, eq=False)
class Material:
    """Images of a comparison.

    Attributes
    ----------
    training, test : list of path, Image or array
        Sharp images to train and validate on, and to test on.
    training_digest, test_digest : str
        What stands for their pixels in a fingerprint.
    """

    training: list[Item]
    test: list[Item]
    training_digest: str
    test_digest: str


@dataclass(frozen=True, eq=False)
class _Known:
    """Planes of an item, and their digests."""

    item: Item
    planes: list[Plane]
    digests: list[str]


def split_images(
    images: Images,
    test: Images | None,
    config: ComparisonConfig,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, Material]:
    """Images to train on and to test on, which have none in common.

    Planes of one file stay together, for they may show the same cells; those of a
    single stack are shared out. Copies of an image stay together too.

    Parameters
    ----------
    images : path, array of shape (..., H, W), or sequence of either
        Sharp images to train and validate on.
    test : like ``images``, optional
        Sharp images for the test; when not given, a part of ``images`` is held back.
    config : ComparisonConfig
        How large a part.
    cancel : threading.Event, optional
        Once set, the reading ends.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    Material
        The images.

    Raises
    ------
    ImageError
        If an image to test on is to be trained on as well, or there are too few.
    CanceledError
        If the reading was canceled.
    """
    items = _items(images, apart=test is None)
    held_out = [] if test is None else _items(test)
    stopwatch = Stopwatch("telling images apart", len(items) + len(held_out))
    known: list[_Known] = []
    for item in (*items, *held_out):
        raise_if_canceled(cancel, "Stopped while reading the images; nothing was written.")
        planes = find_planes(item)
        known.append(_Known(item, planes, [digest_of(plane.read()) for plane in planes]))
        yield stopwatch.progress(len(known))
    if test is None:
        training, tested = _held_back(known, config.test_fraction)
    else:
        training, tested = known[: len(items)], known[len(items) :]
        _check_no_leak(training, tested)
    counted = [digest for part in tested for digest in part.digests][: config.test_images]
    return Material(
        [part.item for part in training],
        [part.item for part in tested],
        _digest_of_all(digest for part in training for digest in part.digests),
        _digest_of_all(counted),
    )


def digest_of(*arrays: np.ndarray[Any, Any]) -> str:
    """What stands for arrays in a fingerprint; equal for equal types, shapes and values."""
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


def _items(images: Images, apart: bool = False) -> list[Item]:
    """Files, images or arrays one by one; a single stack plane by plane where they go apart."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        images = find_images(images)
    is_one = isinstance(images, str | Path | Image) or is_pixel_array(images)
    several: Any = [images] if is_one else images
    items = list(several)
    return _planes_apart(items[0]) if apart and len(items) == 1 else items


def _planes_apart(item: Item) -> list[Item]:
    image = read_image(item) if isinstance(item, str | Path) else item
    data = image.data if isinstance(image, Image) else as_pixel_array(image)
    return [Image(data[p.index], "YX", title=p.name) for p in find_planes(item)]


def _held_back(known: list[_Known], fraction: float) -> tuple[list[_Known], list[_Known]]:
    """Items to train on, and a part drawn for the test together with all copies of it."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(known))
    drawn = order[: max(1, round(fraction * len(known)))]
    tested = [known[number] for number in sorted(drawn)]
    seen = _names(tested)
    training = [part for part in known if seen.keys().isdisjoint(part.digests)]
    if not training:
        raise ImageError(
            "There are too few different images to hold some back for the test; give more "
            "images, a smaller test_fraction, or test images of their own."
        )
    return training, tested


def _check_no_leak(training: Sequence[_Known], tested: Sequence[_Known]) -> None:
    seen = _names(training)
    for part in tested:
        for plane, digest in zip(part.planes, part.digests, strict=True):
            if digest in seen:
                raise ImageError(
                    f"{plane.name} is to be tested on, but {seen[digest]} is the same image and "
                    "is to be trained on; take it out of one of the two."
                )


def _names(parts: Sequence[_Known]) -> dict[str, str]:
    """Names of planes by their digests."""
    return {
        digest: plane.name
        for part in parts
        for plane, digest in zip(part.planes, part.digests, strict=True)
    }
