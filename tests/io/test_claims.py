"""Files that claim more than they are, and names under which no file is: one line, at once."""

import gzip
import lzma
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr
from zarr.codecs import BloscCodec

from napari_coordgate.config import load_lens, load_mapping
from napari_coordgate.errors import CoordGateError, ImageError
from napari_coordgate.io import read_image
from napari_coordgate.io.expansion import check_expansion
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

BOMB = np.zeros((4096, 4096), np.uint8)
PIXELS = np.arange(4096, dtype=np.uint16).reshape(64, 64)
EXCESS = 2**22


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_coordgate.io.expansion.MAX_EXCESS", EXCESS)
    monkeypatch.setattr("napari_coordgate.io.tiff._MAX_PAGES", 20)


def ome_with_planes(path: Path) -> None:
    xml = tifffile.OmeXml()
    xml.addimage("uint16", PIXELS.shape, (1, 1, 1, *PIXELS.shape, 1), axes="YX")
    description = xml.tostring().replace('SizeT="1"', 'SizeT="300000000"').encode()
    tifffile.imwrite(path, PIXELS, description=description, metadata=None)


def ome_in_a_pipe(path: Path) -> None:
    xml = tifffile.OmeXml()
    xml.addimage("uint8", (2, 16, 16), (2, 1, 1, 16, 16, 1), axes="ZYX")
    one = '<TiffData IFD="0" PlaneCount="2"/>'
    uuid = '<UUID FileName="pipe.tif">urn:uuid:0</UUID>'
    named = f'<TiffData FirstZ="1" PlaneCount="1">{uuid}</TiffData>'
    os.mkfifo(path.with_name("pipe.tif"))
    description = xml.tostring().replace(one, named).encode()
    tifffile.imwrite(path, BOMB[:16, :16], description=description, metadata=None)


def tile_that_expands(path: Path) -> None:
    tifffile.imwrite(path, PIXELS, tile=(64, 64), compression="zlib")
    replace_first_tile(path, zlib.compress(bytes(2 * EXCESS)))


def replace_first_tile(path: Path, bomb: bytes) -> None:
    with tifffile.TiffFile(path, mode="r+") as file:
        end = file.filehandle.size
        file.pages.first.tags["TileOffsets"].overwrite([end])
        file.pages.first.tags["TileByteCounts"].overwrite([len(bomb)])
    with path.open("ab") as opened:
        opened.seek(end)
        opened.write(bomb)


def volume_of_terabytes(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((16, 16, 16), np.uint8), tile=(16, 16, 16), volumetric=True)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "ImageDepth"):
            file.pages.first.tags[name].overwrite(16000)


def volume_that_expands(path: Path) -> None:
    volume = np.zeros((16, 16, 16), np.uint8)
    tifffile.imwrite(path, volume, tile=(16, 16, 16), volumetric=True, compression="zlib")
    replace_first_tile(path, zlib.compress(bytes(2 * EXCESS)))


def pages_without_number(path: Path) -> None:
    tifffile.imwrite(path, BOMB[:30, :1, None], metadata=None)


def chunk_of_gigabytes(path: Path) -> None:
    zarr.create_array(path, data=PIXELS, compressors=BloscCodec())
    chunk = path / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[4:8] = (2**31 - 1).to_bytes(4, "little")
    chunk.write_bytes(data)


def chunk_in_a_pipe(path: Path) -> None:
    zarr.create_array(path, data=PIXELS)
    (path / "c" / "0" / "0").unlink()
    os.mkfifo(path / "c" / "0" / "0")


def jpeg_of_scans(path: Path) -> None:
    PIL.Image.fromarray(BOMB).save(path, progressive=True)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + 400 * data[last:-2] + data[-2:])


SUFFIXES = ("npy", "tif", "png", "nd2", "lif", "czi", "zarr.zip")
CLAIMS: dict[str, Callable[[Path], object]] = {
    "planes.ome.tif": ome_with_planes,
    "set.ome.tif": ome_in_a_pipe,
    "tile.tif": tile_that_expands,
    "volume.tif": volume_of_terabytes,
    "volume-tile.tif": volume_that_expands,
    "pages.tif": pages_without_number,
    "blosc.zarr": chunk_of_gigabytes,
    "pipe.zarr": chunk_in_a_pipe,
    "scans.jpg": jpeg_of_scans,
    **{f"pipe.{suffix}": os.mkfifo for suffix in SUFFIXES},
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_refused_in_one_line_and_allocates_nothing(tmp_path: Path, name: str) -> None:
    CLAIMS[name](tmp_path / name)
    tracemalloc.start()
    with pytest.raises(ImageError) as caught:
        _ = read_image(tmp_path / name).pixels
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()
    assert name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("read", [load_lens, load_mapping, Model.load, PSFField.load])
def test_a_pipe_is_no_file(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(CoordGateError, match=r"pipe"):
        read(tmp_path / "pipe.tif")


@pytest.mark.parametrize(
    ("codec", "compress"),
    [("zlib", zlib.compress), ("gzip", gzip.compress), ("lzma", lzma.compress)],
)
def test_the_size_of_data_is_found_without_decoding_them_whole(
    codec: str, compress: Callable[[bytes], bytes]
) -> None:
    half = compress(bytes(2**21))
    check_expansion(codec, half, 0)
    check_expansion(codec, half + bytes(EXCESS), 0)  # filled up to a block of a disk
    with pytest.raises(ValueError, match="expand to more than the 0"):
        check_expansion(codec, 3 * half, 0)
    with pytest.raises(ValueError, match="streams"):  # each of them is decoded in vain
        check_expansion(codec, 10_000 * compress(b""), 0)


@pytest.mark.parametrize("is_stated", [True, False])
def test_the_size_of_zstd_frames_is_that_of_their_blocks(is_stated: bool) -> None:
    data = bytes(imagecodecs.zstd_encode(bytes(10**6), 1))
    if not is_stated:  # a frame of one repeated block, with a window and without a size
        data = b"\x28\xb5\x2f\xfd\x00\x58" + 8 * b"\x02\x00\x10\0" + b"\x03\0\x10\0"
    check_expansion("zstd", data, 0)
    with pytest.raises(ValueError, match="expand"):
        check_expansion("zstd", 1000 * data, 0)


def test_a_fortran_order_file_is_read_without_a_map(tmp_path: Path) -> None:
    pixels = np.arange(60.0).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", np.asfortranarray(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").pixels, pixels)
