"""Laws of the split: an image is known by its content, and is trained on or tested on, not both."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_coordgate.comparison.data_split import DataSplit, digest_of, split_images
from napari_coordgate.config import ComparisonConfig
from napari_coordgate.data import find_planes
from napari_coordgate.errors import ImageError
from napari_coordgate.events import Event
from napari_coordgate.io import Image, write_image

RNG = np.random.default_rng(0)
IMAGES = RNG.random((10, 12, 14)).astype(np.float32)
THIRD = ComparisonConfig(test_fraction=0.3)


def split(images: Any, test: Any = None, config: ComparisonConfig = THIRD) -> DataSplit:
    events = split_images(images, test, config)
    while True:
        try:
            event: Event = next(events)
        except StopIteration as end:
            assert isinstance(end.value, DataSplit)
            return end.value
        assert event


def digests(items: Iterable[Any]) -> list[str]:
    return [digest_of(plane.read()) for item in items for plane in find_planes(item)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, image in enumerate(IMAGES):
        write_image(tmp_path / f"image{number}.tif", Image(image, "YX"))
    return tmp_path


def test_a_part_is_held_back_and_the_rest_is_trained_on(folder: Path) -> None:
    whole = digests(IMAGES)
    for images in (IMAGES, list(IMAGES), folder):
        material = split(images)
        training, test = digests(material.training), digests(material.test)
        assert len(test) == 3
        assert sorted(training + test) == sorted(whole)
        assert set(training).isdisjoint(test)


def test_the_split_is_always_the_same_and_so_are_its_digests(folder: Path) -> None:
    one, other, from_files = split(IMAGES), split(IMAGES), split(folder)
    for material in (other, from_files):
        assert digests(material.test) == digests(one.test)
        assert material.test_digest == one.test_digest
        assert material.training_digest == one.training_digest


def test_copies_of_a_test_image_are_not_trained_on() -> None:
    material = split(list(np.concatenate([IMAGES, IMAGES])))
    assert set(digests(material.training)).isdisjoint(digests(material.test))


def test_planes_of_one_file_stay_together_but_a_single_stack_is_shared_out(tmp_path: Path) -> None:
    for name, planes in {"a": IMAGES[:5], "b": IMAGES[5:]}.items():
        write_image(tmp_path / f"{name}.tif", Image(planes, "ZYX"))
    apart = split(tmp_path)
    assert (len(digests(apart.training)), len(digests(apart.test))) == (5, 5)
    (tmp_path / "b.tif").unlink()
    shared = split(tmp_path)
    assert (len(digests(shared.training)), len(digests(shared.test))) == (3, 2)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_image_in_both_places_is_refused_whatever_its_name(
    folder: Path, order: tuple[int, int]
) -> None:
    both = folder, [RNG.random((9, 9)), IMAGES[4].astype(">f4")]
    with pytest.raises(ImageError, match=r"image4\.tif.*the same image|the same.*image4\.tif") as e:
        split(both[order[0]], both[order[1]])
    assert len(str(e.value).splitlines()) == 1


def test_images_that_differ_are_not_taken_for_the_same() -> None:
    image = IMAGES[0]
    others = (image.T, image + 1e-6, image.astype(np.float64), image[:-1], image.ravel())
    assert digest_of(image) not in {digest_of(other) for other in others}
    assert digest_of(image) == digest_of(np.asfortranarray(image)) == digest_of(image.astype(">f4"))


def test_only_the_test_images_that_count_are_in_the_digest() -> None:
    two = ComparisonConfig(test_images=2)
    assert (
        split(IMAGES[:4], IMAGES[4:6], two).test_digest
        == split(IMAGES[:4], IMAGES[4:9], two).test_digest
        != split(IMAGES[:4], IMAGES[5:9], two).test_digest
    )


def test_a_single_image_cannot_serve_for_both() -> None:
    with pytest.raises(ImageError, match="too few"):
        split(IMAGES[0])
    with pytest.raises(ImageError, match="too few"):
        split([IMAGES[0], IMAGES[0]])
