"""Networks that deblur: U-Net(d) and CG U-Net(d)."""

from napari_coordgate.config import NetworkConfig
from napari_coordgate.networks.coordgate import CoordGate
from napari_coordgate.networks.unet import FEATURES_A_PIXEL, GatingMaps, UNet

__all__ = ["FEATURES_A_PIXEL", "CoordGate", "GatingMaps", "UNet", "build_network"]


def build_network(config: NetworkConfig) -> UNet:
    """Network of a configuration, with PyTorch's random initial weights.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.

    Returns
    -------
    UNet
        The network; call it as ``network(blurred, coordinates)``.
    """
    return UNet(config)
