"""Forms that derive from the models of settings: label, editor, bounds, unit and tooltip."""

from napari_coordgate.widgets.forms.form import SettingsForm
from napari_coordgate.widgets.forms.rows import add_row, collapsible, form_rows

__all__ = ["SettingsForm", "add_row", "collapsible", "form_rows"]
