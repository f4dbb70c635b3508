"""Laws of tables and figures: they show the values of the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_coordgate.comparison import (
    BLURRED,
    Comparison,
    Row,
    as_table,
    draw_examples,
    draw_parameters,
    draw_radial_error,
)
from napari_coordgate.comparison.comparison import EXAMPLE, row_file, write_pixels
from napari_coordgate.config import ComparisonConfig

RNG = np.random.default_rng(0)


def row(method: str, seed: int | None = None, psnr: float = 20.0, **changes: Any) -> Row:
    settings: dict[str, Any] = {
        "fingerprint": {},
        "method": method,
        "kind": "network" if seed is not None else "wiener",
        "seed": seed,
        "quality": {"psnr": psnr, "ssim": 0.5, "psnr_edge": psnr - 2},
        "image_psnr": (psnr,),
        "radius": (0.25, 0.75),
        "radial_error": (0.01, None),
        "parameters": 0 if seed is None else 1234,
        "steps": None if seed is None else 10,
        "training_seconds": None if seed is None else 100.0,
        "inference_seconds": 0.0123,
        "device": "cpu",
        "stem": f"{method}-{seed}",
    }
    return Row.model_validate(settings | changes)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    rows = (
        row(BLURRED, inference_seconds=None),
        *(row("unet", seed, psnr) for seed, psnr in enumerate((29.0, 30.0, 31.0))),
        row("a|b", psnr=float("inf")),
    )
    for stem in ("sharp", *(r.stem for r in rows)):
        write_pixels(
            row_file(tmp_path, stem, EXAMPLE), RNG.random((30, 40)).astype(np.float32), None
        )
    return Comparison(
        folder=tmp_path, methods=(), config=ComparisonConfig(), command="", machine={}, rows=rows
    )


def test_the_table_has_a_line_for_each_method_with_mean_and_spread(comparison: Comparison) -> None:
    heading, rule, blurred, unet, other = as_table(comparison.rows).splitlines()[:5]
    assert len({line.replace(r"\|", "").count("|") for line in (heading, rule, unet, other)}) == 1
    cells = [cell.strip() for cell in unet.strip("|").split("|")]
    assert cells[:3] == ["unet", "3", "30.00 ± 1.00"]
    assert {"1,234", "10", "100", "12.3"} <= set(cells)
    assert "±" not in blurred
    assert r"a\|b" in other
    assert "inf" in other


def test_a_perfect_row_survives_its_file(comparison: Comparison) -> None:
    for one in comparison.rows:
        assert Row.model_validate_json(one.model_dump_json()) == one


def test_examples_show_every_method_with_its_psnr(comparison: Comparison) -> None:
    sharp = comparison.sharp_example
    images = {"sharp": sharp, **dict.fromkeys(comparison.names, sharp)}
    figure = draw_examples(comparison.rows, images)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["sharp", "blurred\n20.00 dB", "unet\n29.00 dB", "a|b\ninf dB"]
    shown = [image for axes in figure.axes for image in axes.get_images()]
    assert len(shown) == 2 * len(titles)
    assert {image.get_clim() for image in shown} == {(0, 1)}


def test_curves_and_points_are_named_after_their_methods(comparison: Comparison) -> None:
    finite = comparison.rows[:-1]
    for figure in (draw_radial_error(finite), draw_parameters(finite)):
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["blurred", "unet"]
    (axes,) = draw_parameters(finite).axes
    assert axes.get_xscale() == "log"


def test_a_curve_is_the_error_in_decibel(comparison: Comparison) -> None:
    (axes,) = draw_radial_error(comparison.rows).axes
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(np.asarray(x, float), (0.25, 0.75))
    np.testing.assert_allclose(np.asarray(y, float), (20, np.nan))
