"""Links to the documentation, on the site that the package names."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, metadata

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

HELP = "Help"


@lru_cache(maxsize=1)
def site() -> str:
    """Address of the documentation; empty where the package names none."""
    try:
        entries = metadata("napari-coordgate").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    urls: dict[str, str] = dict(entry.split(", ", 1) for entry in entries)
    return urls.get("Documentation", "").rstrip("/")


def help_on(page: str) -> dict[str, Callable[[], object]]:
    """Link to a page of the documentation, such as "plugin/#deblur", if there is a site."""
    address = site()
    return {HELP: partial(_open, f"{address}/{page}")} if address else {}


def _open(address: str) -> None:
    QDesktopServices.openUrl(QUrl(address))
