"""The report of a batch: a line of JSON for each thing that happened.

It is also the batch's memory: from it a second start knows which results are
whole, and what they were made of. Lines are only ever appended, and one that
was cut short, as when the machine fails, is passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_coordgate.errors import OutputError

__all__ = ["REPORT_NAME", "FileLine", "History", "Report", "Result", "RunLine", "read_report"]

Result = Literal["started", "done", "failed", "skipped"]

REPORT_NAME = "deblur-report.jsonl"
LONGEST_LINE = 1_000_000


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
        Of a file that was started and nothing more, the run did not see the end.
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
    folder = ""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for text in iter(lambda: file.readline(LONGEST_LINE), ""):
                line = _parsed(text, path)
                if isinstance(line, RunLine):
                    folder = line.run
                elif line is not None and line.outcome != "skipped":
                    _keep(line, lines)
                    folders[line.file] = folder
    except FileNotFoundError:
        return History()
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(
            f"{path} cannot be read ({error}); move it elsewhere, or choose another folder."
        ) from None
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
        """Write a line, which is on its way to the disk when this returns.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        try:
            self._file.write(line.model_dump_json() + "\n")
            self._file.flush()
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
    # A failure leaves the result of an earlier run where it is.
    if line.outcome == "failed" and earlier is not None and earlier.outcome != "failed":
        return
    lines[line.file] = line


def _parsed(text: str, path: Path) -> RunLine | FileLine | None:
    """Line of a report; None for one that was cut short."""
    is_run = f'"{next(iter(RunLine.__annotations__))}"' in text
    try:
        return (RunLine if is_run else FileLine).model_validate_json(text)
    except ValidationError as error:
        is_cut = error.errors()[0]["type"] == "json_invalid" and text.startswith("{")
    if is_cut:
        return None
    raise OutputError(
        f"{path} is not the report of a batch, or was changed; move it elsewhere, or choose "
        "another folder."
    )


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"


def _cannot_write(path: Path, error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"Cannot write {path}: {reason}; free some space, or choose another folder.")
