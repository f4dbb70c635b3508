"""Zarr stores: folders, zip files, and stores on servers by their address."""

import os
import re
import zipfile
from pathlib import Path, PurePath
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_coordgate.errors import ImageError
from napari_coordgate.opening import read_file

_ADDRESS = re.compile(r"([a-z][a-z0-9+]+):[/\\]+(.+)", re.IGNORECASE)
_MAX_TEXT_BYTES = 2**27
"""A larger text is damaged, or malicious: a few hundred kB of a zip file expand to this."""
_SECONDS = 10
"""Time that a server may say nothing."""
_METADATA = ("zarr.json", ".zgroup", ".zarray")


_LocalPath: Any = type(Path())


class RemotePath(_LocalPath):  # type: ignore[misc]  # of this system
    """Address of a store on a server, such as ``https://HOST/image.zarr`` or ``s3://BUCKET/...``."""

    def __str__(self) -> str:
        return _ADDRESS.sub(r"\1://\2", super().__str__()).replace("\\", "/")


def as_path(path: str | Path) -> Path:
    """Path of a file, or address of a store; also of one that was made a `Path`."""
    address = _ADDRESS.fullmatch(str(path))
    if not address or Path(path).exists():
        return Path(path)
    if address[1].lower() in ("file", "local"):
        return Path(url2pathname(urlsplit(str(path)).path))
    return cast("Path", RemotePath(path))


def is_zip(path: PurePath) -> bool:
    """Whether a file is a zipped zarr store, by its name."""
    return path.name.lower().endswith((".zarr.zip", ".ozx"))


def open_store(path: Path) -> Any:
    """Root of a store, or the group or array at a path in one; raises if there is none."""
    import zarr  # slow to import
    from zarr.storage import FsspecStore

    from napari_coordgate.io.zarr_decoding import LocalFiles, ZippedFiles

    if isinstance(path, RemotePath):
        try:
            store = FsspecStore.from_url(str(path), storage_options=_options(path), read_only=True)
        except ImportError:
            raise _not_installed(path) from None
        try:
            return zarr.open(store, mode="r")
        except FileNotFoundError:
            raise ImageError(f"{path} has no zarr store; check the address.") from None
    if is_zip(path):
        return zarr.open(ZippedFiles(path, mode="r"), path=_folder_in_zip(path), mode="r")
    return zarr.open(LocalFiles(path, read_only=True), mode="r")


def read_text(file: Path) -> str:
    """Text of a file in a store; empty if there is none."""
    if isinstance(file, RemotePath):
        return _read_remote(file)
    for archive in file.parents:
        if is_zip(archive) and archive.is_file():
            inside = _folder_in_zip(archive), file.relative_to(archive).as_posix()
            name = "/".join(filter(None, inside))
            with zipfile.ZipFile(archive) as opened:
                if name not in opened.namelist():
                    return ""
                # The directory of a zip file may claim any size.
                with opened.open(name) as entry:
                    found = entry.read(_MAX_TEXT_BYTES + 1)
            if len(found) > _MAX_TEXT_BYTES:
                raise ImageError(f"{file} is too large; make the zip file again.")
            return found.decode(errors="replace")
    return read_file(file).decode(errors="replace") if file.is_file() else ""


def _read_remote(file: Path) -> str:
    import fsspec

    try:
        with fsspec.open(str(file), "rb", **_options(file)) as opened:
            return bytes(opened.read()).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _options(path: Path) -> dict[str, Any]:
    """Options of fsspec: buckets are read as by anyone, unless there are credentials.

    The library waits minutes for a server that says nothing.
    """
    if str(path).startswith("http"):
        from aiohttp import ClientTimeout

        silence = ClientTimeout(total=None, sock_connect=_SECONDS, sock_read=_SECONDS)
        return {"client_kwargs": {"timeout": silence}}
    is_anonymous = str(path).startswith("s3:") and not any(
        name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE")
    )
    return {"anon": True} if is_anonymous else {}


def _not_installed(path: Path) -> ImageError:
    return ImageError(
        f"{path} needs libraries that are not installed; run "
        'python -m pip install "napari-coordgate[remote]".'
    )


def _folder_in_zip(path: Path) -> str:
    """Folder of the store in a zip file, which may have been made of the folder as a whole."""
    with zipfile.ZipFile(path) as opened:
        folders = [
            name.rpartition("/")[0]
            for name in opened.namelist()
            if name.rpartition("/")[2] in _METADATA
        ]
    return min(folders, key=len, default="")
