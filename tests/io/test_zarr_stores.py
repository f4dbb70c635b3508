"""Tests of OME-Zarr images in zip files and at addresses."""

import shutil
import socket
import sys
from pathlib import Path
from zipfile import ZipFile

import fsspec
import numpy as np
import pytest

from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.optical_metadata import stated_optics
from napari_coordgate.io.zarr_stores import as_path
from tests.io.examples import numbers


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """OME-Zarr image with OME-XML."""
    optics = stated_optics(na=(0.8, "file"))
    names = ("DAPI", "GFP", "Cy5")
    image = Image(numbers("CYX"), "CYX", (0.2, 0.1), channel_names=names, optics=optics)
    write_image(tmp_path / "image.ome.zarr", image)
    return tmp_path / "image.ome.zarr"


def assert_equal(image: Image) -> None:
    np.testing.assert_array_equal(image.pixels, numbers("CYX"))
    assert (image.pixel_size_um, image.channel_names[2]) == ((0.2, 0.1), "Cy5")
    assert image.optics.na is not None
    assert image.optics.na.value == 0.8


@pytest.mark.parametrize("top", ["", "image.ome.zarr"])
def test_a_zipped_store_is_read(store: Path, top: str) -> None:
    path = store.with_name("zipped.ome.zarr.zip")
    with ZipFile(path, "w") as archive:
        for file in store.rglob("*"):
            archive.write(file, Path(top) / file.relative_to(store))
    assert_equal(read_image(path))


def test_a_store_at_an_address_is_read(store: Path) -> None:
    address = "memory://images/image.ome.zarr"
    fsspec.filesystem("memory").put(str(store), address, recursive=True)
    image = read_image(address)
    assert_equal(image)
    assert image.name == address
    assert_equal(read_image(Path(address)))  # which drops a slash
    shutil.rmtree(store)
    with pytest.raises(ImageError, match=r"memory://images/other\.zarr has no zarr store"):
        read_image("memory://images/other.zarr")


def test_an_address_of_a_file_is_its_path(store: Path) -> None:
    assert_equal(read_image(store.as_uri()))
    assert type(as_path(store.as_uri())) is type(store)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_coordgate.io.zarr_stores._SECONDS", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ImageError, match="cannot be read"),
    ):
        read_image(f"http://127.0.0.1:{silent.getsockname()[1]}/image.zarr")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImageError, match=r"needs libraries .*napari-coordgate\[remote\]"):
        read_image("https://localhost/image.zarr")
