"""Files that claim more than they are, and names under which no file is: one line, at once."""

import bz2
import gzip
import lzma
import os
import re
import shutil
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr
from zarr.codecs import BloscCodec

from napari_coordgate.config import load_lens, load_mapping
from napari_coordgate.errors import CoordGateError, ImageError
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.expansion import check_expansion
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

BOMB = np.zeros((4096, 4096), np.uint8)
PIXELS = np.arange(4096, dtype=np.uint16).reshape(64, 64)
EXCESS = 2**22
LABELS = """<StructuredAnnotations><XMLAnnotation ID="A" Namespace="modulo"><Value><Modulo>
<ModuloAlongZ Start="0" End="300000000"/></Modulo></Value></XMLAnnotation></StructuredAnnotations>
"""


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_coordgate.io.expansion.MAX_EXCESS", EXCESS)
    monkeypatch.setattr("napari_coordgate.io.tiff_claims._MAX_PAGES", 20)
    monkeypatch.setattr("napari_coordgate.io.ome_zarr._MAX_GROUPS", 20)
    monkeypatch.setattr("napari_coordgate.io.zarr_stores._MAX_TEXT_BYTES", 2**20)


def ome_that_claims(old: str, new: str) -> Callable[[Path], None]:
    """Writer of an OME-TIFF file with a part of its XML replaced."""

    def write(path: Path) -> None:
        xml = tifffile.OmeXml()
        xml.addimage("uint16", PIXELS.shape, (1, 1, 1, *PIXELS.shape, 1), axes="YX")
        assert old in xml.tostring()
        description = xml.tostring().replace(old, new).encode()
        tifffile.imwrite(path, PIXELS, description=description, metadata=None)

    return write


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


def levels_without_number(path: Path) -> None:
    tifffile.imwrite(path, PIXELS, extratags=[(65330, 13, 200, [8] * 200, False)], metadata=None)
    tag, levels = (struct.pack("<HH", code, 13) for code in (65330, 330))
    path.write_bytes(path.read_bytes().replace(tag, levels))


def chunk_of_gigabytes(path: Path) -> None:
    zarr.create_array(path, data=PIXELS, compressors=BloscCodec())
    claim_gigabytes(path / "c" / "0" / "0")


def claim_gigabytes(chunk: Path) -> None:
    data = bytearray(chunk.read_bytes())
    data[4:8] = (2**31 - 1).to_bytes(4, "little")
    chunk.write_bytes(data)


def chunk_of_zarr_2(path: Path) -> None:
    blosc: Any = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    zarr.create_array(path, data=PIXELS, compressors=blosc, zarr_format=2)
    claim_gigabytes(path / "0.0")


def chunk_in_a_shard(path: Path) -> None:
    compressor = BloscCodec()
    zarr.create_array(path, data=PIXELS, chunks=(32, 32), shards=(64, 64), compressors=compressor)
    claim_gigabytes(path / "c" / "0" / "0")


def shard_of_a_long_index(path: Path) -> None:
    zarr.create_array(path, data=PIXELS, chunks=(1, 1), shards=(64, 64))
    claim_long_sides(path)


def chunk_of_long_sides(path: Path) -> None:
    zarr.create_array(path, data=PIXELS, chunks=(64, 64))
    claim_long_sides(path)


def claim_long_sides(store: Path) -> None:
    metadata = store / "zarr.json"
    metadata.write_text(re.sub(r"64(?=,?\s)", str(2**30), metadata.read_text()))


def attributes_in_attributes(path: Path) -> None:
    write_image(path, Image(PIXELS, "YX"))
    metadata = path / "zarr.json"
    deep = 200 * "[" + 200 * "]"
    metadata.write_text(metadata.read_text().replace('"ome": {', f'"x": {deep}, "ome": {{', 1))


def metadata_without_end(path: Path) -> None:
    write_image(path, Image(PIXELS, "YX"))
    with (path / "zarr.json").open("a") as file:
        file.write(" " * 2**25)


