"""Files and chunks of a zarr store, read within a budget; imported when a store is opened."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.abc.store import ByteRequest
from zarr.codecs import ShardingCodec
from zarr.codecs._v2 import V2Codec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, BufferPrototype, NDBuffer
from zarr.storage import LocalStore, ZipStore

from napari_coordgate.io.expansion import check_expansion
from napari_coordgate.opening import check_claim, check_regular

_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")
_MAX_METADATA_BYTES = 2**25


class LocalFiles(LocalStore):
    """Folder of a store, of which regular files that fit into memory are read."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file; None if there is none."""
        path = self.root / key
        if path.exists():
            check_regular(path)
            if byte_range is None:
                _check_size(key, path.stat().st_size)
        return await super().get(key, prototype, byte_range)


class ZippedFiles(ZipStore):
    """Zip file of a store, of which files that fit into memory are read."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file; None if there is none."""
        if not self._is_open:
            self._sync_open()
        if key in self._zf.NameToInfo:
            _check_size(key, self._zf.NameToInfo[key].file_size)
        return await super().get(key, prototype, byte_range)


def _check_size(key: str, nbytes: int) -> None:
    """Raise ValueError if a file is too large: metadata become objects of many times their size."""
    check_claim(nbytes, f"{key} has")
    if key.rpartition("/")[2] in _METADATA and nbytes > _MAX_METADATA_BYTES:
        raise ValueError(f"{key} has {nbytes / 1e6:.0f} MB")


def limit_decoding(array: Any) -> None:
    """Let an array check what its chunks expand to before it decodes them."""
    inner = array.async_array
    pipeline = type(inner.codec_pipeline).from_codecs(tuple(_limited(inner.codec_pipeline)))
    object.__setattr__(inner, "codec_pipeline", pipeline)  # an immutable dataclass


def _limited(codecs: Iterable[Codec]) -> Iterator[Codec]:
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            parts = {field.name: getattr(codec, field.name) for field in dataclasses.fields(codec)}
            yield ShardingCodec(**{**parts, "codecs": tuple(_limited(codec.codecs))})
        elif isinstance(codec, V2Codec):
            yield _LimitedV2(codec.filters, codec.compressor)
        elif isinstance(codec, BytesBytesCodec):
            yield _Limited(codec)
        else:
            yield codec


@dataclass(frozen=True)
class _Limited(BytesBytesCodec):
    """Compressor whose data are checked before they are decoded."""

    codec: BytesBytesCodec

    @property
    def is_fixed_size(self) -> bool:  # type: ignore[override]
        return self.codec.is_fixed_size

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        name = str(self.codec.to_dict()["name"]).removeprefix("numcodecs.")
        check_expansion(name, chunk_data.to_bytes(), _claimed(chunk_spec))
        (decoded,) = await self.codec.decode([(chunk_data, chunk_spec)])
        assert decoded is not None
        return decoded

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        return self.codec.compute_encoded_size(input_byte_length, chunk_spec)


@dataclass(frozen=True)
class _LimitedV2(V2Codec):
    """Compressor of zarr 2 whose data are checked before they are decoded."""

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        if self.compressor:
            name = str(self.compressor.codec_id)
            check_expansion(name, chunk_bytes.to_bytes(), _claimed(chunk_spec))
        return await super()._decode_single(chunk_bytes, chunk_spec)


def _claimed(spec: ArraySpec) -> int:
    return math.prod(spec.shape) * spec.dtype.to_native_dtype().itemsize
