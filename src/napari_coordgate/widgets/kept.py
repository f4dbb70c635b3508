"""File of a user in which forms, and the folders of files of each kind, are kept."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSettings


def store() -> QSettings:
    """File of this user in which forms and folders are kept."""
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-coordgate", "window"
    )


def last_folder(files: str) -> str:
    """Folder of the last file of a kind, given by the filter of its dialog; empty if unknown."""
    folder = store().value(_key(files), "")
    return folder if isinstance(folder, str) and folder and _is_folder(folder) else ""


def keep_folder(files: str, path: str | Path) -> None:
    """Keep the folder of a file that was chosen in a dialog."""
    store().setValue(_key(files), str(Path(path).parent))


def kept_folder(value: object) -> Path | None:
    """Folder that was kept; None where it is gone, or no folder."""
    return Path(value) if isinstance(value, str) and value and _is_folder(value) else None


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):  # no path at all
        return False


def _key(files: str) -> str:
    return f"folders/{files.partition(' ')[0]}"
