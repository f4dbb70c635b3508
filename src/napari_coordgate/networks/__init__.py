"""Networks that deblur: U-Net(d), CG U-Net(d), and those that they are compared with."""

from napari_coordgate.config import NetworkConfig
from napari_coordgate.networks.coordgate import CoordGate
from napari_coordgate.networks.multiwiener import MultiWienerNet, WeightedWiener
from napari_coordgate.networks.network import GatingMaps, Network
from napari_coordgate.networks.unet import FEATURES_PER_PIXEL, UNet
from napari_coordgate.networks.wiener import MeasuredPSFs, WienerBank

__all__ = [
    "FEATURES_PER_PIXEL",
    "CoordGate",
    "GatingMaps",
    "MeasuredPSFs",
    "MultiWienerNet",
    "Network",
    "UNet",
    "WeightedWiener",
    "WienerBank",
    "build_network",
]


def build_network(config: NetworkConfig, measured: MeasuredPSFs | None = None) -> Network:
    """Network of a configuration, with PyTorch's random initial weights.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    measured : MeasuredPSFs, optional
        PSFs for the Wiener filters of an architecture that begins with them.

    Returns
    -------
    Network
        The network; call it as ``network(blurred, coordinates)``.

    Raises
    ------
    ValueError
        If the architecture needs PSFs and there are none.
    """
    if not config.has_wiener_bank:
        return UNet(config)
    if measured is None:
        raise ValueError(f"A network of architecture {config.architecture} begins with PSFs.")
    if config.architecture == "weighted-wiener":
        return WeightedWiener(config, measured)
    return MultiWienerNet(config, measured)
