"""How well two images of the same content agree, which neither smoothing nor noise can feign.

In tiles of the part that both images show, on rings of frequencies, the power spectra P1 and P2
and the cross spectrum C give the concordance 2 C / (P1 + P2) (Lin, 1989): 1 for equal images, less
if one is blurred more. As numerator and denominator have the same frequency, smoothing both images
changes nothing. The noise is subtracted from the denominator before deblurring, but not after it:
only the deblurred images lose by their noise, so that its removal is no gain. A concordance after
deblurring counts as far as the detail that both images share, the root of C, is still there.

References
----------
L. I.-K. Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45,
255 (1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student

from napari_coordgate.calibration.shifted_tiles import USED, TilePairs
from napari_coordgate.calibration.spectra import FREQUENCY, TILE, Array, Bools, Indices
from napari_coordgate.errors import ImageError
from napari_coordgate.geometry import field_vectors

ZONES = "similar blur", "in between", "edge and middle"
"""Thirds of the tiles, by how much their distance from the center differs in the two images."""

FREQUENCIES = FREQUENCY[USED]
"""Frequency of each ring, cycles per pixel."""

_MIN_COHERENCE = 1.0 / 7.0  # Of the rings that are compared, as usual for Fourier ring correlation.
_MIN_RINGS = 3
_MIN_TILES = 12
_MIN_BLOCKS = 3
_BLOCK = TILE  # Side of the blocks of the bootstrap, pixels.
_SAMPLES = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class ZoneAgreement:
    """Agreement of two images in tiles whose blur differs by about the same between them.

    Attributes
    ----------
    name : {"similar blur", "in between", "edge and middle"}
        How much the distance of the content from the center of the frame differs.
    tiles : int
        Number of tiles of 64 x 64 pixels.
    before, after : float
        Agreement, -1 to 1, of the images and of the deblurred images.
    interval : tuple of float
        95 % interval of ``after - before``.
    detail : float
        Amplitude of the detail that both images share, relative to that before deblurring.
    before_by_frequency, after_by_frequency : ndarray, shape (R,)
        Agreement at each frequency.
    """

    name: str
    tiles: int
    before: float
    after: float
    interval: tuple[float, float]
    detail: float
    before_by_frequency: Array = field(default_factory=lambda: np.zeros(0))
    after_by_frequency: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def change(self) -> float:
        """Agreement after deblurring, minus that before."""
        return self.after - self.before


def usable_pairs(pairs: TilePairs, names: str) -> TilePairs:
    """Tiles with detail above the noise in both images; ImageError if they are too few."""
    if len(pairs) < _MIN_TILES:
        raise ImageError(
            f"{names} share only {len(pairs)} tiles of {TILE} x {TILE} pixels that are not "
            f"saturated, at least {_MIN_TILES} are needed; use larger frames, a smaller shift, or "
            "a shorter exposure."
        )
    usable = pairs.with_detail(min_central=0.0)
    if len(usable) < _MIN_TILES:
        raise ImageError(
            f"{len(usable)} of {len(pairs)} tiles that {names} share have detail above the noise, "
            f"at least {_MIN_TILES} are needed; use images with structure all over the frame, or "
            "with more light."
        )
    return usable


def compare_zones(
    before: TilePairs, after: Array, frame_shape: tuple[int, int], names: str
) -> tuple[ZoneAgreement, ...]:
    """Agreement in each of `ZONES`, of tiles and their power (T, R, 3) in the deblurred images."""
    weight = 1.0 / np.sqrt(before.power[..., 0] * before.power[..., 2])
    rings = _coherent_rings(np.mean(weight * before.power[..., 1], axis=0), names)
    noise = before.noise.sum(axis=1)[:, None]
    terms = weight[..., None] * np.stack(
        [
            2.0 * before.power[..., 1],
            before.power[..., 0] + before.power[..., 2] - noise,
            2.0 * after[..., 1],
            after[..., 0] + after[..., 2],
        ],
        axis=-1,
    )
    center = before.positions.mean(axis=2)
    radius = np.linalg.norm(field_vectors(center, frame_shape), axis=-1)
    order = np.argsort(np.abs(radius[:, 0] ** 2 - radius[:, 1] ** 2), kind="stable")
    pixels = (center[:, 0] + 1.0) / 2.0 * frame_shape
    row, column = (pixels // _BLOCK).astype(np.intp).T
    block = row * (frame_shape[1] + 1) + column
    thirds: Sequence[Indices] = np.array_split(order, len(ZONES))
    return tuple(
        _zone(name, terms[chosen][:, :rings], block[chosen], names)
        for name, chosen in zip(ZONES, thirds, strict=True)
    )


def _coherent_rings(coherence: Array, names: str) -> int:
    """Number of rings, from the lowest frequency on, on which the images share detail."""
    is_shared: Bools = np.append(coherence >= _MIN_COHERENCE, False)
    rings = int(np.argmin(is_shared))
    if rings < _MIN_RINGS:
        raise ImageError(
            f"{names} share too little detail above the noise; use images with finer structure, or "
            "with more light."
        )
    return rings


def _zone(name: str, terms: Array, block: Indices, names: str) -> ZoneAgreement:
    """Agreement of tiles of terms (T, R, 4), with its interval from blocks of them."""
    _, number = np.unique(block, return_inverse=True)
    blocks = int(number.max()) + 1
    if blocks < _MIN_BLOCKS:
        raise ImageError(
            f"The part that {names} share is too small; use larger frames, or shift the sample "
            "along one side of the frame only."
        )
    by_block = np.zeros((blocks, *terms.shape[1:]))
    np.add.at(by_block, number, terms)
    sums = by_block.sum(axis=0)
    before, after = _agreement(sums)
    detail = float(np.sqrt(np.abs(sums[:, 2]).sum() / max(float(sums[:, 0].sum()), 1e-300)))
    draws = np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), _SAMPLES)
    drawn = _agreement(np.tensordot(draws.astype(np.float64), by_block, axes=1))
    spread = np.std((drawn[1] - drawn[0]).mean(axis=-1)) * np.sqrt(blocks / (blocks - 1))
    half = float(spread * student.ppf((1 + _CONFIDENCE) / 2, blocks - 1))
    change = float(np.mean(after - before))
    return ZoneAgreement(
        name=name,
        tiles=len(terms),
        before=float(before.mean()),
        after=float(after.mean()),
        interval=(change - half, change + half),
        detail=detail,
        before_by_frequency=before,
        after_by_frequency=after,
    )


def _agreement(sums: Array) -> tuple[Array, Array]:
    """Agreement (..., R) before and after, of summed terms (..., R, 4)."""
    cross, total, cross_after, total_after = np.moveaxis(sums, -1, 0)
    tiny = 1e-12 * np.abs(total).max()
    before = cross / np.maximum(np.maximum(total, np.abs(cross)), tiny)
    after = cross_after / np.maximum(total_after, 1e-300)
    kept = np.sqrt(np.abs(cross_after) / np.maximum(cross, tiny))
    return before, after * np.minimum(kept, 1.0)
