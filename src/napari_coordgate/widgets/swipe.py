"""Before against after: a swipe over the result, and a key that blinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

from napari_coordgate.widgets.layers import (
    BEFORE,
    LiveLayer,
    copy_appearance,
    copy_transform,
    metadata,
    pixels_of,
)

if TYPE_CHECKING:
    from napari_coordgate.widgets.deblur import DeblurredLayer

KEY = "b"


def _read_when_shown(pixels: Any, stacked: int) -> Any:
    """Pixels, of which those of a file are read plane by plane, after so many axes."""
    if isinstance(pixels, np.ndarray) or hasattr(pixels, "dask"):
        return pixels
    import dask.array as da

    return da.from_array(pixels, (1,) * stacked + tuple(pixels.shape[stacked:]), name=False)


class Swipe:
    """Shows the image before over the left part of the result, or instead of it."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._before = LiveLayer(viewer)
        self._result: DeblurredLayer | None = None
        self._is_hidden = False
        viewer.bind_key(KEY, self._blink, overwrite=True)

    @property
    def is_possible(self) -> bool:
        """Whether both layers exist."""
        return self._after is not None and self._blurred is not None

    @property
    def _blurred(self) -> ImageLayer | None:
        layer = None if self._result is None else self._result.of
        return layer if layer in self.viewer.layers else None

    @property
    def _after(self) -> ImageLayer | None:
        layer = None if self._result is None else self._result.layer.layer
        return layer if layer in self.viewer.layers else None

    def take(self, result: DeblurredLayer | None) -> None:
        """Compare another result with its image."""
        self._before.remove()
        self._result = result

    def show_before(self, share: float) -> None:
        """Show the image before over this part of the result, from the left."""
        blurred, after = self._blurred, self._after
        if blurred is None or after is None:
            return
        assert self._result is not None
        pixels = _read_when_shown(self._result.before(pixels_of(blurred)), blurred.ndim - 2)
        axis = -2 if blurred.rgb else -1
        columns = round(share * pixels.shape[axis])
        if columns == 0:
            self._before.remove()
            return
        selected = self.viewer.layers.selection.active
        part: Any = pixels[..., :columns, :] if blurred.rgb else pixels[..., :columns]
        is_new = self._before.show(
            part,
            **copy_transform(after),
            **copy_appearance(after),
            name=f"{blurred.name} before",
            rgb=blurred.rgb,
            metadata=metadata(BEFORE, image=blurred.name),
        )
        if is_new:
            self.viewer.layers.selection.active = selected

    def hide_after(self) -> None:
        """Show the image before."""
        self._set_after_visible(False)

    def show_after(self) -> None:
        """Show the result again."""
        self._set_after_visible(True)

    def _set_after_visible(self, shown: bool) -> None:
        if self._after is not None and self._blurred is not None:
            self._after.visible = shown
            self._blurred.visible = True

    def _blink(self, _: object) -> Iterator[None]:
        """Show the image before as long as the key is held."""
        self.hide_after()
        yield
        self.show_after()