def zip_of_an_image(path: Path, name: str, text: str) -> None:
    """Write a zipped image with a text at the end of one of its files."""
    write_image(path.with_name("a.ome.zarr"), Image(PIXELS, "YX"))
    shutil.make_archive(str(path.with_suffix("")), "zip", path.with_name("a.ome.zarr"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        before = archive.read(name).decode() if name in archive.namelist() else ""
        with warnings.catch_warnings(action="ignore"):  # of a name that is there already
            archive.writestr(name, before + text)


def wells_without_number(path: Path) -> None:
    wells = [{"path": f"A/{number}"} for number in range(21)]
    zarr.open_group(path, mode="w").attrs["ome"] = {"plate": {"wells": wells}}


def array_of_planes(path: Path) -> None:
    zarr.create_array(path, shape=(2_000_000, 12, 10), chunks=(1, 12, 10), dtype="uint8")


def chunk_in_a_pipe(path: Path) -> None:
    zarr.create_array(path, data=PIXELS)
    (path / "c" / "0" / "0").unlink()
    os.mkfifo(path / "c" / "0" / "0")


def jpeg_of_scans(path: Path) -> None:
    PIL.Image.fromarray(BOMB).save(path, progressive=True)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + 400 * data[last:-2] + data[-2:])


def jpeg_of_junk(path: Path) -> None:
    PIL.Image.fromarray(BOMB[:99, :99]).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:2] + 2**22 * b"\xff" + data[2:])


SUFFIXES = ("npy", "tif", "png", "nd2", "lif", "czi", "zarr.zip")
CLAIMS: dict[str, Callable[[Path], object]] = {
    "planes.ome.tif": ome_that_claims('SizeT="1"', 'SizeT="300000000"'),
    "width.ome.tif": ome_that_claims('SizeX="64"', 'SizeX="19200000000"'),
    "count.ome.tif": ome_that_claims('PlaneCount="1"', 'PlaneCount="300000000"'),
    "labels.ome.tif": ome_that_claims("</OME>", f"{LABELS}</OME>"),
    "quadratic.ome.tif": ome_that_claims("</OME>", 30_000 * "<BinaryOnly " + "</OME>"),
    "set.ome.tif": ome_in_a_pipe,
    "tile.tif": tile_that_expands,
    "volume.tif": volume_of_terabytes,
    "volume-tile.tif": volume_that_expands,
    "pages.tif": pages_without_number,
    "levels.tif": levels_without_number,
    "blosc.zarr": chunk_of_gigabytes,
    "blosc2.zarr": chunk_of_zarr_2,
    "shard.zarr": chunk_in_a_shard,
    "index.zarr": shard_of_a_long_index,
    "chunk.zarr": chunk_of_long_sides,
    "planes.zarr": array_of_planes,
    "deep.ome.zarr": attributes_in_attributes,
    "metadata.ome.zarr": metadata_without_end,
    "metadata.zarr.zip": partial(zip_of_an_image, name="zarr.json", text=" " * 2**25),
    "text.zarr.zip": partial(zip_of_an_image, name="OME/METADATA.ome.xml", text=" " * 2**21),
    "wells.zarr": wells_without_number,
    "pipe.zarr": chunk_in_a_pipe,
    "scans.jpg": jpeg_of_scans,
    "junk.jpg": jpeg_of_junk,
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
    [
        ("zlib", zlib.compress),
        ("gzip", gzip.compress),
        ("lzma", lzma.compress),
        ("bz2", bz2.compress),
    ],
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


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("lz4", (2**31 - 1).to_bytes(4, "little")),
        ("jpeg", b"\xff\xd8\xff\xc0\x00\x11\x08" + b"\xff" * 4 + b"\x01"),
    ],
)
def test_the_size_that_data_state_is_checked(codec: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="expand to more"):
        check_expansion(codec, data, 0)


def test_lengths_may_be_truth_values(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS[:1, :1])
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data.replace(b"(1, 1), }      ", b"(True, True), }"))
    assert repr(read_image(tmp_path / "a.npy").pixels.shape) == "(1, 1)"


def test_a_fortran_order_file_is_read_without_a_map(tmp_path: Path) -> None:
    pixels = np.arange(60.0).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", np.asfortranarray(pixels))
    image = read_image(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 200)  # a map would show zeros, or kill the process
    np.testing.assert_array_equal(image.pixels, pixels)
