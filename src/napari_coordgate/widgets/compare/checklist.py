"""Checklist of methods: models of the session, and deconvolution."""

from collections.abc import Mapping

from napari_coordgate.config import PSFMode, RichardsonLucyConfig, Settings, WienerConfig
from napari_coordgate.widgets.choices import Checklist
from napari_coordgate.widgets.session import Session

CLASSICAL: Mapping[str, Settings] = {"Wiener": WienerConfig(), "RL": RichardsonLucyConfig()}
"""Default settings of the deconvolution methods, by their names in tables and of layers."""
PSF_NAMES: Mapping[PSFMode, str] = {"field": "full field", "mean": "mean PSF"}
VARIANTS = {
    f"{method}, {words}": (method, psf) for method in CLASSICAL for psf, words in PSF_NAMES.items()
}
"""Method and PSF of each deconvolution, by the names in the list."""
MAX_ROWS = 9
"""Rows visible without scrolling."""


class MethodChecklist(Checklist):
    """Names of the session's models and the deconvolution methods, all ticked at first."""

    def __init__(self, session: Session) -> None:
        super().__init__(
            lambda: [(name, name) for name in (*reversed(list(session.models)), *VARIANTS)],
            starts_ticked=True,
            max_rows=MAX_ROWS,
        )
        self.session = session

    def methods(self, settings: Mapping[str, Settings]) -> dict[str, object]:
        """Ticked methods by name: models, or the given settings of `CLASSICAL` with their PSF."""
        found: dict[str, object] = {}
        for name in self.values:
            if name in self.session.models:
                found[name] = self.session.models[name]
            else:
                method, psf = VARIANTS[name]
                found[name] = settings[method].model_copy(update={"psf": psf})
        return found
