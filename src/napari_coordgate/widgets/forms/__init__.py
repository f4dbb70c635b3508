"""Forms that derive from the models of settings: label, editor, bounds, unit and tooltip."""

from napari_coordgate.widgets.forms.form import BAD_COLOR, SettingsForm
from napari_coordgate.widgets.forms.rows import add_row, collapsible, form_rows, pair_row

__all__ = ["BAD_COLOR", "SettingsForm", "add_row", "collapsible", "form_rows", "pair_row"]
