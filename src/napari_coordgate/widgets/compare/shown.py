"""Results of a comparison as layers, one for each method."""

from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_coordgate.config import Settings
from napari_coordgate.io import Image
from napari_coordgate.version import __version__
from napari_coordgate.widgets.compare.request import CompareRequest
from napari_coordgate.widgets.layers import (
    BLURRED,
    DEBLURRED,
    IMAGE,
    copy_appearance,
    copy_transform,
    metadata,
    model_facts,
)

if TYPE_CHECKING:
    from napari_coordgate.comparison import Row


FONT_SIZE = 6.5
"""Font size of the names over images; a dozen may share the canvas."""


class ShownComparison:
    """Rows of a running comparison and their layers; those of an earlier one are hidden."""

    def __init__(
        self,
        viewer: Viewer,
        source: ImageLayer,
        request: CompareRequest,
        psf_field: str,
        before: "ShownComparison | None" = None,
    ) -> None:
        self.viewer, self.source, self.request = viewer, source, request
        self.name = source.name
        self.rows: list[Row] = []
        self.layers: list[ImageLayer | None] = []
        self.fitted_view: tuple[float, tuple[float, ...]] | None = None
        if before is not None:
            before.set_visible(False)
            self.fitted_view = before.fitted_view
        self._options = {**copy_transform(source, 2), **copy_appearance(source)}
        self._facts: dict[str, Any] = {
            "image": source.name,
            "plane": request.plane.index,
            "psf_field": psf_field,
            "camera": request.camera.model_dump(mode="json"),
            "simulated": request.is_sharp,
            "version": __version__,
        }

    @property
    def num_rows(self) -> int:
        """Number of rows at the end, with that of the blurred image if there are metrics."""
        return len(self.request.methods) + self.has_metrics

    @property
    def has_metrics(self) -> bool:
        """Whether there are metrics, because the sharp image is known."""
        return self.request.is_sharp or self.request.truth is not None

    @property
    def best(self) -> "Row | None":
        """Row of the best result; None where the sharp image is unknown."""
        from napari_coordgate.comparison.on_image import best_row  # torch is imported

        return best_row(self.rows)

    @property
    def verdict(self) -> str:
        """Color of the comparison: green with a result that is better, or can be trusted."""
        if self.best is not None:
            return "amber" if self.best.kind == "blurred" else "green"
        verdicts = [row.verdict for row in self.rows if row.verdict]
        return next((color for color in ("green", "amber", "red") if color in verdicts), "amber")

    def show(self, event: object) -> None:
        """Show the result in an event of the job."""
        from napari_coordgate.comparison.on_image import MethodDone, Scene  # torch is imported

        if isinstance(event, Scene):
            corner = self._options["scale"] * event.origin
            self._options["translate"] = self._options["translate"] + corner
        elif isinstance(event, MethodDone):
            self.rows.append(event.row)
            self.layers.append(self._layer(event.row, event.restored))
            if self.viewer.canvas.grid.enabled:
                self.fit_view()
            else:
                self.reveal_one()

    def fit_view(self, *, force: bool = False) -> None:
        """Fit the view to the images side by side, unless the user has moved it since."""
        camera = self.viewer.scene.camera
        untouched = force or self.fitted_view in (None, (camera.zoom, camera.center))
        if self.viewer.canvas.grid.enabled and untouched:
            self.viewer.reset_view()
            self.fitted_view = camera.zoom, camera.center

    def reveal(self, number: int) -> None:
        """Select the layer of a row and make it visible."""
        layer = self.layers[number]
        if layer is None or layer not in self.viewer.layers:
            return
        if not self.viewer.canvas.grid.enabled:  # the layers cover each other
            self.set_visible(False)
        layer.visible = True
        self.viewer.layers.selection.active = layer

    def reveal_one(self) -> None:
        """Show the last result alone: results that cover each other, and their names, pile up."""
        made = [number for number, layer in enumerate(self.layers) if layer is not None]
        if made:
            self.reveal(made[-1])

    def show_names(self) -> None:
        """Show the names over images that are side by side.

        Over images that cover each other, a name crashes napari once its layer is removed.
        """
        for layer in self._results:
            layer.name_overlay.visible = self.viewer.canvas.grid.enabled

    def set_visible(self, visible: bool) -> None:
        """Show or hide all results."""
        for layer in self._results:
            layer.visible = visible

    @property
    def _results(self) -> list[ImageLayer]:
        """Layers that were added, without the image itself."""
        return [layer for layer in self.layers if layer is not None and layer is not self.source]

    def _layer(self, row: "Row", restored: NDArray[Any] | None) -> ImageLayer | None:
        """Add the layer of a row; a blurred input is a layer already."""
        is_input = row.kind == "blurred"
        if restored is None:
            return None
        if is_input and not self.request.is_sharp:
            return self.source
        layer: ImageLayer = self.viewer.add_image(
            restored,
            name=f"{self.name}: {row.method}",
            metadata=metadata(
                BLURRED if is_input else DEBLURRED,
                **self._how(row),
                **{IMAGE: Image(restored, "YX", self.request.plane.image.pixel_size_um)},
            ),
            **self._options,
        )
        layer.name_overlay.visible = self.viewer.canvas.grid.enabled
        layer.name_overlay.font_size = FONT_SIZE
        layer.name_overlay.position = "top_right"  # shows the end of long names, the method
        return layer

    def _how(self, row: "Row") -> dict[str, Any]:
        facts = {**self._facts, "quality": dict(row.quality)}
        if row.kind == "blurred":
            return facts
        method = self.request.methods[row.method]
        facts |= {"method": row.method, "seconds": row.inference_seconds}
        is_classical = isinstance(method, Settings)
        settings = method if is_classical else self.request.runtime
        facts["settings"] = settings.model_dump(mode="json")
        return facts if is_classical else facts | model_facts(row.method, method)
