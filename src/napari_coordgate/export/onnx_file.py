"""ONNX file of a model, for images of the whole frame."""

import json
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.geometry import coordinate_axis, format_shape
from napari_coordgate.model import Model
from napari_coordgate.version import __version__

OPSET = 17
BAKED_BYTES = 2**28
"""Size up to which gating maps are constants in the file. Those of larger frames are computed from
the coordinates: a file of ONNX holds 2 GB at most."""

INPUT, OUTPUT = "blurred", "deblurred"

POSITION = (
    "Each pixel of the camera frame is deblurred by the blur at its position: the image must show "
    "the whole frame, in the orientation and with the binning of the images that the model was "
    "trained for. A crop, a rotated or a resampled image is deblurred wrongly."
)


class FrameNetwork(nn.Module):
    """Network of a model for images (B, 1, H, W) of the whole frame, with gating maps baked."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.y: Tensor
        self.x: Tensor
        for name, length in zip(("y", "x"), model.frame_shape, strict=True):
            # Continued to multiples here: ONNX has no equivalent of how the network does it.
            padded = length + -length % self.network.multiple
            axis = torch.from_numpy(coordinate_axis(0, padded, length))
            self.register_buffer(name, axis.float())
        with torch.inference_mode(False), torch.no_grad():
            maps = self.network.coordinate_maps(self.coordinates())
        fits = sum(each.nbytes for each in maps) <= BAKED_BYTES
        self.maps = maps if fits else None

    def coordinates(self) -> Tensor:
        """Frame coordinates (1, 2, H, W), of multiples of the network's multiple."""
        return torch.stack(torch.meshgrid(self.y, self.x, indexing="ij"))[None]

    def forward(self, blurred: Tensor) -> Tensor:
        """Deblurred images (B, 1, H, W) of blurred ones."""
        output: Tensor = self.network(blurred, self.coordinates(), self.maps)
        return output


def require(*modules: str) -> None:
    """Raise `SettingsError` unless the libraries of the extra are installed."""
    if any(find_spec(name.partition(".")[0]) is None for name in modules):
        raise SettingsError(
            f"Exporting to this format needs {' and '.join(modules)}; install it with "
            "python -m pip install 'napari-coordgate[export]'."
        )


def onnx_bytes(model: Model) -> bytes:
    """Content of the ONNX file of a model."""
    require("onnx")
    import onnx

    exported = onnx.load_from_string(_graph(model))
    onnx.helper.set_model_props(exported, onnx_metadata(model))
    exported.doc_string = f"{model!r} of napari-coordgate. {POSITION}"
    for value, text in zip(
        (*exported.graph.input, *exported.graph.output), descriptions(model), strict=True
    ):
        value.doc_string = text
    onnx.checker.check_model(exported)
    content: bytes = exported.SerializeToString()
    return content


def _graph(model: Model) -> bytes:
    """ONNX file without metadata."""
    if model.config.network.has_wiener_bank:
        raise ModelError(
            f"A network of architecture {model.config.network.architecture} cannot be exported: "
            "PyTorch cannot write the Fourier transforms of its Wiener filters for ONNX opset "
            f"{OPSET}; export a cg-unet, unet or coordconv-unet."
        )
    example = torch.zeros(1, 1, *model.frame_shape)
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        torch.enable_grad(),  # otherwise features are gated in place
    ):
        path = Path(folder) / "model.onnx"
        # Of the exporter, which is the only one that writes opset 17, and of its tracing.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            FrameNetwork(model).eval(),
            (example,),
            path,
            opset_version=OPSET,
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "batch"} for name in (INPUT, OUTPUT)},
        )
        return path.read_bytes()


def onnx_metadata(model: Model) -> dict[str, str]:
    """What a program must know to use the file, as texts."""
    scaling, camera = model.config.scaling, model.camera
    lens = {} if model.psf_field is None else model.psf_field.source.get("lens") or {}
    facts = {
        "program": f"napari-coordgate {__version__}",
        "input": descriptions(model)[0],
        "output": descriptions(model)[1],
        "position": POSITION,
        "frame_shape": list(model.frame_shape),
        "pixel_size_um": model.pixel_size_um,
        "low_percentile": scaling.low_percentile,
        "high_percentile": scaling.high_percentile,
        "photons": camera.photons,
        "read_noise": camera.read_noise,
        "lens": lens,
        "metrics": model.metrics,
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
        if value not in (None, {})
    }


def descriptions(model: Model) -> tuple[str, str]:
    """What the input and the output are."""
    scaling, frame = model.config.scaling, format_shape(model.frame_shape)
    return (
        f"Blurred images (batch, 1, {frame.replace('x', ', ')}) of the whole frame, one channel, "
        f"scaled linearly so that the percentiles {scaling.low_percentile:g} and "
        f"{scaling.high_percentile:g} of each image become 0 and 1; not clipped.",
        "Deblurred images of the same shape, on the scale of the input: multiply by the difference "
        "of the two percentiles and add the lower one for the units of the image.",
    )
