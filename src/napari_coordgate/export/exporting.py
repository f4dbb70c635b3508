"""Export of a model to a file of another format, chosen by its suffix."""

import math
from pathlib import Path

from napari_coordgate.config import PackageConfig, as_settings
from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.export.onnx_file import onnx_bytes
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.model import Model, as_model, is_universal
from napari_coordgate.opening import check_claim

_BYTES_PER_PIXEL = 32
"""Of the coordinates alone."""


def export_model(
    model: str | Path | Model,
    path: str | Path,
    *,
    package: PackageConfig | None = None,
    overwrite: bool = False,
) -> None:
    """Write a model for programs that do not know this package.

    ONNX (opset 17) is read by ONNX Runtime in many languages; a package of the BioImage Model Zoo
    by deepImageJ, ilastik and others. Both are for images of the whole frame: the gating maps of
    the frame are constants in the file.

    Parameters
    ----------
    model : str, Path or Model
        Trained model, or the file of one.
    path : str or Path
        File to write: ``.onnx``, or ``.zip`` for a package. In a package, images are scaled
        before the network; for an ONNX file scale them as its metadata say: the percentiles
        ``low_percentile`` and ``high_percentile`` of the image become 0 and 1. The result is
        on that scale in both.
    package : PackageConfig, optional
        Author and license of the model; required for a package.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ModelError
        If the model cannot be read, is universal, or has Wiener filters, whose Fourier transforms
        PyTorch cannot write for opset 17.
    SettingsError
        If the suffix is another one, the package has no author or license, or the libraries of
        the extra ``export`` are not installed.
    OutputError
        If the file exists or cannot be written.

    References
    ----------
    W. Ouyang et al., "BioImage Model Zoo: A Community-Driven Resource for Accessible Deep
    Learning in BioImage Analysis", bioRxiv 2022.06.07.495102 (2022).

    Examples
    --------
    >>> from napari_coordgate import CGUNetConfig, Model, TrainingConfig, build_network
    >>> config = TrainingConfig(network=CGUNetConfig(depth=1, base_channels=2))
    >>> model = Model(config, build_network(config.network).state_dict(), (32, 32))
    >>> export_model(model, "model.onnx")
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".zip"):
        raise SettingsError(f"{path}: the name of an exported model must end in .onnx or .zip.")
    if package is not None:
        package = as_settings(package, PackageConfig, "package")
    elif suffix == ".zip":
        raise SettingsError(f"{path}: a package states the author and the license of the model.")
    check_not_exists([path], overwrite)
    if isinstance(model, str | Path) and is_universal(model):
        raise ModelError(
            f"{model} is a universal model: PyTorch cannot write its Fourier transforms for ONNX "
            "opset 17; export a model that was trained for one lens."
        )
    model = as_model(model)
    try:
        check_claim(_BYTES_PER_PIXEL * math.prod(model.frame_shape), "The frame of the model needs")
    except ValueError as error:
        raise ModelError(f"{error}; export it on a computer with more memory.") from None
    with atomic_write(path, overwrite) as temporary:
        if package is None or suffix == ".onnx":
            temporary.write_bytes(onnx_bytes(model))
        else:
            from napari_coordgate.export.zoo_package import write_package

            write_package(model, package, temporary)
