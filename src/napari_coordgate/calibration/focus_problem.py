"""What estimates of the focus from the same images share: spectra, noise and lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_coordgate.calibration.spectra import (
    FREQUENCY,
    RINGS,
    TILE,
    Array,
    Indices,
    SpectrumTable,
    TileSpectra,
    spectrum_table,
)
from napari_coordgate.calibration.spectral_fit import (
    FIRST_RING,
    NOISE_SD,
    FocusFit,
    SpectralLikelihood,
    tile_noise,
)
from napari_coordgate.config import Lens
from napari_coordgate.errors import ImageError

_MAX_START_TILES = 300
_PRIOR_DEPTHS = np.array([1.5, 3.0, 1.0, 1.0])  # Prior width, in units of the depth of field.
_MIN_GROUPS = 8  # With fewer images, regions of the images are resampled instead.
_REGIONS_ACROSS = 4

_RING = np.arange(RINGS)
BANDS = {
    "low": (_RING >= FIRST_RING) & (FREQUENCY < 0.2),
    "high": FREQUENCY > 0.11,
}
"""Frequencies of the second opinions. They overlap: the lowest alone tell little of the blur."""


@dataclass(frozen=True, eq=False)
class FocusProblem:
    """What the fits to the same images share."""

    lens: Lens
    table: SpectrumTable
    spectra: TileSpectra
    noise: Array
    group: Indices
    frame_shape: tuple[int, int]
    free: tuple[int, ...]
    noise_sd: float = NOISE_SD

    @classmethod
    def of(
        cls,
        lens: Lens,
        spectra: TileSpectra,
        frame_shape: tuple[int, int],
        free: tuple[int, ...],
        noise: Array | None = None,
        noise_sd: float = NOISE_SD,
    ) -> FocusProblem:
        """Problem of estimating the focus of a lens; the noise is measured if it is not given."""
        noise = tile_noise(spectra) if noise is None else noise
        detail = spectra.power[:, FIRST_RING:8].mean(axis=1) / noise
        if np.count_nonzero(detail > 3.0) < 9:
            raise ImageError(
                "The images contain too little detail above the noise; use images with structure "
                "all over the frame, or beads (calibrate beads)."
            )
        table = spectrum_table(lens)
        group = _groups(spectra, frame_shape)
        return cls(lens, table, spectra, noise, group, frame_shape, free, noise_sd)

    @property
    def depth_um(self) -> float:
        """Depth of field of the lens."""
        return self.lens.wavelength_nm * 1e-3 * self.lens.refractive_index / self.lens.na**2

    def likelihood(self, part: Indices | slice = slice(None), **options: Any) -> SpectralLikelihood:
        """Likelihood of some of the tiles."""
        return SpectralLikelihood(
            self.spectra[part],
            self.table,
            self.frame_shape,
            self.lens.axis,
            self.noise[part],
            sd=_PRIOR_DEPTHS * self.depth_um,
            group=self.group[part],
            noise_sd=self.noise_sd,
            **options,
        )

    def held(self) -> Array:
        """Focus of the lens that was given."""
        return np.array(
            [self.lens.defocus_um, self.lens.field_curvature_um, *self.lens.tilt_um], np.float64
        )

    def rough_fit(self, relative_curvature: float) -> FocusFit:
        """Fit to some of the tiles from one of the starts."""
        number = len(self.spectra)
        part = np.unique(np.linspace(0, number - 1, min(number, _MAX_START_TILES)).astype(np.intp))
        start = self.held()
        if 0 in self.free:
            start[0] = 0.0
        if 1 in self.free:
            start[1] = relative_curvature * self.table.max_defocus_um * self.sign
        return self.likelihood(part).fit(start, self.free, steps=15, tolerance=0.1)

    @property
    def sign(self) -> float:
        """Sign of the field curvature, which one plane cannot tell."""
        return -1.0 if self.lens.field_curvature_um < 0 else 1.0

    def resampled_fit(self, best: FocusFit, generator: np.random.Generator) -> Array:
        """Focus from images drawn with replacement."""
        numbers = np.unique(self.group)
        drawn = generator.choice(numbers, len(numbers))
        weight = np.bincount(drawn, minlength=self.group.max() + 1)[self.group].astype(np.float64)
        part = np.flatnonzero(weight)
        likelihood = self.likelihood(part, weight=weight[part])
        return likelihood.fit(best.focus, self.free, steps=4, tolerance=0.3).focus


def _groups(spectra: TileSpectra, frame_shape: tuple[int, int]) -> Indices:
    """Groups of tiles that differ at random: images, or regions of few images."""
    if len(np.unique(spectra.image)) >= _MIN_GROUPS:
        return spectra.image
    relative = (spectra.corner + TILE / 2.0) / frame_shape
    row, column = np.minimum(relative * _REGIONS_ACROSS, _REGIONS_ACROSS - 1).astype(np.intp).T
    group: Indices = (spectra.image * _REGIONS_ACROSS + row) * _REGIONS_ACROSS + column
    return group
