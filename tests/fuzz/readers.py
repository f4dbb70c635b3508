"""The tested readers, with valid files for each."""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import PIL.Image
import tifffile
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_coordgate.batch.report import Report, TaskResult, read_report
from napari_coordgate.config import (
    Architecture,
    CGUNetConfig,
    ComparisonFile,
    DeblurConfig,
    GaussianLens,
    Lens,
    ModelMethod,
    NetworkMethod,
    TrainingConfig,
    load_lens,
    load_settings,
    network_config,
)
from napari_coordgate.geometry import Window
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, plane_indices, read_image, write_image
from napari_coordgate.io.model_header import FORMAT
from napari_coordgate.model import Model
from napari_coordgate.networks import PSFSamples, build_network
from napari_coordgate.optics import PSFField
from tests.fuzz.reader import Reader
from tests.io.microscopes.files import write_czi, write_lif, write_nd2

FRAME = (24, 20)
SIZE_UM = (0.3, 0.3)
CPU = DeblurConfig(precision="float32")


def numbers(axes: str, dtype: str = "u2") -> NDArray[Any]:
    lengths = {"T": 2, "C": 2, "Z": 2, "Y": 12, "X": 10, "S": 3}
    shape = [lengths[letter] for letter in axes]
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def write(axes: str, path: Path, dtype: str = "u2") -> None:
    several = ("DAPI", "GFP") if "C" in axes else ()
    write_image(path, Image(numbers(axes, dtype), axes, SIZE_UM, channel_names=several))


# Images


