"""The report of a batch: a line of JSON for each thing that happened.

It is also the batch's memory: from it a second start knows which results are
whole, and what they were made of. Lines are only ever appended, and one that
was cut short, as when the machine fails, is passed over.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field

from napari_coordgate.errors import OutputError

__all__ = ["REPORT_NAME", "FileLine", "History", "Report", "Result", "RunLine", "read_report"]

Result = Literal["started", "done", "failed", "skipped"]

REPORT_NAME = "deblur-report.jsonl"
LONGEST_LINE = 1_000_000
FIRST_LINE = b'{"time":"'
"""How each report begins, however short the moment was that its writer had."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    time: datetime = Field(default_factory=lambda: datetime.now(UTC))


class RunLine(_Line):
    """The start of a run.

    Attributes
    ----------
    run : str
        The searched folder.
    model : str
        The checkpoint.
    settings : dict
        Settings of the run.
    program : str
        Version of this program.
    """

    run: str
    model: str
    settings: dict[str, Any]
    program: str


class FileLine(_Line):
    """What came of one file.

    Attributes
    ----------
    file : str
        Its path within the searched folder.
    outcome : {"started", "done", "failed", "skipped"}
        Where a file was started and no later line tells of it, the run was killed.
    seconds : float
        Time that it took.
    why : str
        What went wrong, or what its user should know.
    output : str or None
        Its result, by the path within the folder of results.
    recipe : str
        Stands for the model and the settings behind the result.
    size, modified_ns : int
        Of the source.
    output_size, output_modified_ns : int or None
        Of the result: when it was started, that of an earlier run, if there was one.
    """

    file: str
    outcome: Result
    seconds: float = 0.0
    why: str = ""
    output: str | None = None
    recipe: str = ""
    size: int = 0
    modified_ns: int = 0
    output_size: int | None = None
    output_modified_ns: int | None = None


@dataclass(frozen=True)
class History:
    """What a report tells of each file: the last line of it, and the folder that it was in.

    Attributes
    ----------
    lines : dict of str to FileLine
        By the file's path within its folder; of those that may have left a result.
    folders : dict of str to str
        The searched folder, likewise.
    """

    lines: Mapping[str, FileLine] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)


def read_report(path: Path) -> History:
    """Read what earlier runs did.

    Parameters
    ----------
    path : Path
        The report; it may be missing.

    Returns
    -------
    History
        What there is to know.

    Raises
    ------
    OutputError
        If the file is no report, or cannot be read.
    """
    lines: dict[str, FileLine] = {}
    folders: dict[str, str] = {}
    folder, first = "", None
    try:
        with path.open("rb") as file:
            for text in iter(lambda: file.readline(LONGEST_LINE), b""):
                first = first or text
                line = _parsed(text)
                if isinstance(line, RunLine):
                    folder = line.run
                elif line is not None and line.outcome != "skipped":
                    _keep(line, lines)
                    folders[line.file] = folder
    except FileNotFoundError:
        return History()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error}); move it elsewhere, or choose another folder."
        ) from None
    if first is not None and not (folder or lines or FIRST_LINE.startswith(first[:9])):
        raise OutputError(
            f"{path} is not the report of a batch; move it elsewhere, or choose another folder."
        )
    return History(lines, folders)


class Report:
    """The report of one run, to be appended to.

    Parameters
    ----------
    path : Path
        The file; it is made where it is missing.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: TextIO = path.open("a+", encoding="utf-8", newline="\n")
        except OSError as error:
            raise _cannot_write(path, error) from error
        if self._file.tell() and not _ends_with_newline(path):
            self._file.write("\n")

    def append(self, line: RunLine | FileLine) -> None:
        """Write a line; the start of a file is on the disk before this returns.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        try:
            self._file.write(line.model_dump_json() + "\n")
            self._file.flush()
            if isinstance(line, FileLine) and line.outcome == "started":
                os.fsync(self._file.fileno())
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError:  # what could not be written was complained of before
            return


def _keep(line: FileLine, lines: dict[str, FileLine]) -> None:
    """Let a line stand for its file, unless it says less than an earlier one."""
    earlier = lines.get(line.file)
    has_result = earlier is not None and (
        earlier.outcome == "done" or earlier.output_size is not None
    )
    # A failure leaves the result of an earlier run where it is.
    if line.outcome != "failed" or not has_result:
        lines[line.file] = line


def _parsed(text: bytes) -> RunLine | FileLine | None:
    """Line of a report; None for one that was cut short, or is of another kind."""
    try:
        values = json.loads(text)
        kind = RunLine if isinstance(values, dict) and "run" in values else FileLine
        return kind.model_validate(values)
    except (ValueError, RecursionError):  # pydantic's error is a ValueError, too
        return None


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"Cannot write {path}: {reason}; free some space, or choose another folder.")
