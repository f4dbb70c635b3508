"""The report of a batch: JSON lines, from which the next run knows which results are complete.

Lines are only appended. A line that was cut short, for example by a power failure, is ignored.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import from_json

from napari_coordgate.batch.sources import is_inside, source_key
from napari_coordgate.errors import OutputError
from napari_coordgate.events import FileChanged
from napari_coordgate.io.files import check_not_linked
from napari_coordgate.opening import regular

MAX_LINE_BYTES = 1_000_000
FIRST_BYTES = b'{"time":"'
"""Start of every report, even if its writer was killed while writing the first line."""
OLD_KEYS = {"outcome": "status", "why": "message", "recipe": "config_hash"}
"""Keys of reports before version 0.1, and their names today."""


@dataclass(frozen=True)
class TaskResult(FileChanged):
    """Status of one file of a batch: the event that callers get, and a line of the report.

    `size` and `modified_ns` are those of the source. `output_size` and `output_modified_ns`
    are those of the result; while the file is running, those of the result that is replaced.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    config_hash: str = ""
    size: int = 0
    modified_ns: int = 0
    output_size: int | None = None
    output_modified_ns: int | None = None
    is_disk_full: bool = False


_RESULT = TypeAdapter(TaskResult)


def read_report(path: Path, suffix: str = "") -> dict[str, TaskResult]:
    """Read the last known status of each file, by its path within the folder it was found in.

    Of a file with several images there is a status for each, by its `source_key`. Files that were
    skipped are left out; a file with status "running" was interrupted. Results without this
    suffix are left out, too: a file has one of each format.
    """
    results: dict[str, TaskResult] = {}
    folder: str | None = None
    first = b""
    check_not_linked(path)
    try:
        with open(path, "rb", opener=regular) as file:
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                first = first or line
                values = _parse(line)
                if isinstance(values.get("run"), str):
                    folder = values["run"]
                elif (result := _read_result(values, folder or "", path.parent)) and (
                    result.output is None or result.output.name.endswith(suffix)
                ):
                    _update(results, source_key(values["file"], result.scene), result)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error}); move it elsewhere, or choose another folder."
        ) from None
    is_report = folder is not None or results or FIRST_BYTES.startswith(first[: len(FIRST_BYTES)])
    if first and not is_report:
        raise OutputError(
            f"{path} is not the report of a batch; move it elsewhere, or choose another folder."
        )
    return results


class Report:
    """The report of a batch that writes to a folder, opened for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_not_linked(path)
        try:
            self._file: TextIO = open(  # noqa: SIM115 - closed by `close`
                path, "a+", encoding="utf-8", errors="replace", newline="\n", opener=regular
            )
        except OSError as error:
            raise _cannot_write(path, error) from error
        if self._file.tell() and not _ends_with_newline(path):
            self._file.write("\n")

    def append_run(
        self, folder: Path, files: Mapping[str, str], settings: Mapping[str, Any], version: str
    ) -> None:
        """Write the line that starts a run; ``files`` are those of its method."""
        self._append(run=str(folder), **files, settings=settings, program=version)

    def append(self, folder: Path, result: TaskResult) -> None:
        """Write the status of a file of this folder; "running" is on the disk on return.

        So a result that appears later is known to be ours, even after a power failure.
        """
        output = result.output and result.output.relative_to(self.path.parent).as_posix()
        self._append(
            file=result.source.relative_to(folder).as_posix(),
            **({} if result.scene is None else {"scene": result.scene}),
            status=result.status,
            seconds=result.seconds,
            message=result.message,
            note=result.note,
            **_trust(result),
            output=output,
            config_hash=result.config_hash,
            size=result.size,
            modified_ns=result.modified_ns,
            output_size=result.output_size,
            output_modified_ns=result.output_modified_ns,
        )
        if result.status == "running":
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError:  # what could not be written was reported before
            return

    def _append(self, **values: object) -> None:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = json.dumps({"time": now, **values}, separators=(",", ":"), ensure_ascii=False)
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise _cannot_write(self.path, error) from error


def _trust(result: TaskResult) -> dict[str, object]:
    """Fields of a result whose trust was asked for."""
    if not result.verdict:
        return {}
    return {
        "verdict": result.verdict,
        "contradicted": result.contradicted,
        "expected_error": result.expected_error,
    }


def _parse(line: bytes) -> dict[str, Any]:
    """Values of a line; empty if it is not a JSON object."""
    try:
        values = from_json(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _read_result(values: dict[str, Any], folder: str, output: Path) -> TaskResult | None:
    """Status of a file from a line, also from an old one; None if there is none, or skipped."""
    fields = {OLD_KEYS.get(key, key): value for key, value in values.items() if key != "time"}
    if fields.get("status") == "started":
        fields["status"] = "running"
    if fields.get("status") not in ("running", "done", "failed"):
        return None
    try:
        fields["source"] = Path(folder, fields.pop("file"))
        result = _RESULT.validate_python(fields)
        if result.output is None:
            return result
        return replace(result, output=_inside(output, result.output))
    except (KeyError, TypeError, ValueError):  # pydantic's error is a ValueError
        return None


def _inside(folder: Path, name: Path) -> Path:
    """Path of a result in the folder of its report; ValueError if it is anywhere else.

    Results are replaced and removed, and a report is no more to be trusted than any file.
    """
    target = folder / name
    if ".." in name.parts or "\0" in str(name) or not is_inside(target, folder):
        raise ValueError(f"{name} is not in the folder.")
    return target


def _update(results: dict[str, TaskResult], name: str, result: TaskResult) -> None:
    """Let a line replace an earlier one, unless a failure follows a run that left a result.

    What a run was to replace is ours only if an earlier line says so: it may be a user's own file
    that was to be overwritten.
    """
    earlier = results.get(name)
    if result.status == "running" and (earlier is None or _output(earlier) != _output(result)):
        result = replace(result, output_size=None, output_modified_ns=None)
    has_output = earlier is not None and (
        earlier.status == "done" or earlier.output_size is not None
    )
    if result.status != "failed" or not has_output:
        results[name] = result


def _output(result: TaskResult) -> tuple[object, ...]:
    """Identity of a result."""
    return result.output, result.output_size, result.output_modified_ns


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"Cannot write {path}: {reason}; free some space, or choose another folder.")
