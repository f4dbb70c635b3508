"""Networks that deblur: U-Net(d), CG U-Net(d), and the networks they are compared with."""

from napari_coordgate.config import (
    Architecture,
    CGUNetConfig,
    CoordConvUNetConfig,
    NetworkConfig,
    UNetConfig,
    WeightedWienerConfig,
    as_network_config,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.networks.coordgate import CoordGate
from napari_coordgate.networks.network import GatingMaps, Network
from napari_coordgate.networks.scene_coordinates import (
    UNCALIBRATED,
    Noise,
    scene_coordinates,
    uncertainty_of,
    window_coordinates,
)
from napari_coordgate.networks.unet import FEATURES_PER_PIXEL, UNet
from napari_coordgate.networks.unrolled import Deblurred, UnrolledNetwork
from napari_coordgate.networks.wiener import MultiWienerNet, PSFSamples, WeightedWiener, WienerBank
from napari_coordgate.optics import PSFField

__all__ = [
    "FEATURES_PER_PIXEL",
    "UNCALIBRATED",
    "CoordGate",
    "Deblurred",
    "GatingMaps",
    "MultiWienerNet",
    "Network",
    "Noise",
    "PSFSamples",
    "UNet",
    "UnrolledNetwork",
    "WeightedWiener",
    "WienerBank",
    "build_network",
    "scene_coordinates",
    "uncertainty_of",
    "window_coordinates",
]


def build_network(
    config: NetworkConfig | Architecture, psfs: PSFField | PSFSamples | None = None
) -> Network:
    """Network of a configuration, with PyTorch's random initial weights.

    Parameters
    ----------
    config : NetworkConfig or str
        The architecture, or its name for the default settings.
    psfs : PSFField or PSFSamples, optional
        PSF field, or PSFs at some positions; required by architectures with Wiener filters.

    Returns
    -------
    Network
        The network; call it as ``network(blurred, coordinates)`` with blurred windows
        (B, 1, H, W) and the frame coordinates (B or 1, 2, H, W) of their pixels.

    Raises
    ------
    SettingsError
        If there is no such architecture, if a setting is invalid, or
        if the architecture needs PSFs and there are none.

    Examples
    --------
    >>> import torch
    >>> from napari_coordgate import CGUNetConfig, build_network
    >>> network = build_network(CGUNetConfig(depth=2, base_channels=8))
    >>> network(torch.rand(4, 1, 32, 32), torch.zeros(1, 2, 32, 32)).shape
    torch.Size([4, 1, 32, 32])
    """
    config = as_network_config(config)
    if isinstance(config, CGUNetConfig | UNetConfig | CoordConvUNetConfig):
        return UNet.from_config(config)
    if isinstance(psfs, PSFField):
        psfs = PSFSamples.from_psf_field(psfs, config.wiener_side)
    if psfs is None:
        raise SettingsError(
            f"A network of architecture {config.architecture} starts from the PSFs of the lens; "
            "pass a PSF field, as in build_network(config, psf_field)."
        )
    if isinstance(config, WeightedWienerConfig):
        return WeightedWiener(config, psfs)
    return MultiWienerNet(config, psfs)
