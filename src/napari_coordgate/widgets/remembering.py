"""What a user typed into forms, kept between starts of napari."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_coordgate.config import Settings
from napari_coordgate.widgets import kept
from napari_coordgate.widgets.forms import SettingsForm
from napari_coordgate.widgets.panel import Links, Panel

DELAY_MS = 300
"""Time without a further change after which a form is written."""
RESTORE = "Restore defaults"


class Memory:
    """Keeps the forms of a panel, shows them as they were left, and can restore the defaults."""

    def __init__(self, panel: Panel) -> None:
        self._panel, self._key = panel, type(panel).__name__
        self._forms = list(outer_forms(panel))
        self._defaults = [form.settings for form in self._forms]
        self._timer = QTimer(panel)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._write)
        for form in self._forms:
            form.changed.connect(self._timer.start)
        panel.kept_changed.connect(self._timer.start)
        if self._forms:
            self.links = Links()
            self.links.offer({RESTORE: self.restore_defaults})
            panel.body.addWidget(self.links)
        self._show()

    def restore_defaults(self) -> None:
        """Show the settings that the forms had before anyone changed them."""
        for form, defaults in zip(self._forms, self._defaults, strict=True):
            form.set_settings(defaults)
            form.changed.emit()
        self._panel.restore()

    def _show(self) -> None:
        """Show the forms as they were left, and what else the panel keeps."""
        read = self._read()
        forms, others = read.get("forms"), read.get("others")
        for form, defaults, changes in zip(
            self._forms, self._defaults, forms if isinstance(forms, list) else [], strict=False
        ):
            try:
                form.set_settings(type(defaults).model_validate(defaults.model_dump() | changes))
            except (ValidationError, TypeError):  # written by another version
                continue
        try:
            self._panel.recall(others if isinstance(others, dict) else {})
        except (AttributeError, KeyError, TypeError, ValueError):  # likewise
            self._panel.recall({})

    def _read(self) -> dict[str, Any]:
        try:
            read = json.loads(str(kept.store().value(self._key, "{}")))
        except (ValueError, RecursionError):
            return {}
        return read if isinstance(read, dict) else {}

    def _write(self) -> None:
        """Write what differs from the defaults, so that new defaults are taken."""
        forms = [form.settings for form in self._forms]
        if any(settings is None for settings in forms):  # half typed
            return
        pairs = zip(forms, self._defaults, strict=True)
        values = [_changes(settings, defaults) for settings, defaults in pairs]
        written = {"forms": values, "others": self._panel.others_to_keep()}
        kept.store().setValue(self._key, json.dumps(written))


def _changes(settings: Settings, defaults: Settings) -> dict[str, Any]:
    """Values that differ from the defaults."""
    before = defaults.model_dump(mode="json")
    after = settings.model_dump(mode="json")
    return {name: value for name, value in after.items() if value != before[name]}


def outer_forms(parent: QWidget) -> Iterator[SettingsForm]:
    """Forms of a widget that are not part of another form."""
    for form in parent.findChildren(SettingsForm):
        above = form.parentWidget()
        while above is not None and above is not parent and not isinstance(above, SettingsForm):
            above = above.parentWidget()
        if above is parent:
            yield form