def use_image(path: Path) -> None:
    """Read a window of a plane, and the whole plane unless it is very large."""
    image = read_image(path)
    index = next(plane_indices(image))
    view = image.view(index)
    view[:5, :7]
    view[view.shape[0] // 2 :, -3:] if view.shape[0] < 4096 else None
    if view.shape[0] * view.shape[1] < 2**24:
        image.plane(index)


def plain_tiff(path: Path, **options: Any) -> None:
    tifffile.imwrite(path, numbers("YX", "u1").repeat(8, 0).repeat(8, 1), **options)


def two_scenes(path: Path) -> None:
    pixels = numbers("TCZYX")
    write_czi(path, [pixels, pixels[:, :, :1]], ("DAPI", "GFP"), 0.3, 1.0, tiles=2)


def colors_czi(path: Path) -> None:
    write_czi(path, [numbers("ZYXS", "u1")[None, None]], compression="zstd1:ExplicitLevel=2")


def stack_nd2(path: Path, packed: bool = False) -> None:
    steps = {"T": 2.5, "Z": 1.0}
    write_nd2(path, "TZCYX", numbers("TZCYX"), ("DAPI", "GFP"), 0.3, steps, packed)


def stack_lif(path: Path) -> None:
    steps = {"T": 2.5, "Z": 1e-6, "Y": 3e-7, "X": 3e-7}
    write_lif(path, [("TCZYX", numbers("TCZYX")), ("YX", numbers("YX"))], ("DAPI", "GFP"), steps)


# Checkpoints and PSF fields


def use_field(path: Path) -> None:
    field = PSFField.load(path)
    repr(field)
    json.dumps(field.description())
    field.fwhm_px(1, 2)
    field.blur(np.eye(*FRAME), window=Window(0, 0, *FRAME))


def field() -> PSFField:
    return PSFField.from_lens(GaussianLens(sigma_edge_px=1.0, pixel_size_um=0.3), FRAME)


def write_checkpoint(architecture: Architecture, path: Path) -> None:
    config = network_config(
        architecture=architecture,
        **({} if architecture == "weighted-wiener" else {"base_channels": 2, "depth": 2}),
    )
    psfs = torch.zeros(4, 5, 5)
    psfs[:, 2, 2] = 1
    measured = PSFSamples(psfs, torch.zeros(4, 2)) if config.has_wiener_bank else None
    checkpoint = Model(
        config=TrainingConfig(network=config),
        weights=build_network(config, measured).state_dict(),
        frame_shape=FRAME,
        pixel_size_um=0.3,
        psf_field=field() if architecture == "cg-unet" else None,
        step=12,
        history=({"step": 6.0, "psnr": 20.5}, {"step": 12.0, "psnr": float("inf")}),
        metrics={"psnr": 1 / 3},
    )
    checkpoint.save(path)
    # Whoever tampers with a file can leave out its checksum.
    with safe_open(path, "pt") as file:
        header = {FORMAT: file.metadata()[FORMAT]}
    save_file(load_file(path), path, header)


def use_checkpoint(path: Path) -> None:
    checkpoint = Model.load(path)
    repr(checkpoint)
    json.dumps(checkpoint.header())
    deblur(np.eye(*FRAME, dtype=np.float32), checkpoint, config=CPU)


# Settings and reports


def use_training(path: Path) -> None:
    load_settings(TrainingConfig, path).to_yaml()


def use_comparison(path: Path) -> None:
    load_settings(ComparisonFile, path).to_yaml()


def write_comparison(path: Path) -> None:
    methods = (
        NetworkMethod(name="net", network=CGUNetConfig()),
        ModelMethod(name="old", model=path),
    )
    folder = path.parent
    path.write_text(ComparisonFile(methods=methods, images=folder, psf=folder / "f").to_yaml())


def write_report(path: Path) -> None:
    folder, output = Path("/data"), path.parent / "a.ome.tif"
    report = Report(path)
    report.append_run(folder, {"model": "m.safetensors"}, {"tile": 256}, "1.0")
    report.append(folder, TaskResult(folder / "a.tif", "done", output, 1.5, size=9))
    report.close()
    time = re.compile('"time":"[^"]+"')  # the same bytes in each run
    path.write_text(time.sub('"time":"2026-03-02T21:14:07Z"', path.read_text()))


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "model": Reader(
            use_checkpoint,
            {
                f"{name}.safetensors": partial(write_checkpoint, name)
                for name in ("cg-unet", "coordconv-unet", "weighted-wiener")
            },
        ),
        "PSF field": Reader(use_field, {"field.psf.tif": lambda path: field().save(path)}),
        "training settings": Reader(
            use_training, {"run.yaml": lambda path: path.write_text(TrainingConfig().to_yaml())}
        ),
        "lens": Reader(
            load_lens,
            {
                "lens.yaml": lambda path: path.write_text(
                    Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325).to_yaml()
                ),
                "gaussian.yaml": lambda path: path.write_text(GaussianLens().to_yaml()),
            },
        ),
        "comparison": Reader(use_comparison, {"comparison.yaml": write_comparison}),
        "batch report": Reader(read_report, {"deblur-report.jsonl": write_report}),
        "TIFF": Reader(
            use_image,
            {
                "imagej.tif": partial(write, "TZCYX"),
                "plain.tif": plain_tiff,
                "float.tif": partial(write, "YX", dtype="f8"),
                "color.tif": partial(write, "YXS", dtype="u1"),
                "big.tif": partial(plain_tiff, bigtiff=True),
                "tiles.tif": partial(plain_tiff, tile=(16, 16), compression="zlib"),
                "lzw.tif": partial(plain_tiff, compression="lzw", predictor=True, rowsperstrip=8),
                "jpeg.tif": partial(plain_tiff, compression="jpeg"),
            },
        ),
        "OME-TIFF": Reader(
            use_image,
            {
                "stack.ome.tif": partial(write, "TCZYX"),
                "plane.ome.tif": partial(write, "YX", dtype="f4"),
            },
        ),
        "OME-Zarr": Reader(use_image, {"stack.ome.zarr": partial(write, "CZYX")}),
        "PNG": Reader(
            use_image,
            {
                "gray.png": partial(write, "YX", dtype="u1"),
                "deep.png": partial(write, "YX"),
                "bits.png": partial(write, "YX", dtype="?"),
                "color.png": partial(write, "YXS", dtype="u1"),
                "palette.png": lambda path: PIL.Image.new("P", (10, 12)).save(path),
            },
        ),
        "JPEG": Reader(
            use_image,
            {"gray.jpg": lambda path: PIL.Image.fromarray(numbers("YX", "u1")).save(path)},
        ),
        "NumPy": Reader(
            use_image,
            {"stack.npy": partial(write, "ZYX"), "plane.npy": partial(write, "YX", dtype=">f4")},
        ),
        "CZI": Reader(use_image, {"scenes.czi": two_scenes, "colors.czi": colors_czi}),
        "ND2": Reader(
            use_image, {"stack.nd2": stack_nd2, "packed.nd2": partial(stack_nd2, packed=True)}
        ),
        "LIF": Reader(use_image, {"stack.lif": stack_lif}),
    }
)
