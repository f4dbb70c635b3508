"""Networks that deblur: U-Net(d), CG U-Net(d), and the networks they are compared with."""

from napari_coordgate.config import (
    CGUNetConfig,
    CoordConvUNetConfig,
    NetworkConfig,
    UNetConfig,
    WeightedWienerConfig,
)
from napari_coordgate.networks.coordgate import CoordGate
from napari_coordgate.networks.network import GatingMaps, Network
from napari_coordgate.networks.unet import FEATURES_PER_PIXEL, UNet
from napari_coordgate.networks.wiener import MultiWienerNet, PSFSamples, WeightedWiener, WienerBank

__all__ = [
    "FEATURES_PER_PIXEL",
    "CoordGate",
    "GatingMaps",
    "MultiWienerNet",
    "Network",
    "PSFSamples",
    "UNet",
    "WeightedWiener",
    "WienerBank",
    "build_network",
]


def build_network(config: NetworkConfig, psf_samples: PSFSamples | None = None) -> Network:
    """Network of a configuration, with PyTorch's random initial weights.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    psf_samples : PSFSamples, optional
        PSFs at some positions, required by architectures with Wiener filters.

    Returns
    -------
    Network
        The network; call it as ``network(blurred, coordinates)`` with blurred windows
        (B, 1, H, W) and the frame coordinates (B or 1, 2, H, W) of their pixels.

    Raises
    ------
    ValueError
        If the architecture needs PSFs and there are none.

    Examples
    --------
    >>> import torch
    >>> from napari_coordgate import CGUNetConfig, build_network
    >>> network = build_network(CGUNetConfig(depth=2, base_channels=8))
    >>> network(torch.rand(4, 1, 32, 32), torch.zeros(1, 2, 32, 32)).shape
    torch.Size([4, 1, 32, 32])
    """
    if isinstance(config, CGUNetConfig | UNetConfig | CoordConvUNetConfig):
        return UNet.from_config(config)
    if psf_samples is None:
        raise ValueError(f"A network of architecture {config.architecture} needs PSF samples.")
    if isinstance(config, WeightedWienerConfig):
        return WeightedWiener(config, psf_samples)
    return MultiWienerNet(config, psf_samples)
