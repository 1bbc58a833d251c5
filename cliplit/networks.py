"""The table of networks: a name on the command line, in checkpoints and in ONNX metadata."""

from __future__ import annotations

from torch import nn

from cliplit.errors import InputError
from cliplit.lite_unet import LiteUNet
from cliplit.unet import UNet

NETWORKS: dict[str, type[LiteUNet] | type[UNet]] = {"lite": LiteUNet, "unet": UNet}


def build_network(name: str) -> LiteUNet | UNet:
    """A fresh network by its name; raises InputError for an unknown one."""
    if name not in NETWORKS:
        raise InputError(f"no network called {name!r}; there is {', '.join(NETWORKS)}")
    return NETWORKS[name]()


def network_name(network: nn.Module) -> str:
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)
