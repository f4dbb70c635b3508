"""Package of a model for the BioImage Model Zoo."""

import gc
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_coordgate.config import PackageConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.export.onnx_file import (
    INPUT,
    OPSET,
    OUTPUT,
    POSITION,
    FrameNetwork,
    descriptions,
    onnx_bytes,
    onnx_metadata,
    require,
)
from napari_coordgate.geometry import format_shape
from napari_coordgate.model import Model
from napari_coordgate.normalization import Normalizer

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

_PAPER = (
    "S. Howard, P. Norreys and A. Döpp, CoordGate: Efficiently Computing Spatially-Varying "
    "Convolutions in Convolutional Neural Networks (2024)"
)
_PAPER_DOI = "10.48550/arXiv.2401.04680"
_SMALLEST_RANGE = 1e-9
"""Added to the range of an image, so that a constant one divides by something."""


def write_package(model: Model, package: PackageConfig, path: Path) -> None:
    """Write a package: description, weights (ONNX), documentation, and a test image."""
    require("onnx", "bioimageio.spec")
    from loguru import logger

    logger.disable("bioimageio")  # what matters is raised
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of files that the library leaves open
        path.write_bytes(_packed(model, package, Path(folder)))
        gc.collect()  # closes them, as Windows does not remove open files


def _packed(model: Model, package: PackageConfig, folder: Path) -> bytes:
    """Content of a package whose files are made in an empty folder."""
    from bioimageio.spec import save_bioimageio_package
    from pydantic import ValidationError

    (folder / "weights.onnx").write_bytes(onnx_bytes(model))
    (folder / "README.md").write_text(documentation(model), encoding="utf-8")
    image = test_image(model.frame_shape)
    np.save(folder / "test_input.npy", image[None, None])
    np.save(folder / "test_output.npy", _deblurred(model, image)[None, None])
    try:
        description = _description(model, package, folder)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingsError(
            f"The package's {problem['loc'][0]} is not valid: {problem['msg']}."
        ) from None
    return save_bioimageio_package(description, output_path=folder / "package.zip").read_bytes()


def test_image(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Spots on a dark background with noise, in counts (H, W)."""
    random = np.random.default_rng(0)
    spots = (random.random(shape) > 0.99).astype(np.float64)
    light = 100 + 20_000 * ndimage.gaussian_filter(spots, 2.0)
    return random.poisson(light).astype(np.float32)


def _deblurred(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Output of the network for an image, scaled as the package says."""
    scaling = model.config.scaling
    low, high = np.percentile(image, (scaling.low_percentile, scaling.high_percentile))
    scaled = Normalizer(float(low), float(high) + _SMALLEST_RANGE).normalize(image)
    with torch.inference_mode():
        output = FrameNetwork(model)(torch.from_numpy(scaled)[None, None])[0, 0]
    deblurred: NDArray[np.float32] = output.numpy()
    return deblurred


def documentation(model: Model) -> str:
    """README of a package, in Markdown."""
    frame, size = format_shape(model.frame_shape), model.pixel_size_um
    pixel = "unknown" if size is None else f"{size:g} um"
    blurred, deblurred = descriptions(model)
    camera = model.camera
    validation = model.describe_validation() if model.metrics else "not measured"
    return f"""# {model!r}

Deblurs microscopy images that are sharp in the middle and soft at the edge, for one lens and one
camera. Trained with napari-coordgate; the method is CoordGate ({_PAPER}, doi:{_PAPER_DOI}).

## Frame and position

{POSITION}

- Frame: {frame} pixels (height x width). Tiles cannot be predicted one by one, since the weights
  contain the gating maps of the whole frame.
- Pixel size in the sample: {pixel}.
- Noise that it was trained on: {camera.photons or "an unknown number of"} photons in a bright
  pixel, read noise {camera.read_noise:g} electrons.

## Input and output

- Input `{INPUT}`: {blurred} The preprocessing in this package does that scaling.
- Output `{OUTPUT}`: {deblurred}

## Validation

On simulated images with the blur and the noise of this lens and camera: {validation}.
On images of another lens or with other noise a network can do harm: compare the frame, the pixel
size and the noise with yours, and check the result on a sample that you know.
"""


def _description(model: Model, package: PackageConfig, folder: Path) -> "ModelDescr":
    """Description of the package's files."""
    from bioimageio.spec.model import v0_5 as spec

    name, _, affiliation = (part.strip() for part in package.author.partition(","))
    frame = " x ".join(map(str, model.frame_shape))
    return spec.ModelDescr(
        name=package.title or f"CoordGate {model.config.network.architecture} ({frame} pixels)",
        description="Deblurs images of one lens and camera that are soft at the edge of the frame.",
        authors=[spec.Author(name=name, affiliation=affiliation or None)],
        cite=[spec.CiteEntry(text=_PAPER, doi=_PAPER_DOI)],
        license=package.license,
        documentation=spec.FileDescr(source=folder / "README.md"),
        tags=["deblurring", "deconvolution", "restoration", "fluorescence-light-microscopy", "2d"],
        inputs=[_input(model, folder / "test_input.npy")],
        outputs=[_output(model, folder / "test_output.npy")],
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(source=folder / "weights.onnx", opset_version=OPSET)
        ),
        config=spec.Config(napari_coordgate=onnx_metadata(model)),
    )


def _input(model: Model, path: Path) -> Any:
    """Description of the input tensor; the package scales it."""
    from bioimageio.spec.model import v0_5 as spec

    scaling = model.config.scaling
    scale = spec.ScaleRangeKwargs(
        axes=("y", "x"),
        min_percentile=scaling.low_percentile,
        max_percentile=scaling.high_percentile,
        eps=_SMALLEST_RANGE,
    )
    return spec.InputTensorDescr(
        id=INPUT,
        description="Image of the whole frame, in any linear unit of intensity.",
        **_tensor(model, spec.SpaceInputAxis, path),
        preprocessing=[spec.ScaleRangeDescr(kwargs=scale)],
    )


def _output(model: Model, path: Path) -> Any:
    """Description of the output tensor."""
    from bioimageio.spec.model import v0_5 as spec

    return spec.OutputTensorDescr(
        id=OUTPUT,
        description="Deblurred image, on the scale of the input after preprocessing.",
        **_tensor(model, spec.SpaceOutputAxis, path),
    )


def _tensor(model: Model, space: Any, path: Path) -> dict[str, Any]:
    """What input and output have alike: axes (batch, channel, frame), values, and a test file."""
    from bioimageio.spec.model import v0_5 as spec

    size = model.pixel_size_um
    scale = {} if size is None else {"scale": size, "unit": "micrometer"}
    axes = [
        spec.BatchAxis(),
        spec.ChannelAxis(channel_names=["intensity"]),
        *(
            space(id=name, size=length, **scale)
            for name, length in zip("yx", model.frame_shape, strict=True)
        ),
    ]
    data = spec.IntervalOrRatioDataDescr(type="float32")
    return {"axes": axes, "data": data, "test_tensor": spec.FileDescr(source=path)}
