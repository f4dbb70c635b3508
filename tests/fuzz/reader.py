"""What is tested: a function that reads files, and functions that write valid files."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.mutations import Document


class Reader(NamedTuple):
    """A reading function with writers of valid files by name."""

    read: Callable[[Path], object]
    writers: Mapping[str, Callable[[Path], object]]

    def seeds(self) -> list[Document]:
        """Return the valid files."""
        documents: list[Document] = []
        for name, write in self.writers.items():
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder) / name)
                files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
                documents.append(
                    {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
                )
        return documents
