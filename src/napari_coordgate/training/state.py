"""State of network and optimizer as plain tensors, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["load_tensors", "state_tensors"]

NETWORK, OPTIMIZER = "network.", "optimizer."


def state_tensors(network: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Weights in training, and what the optimizer remembers of each.

    Parameters
    ----------
    network : nn.Module
        The network.
    optimizer : Optimizer
        Its optimizer.

    Returns
    -------
    dict of str to Tensor
        Names ``network.WEIGHT`` and ``optimizer.NUMBER.MOMENT``.
    """
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"{OPTIMIZER}{number}.{name}"] = torch.as_tensor(value)
    return tensors


def load_tensors(tensors: Mapping[str, Tensor], network: nn.Module, optimizer: Optimizer) -> None:
    """Bring network and optimizer to the state that `state_tensors` told.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The state.
    network, optimizer : nn.Module, Optimizer
        What to bring to it; built as they were then.
    """
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(NETWORK):
            weights[name.removeprefix(NETWORK)] = tensor
        else:
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensor.clone()
    network.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
