"""The registry of networks: a name on the command line, in checkpoints and in ONNX metadata.

Another package adds its own without touching this one, by an entry point in its pyproject.toml:

    [project.entry-points."cliplit.networks.registry"]
    mine = "my_package:MyNetwork"  # a LightNetwork that is built without arguments
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import metadata

from ..errors import InputError, ModelError
from .light_network import LightNetwork
from .lite_unet import LiteUNet
from .relative_unet import RelativeUNet
from .unet import UNet

NETWORKS: dict[str, Callable[[], LightNetwork]] = {"lite": LiteUNet, "relative": RelativeUNet, "unet": UNet}


@cache
def installed_networks() -> dict[str, Callable[[], LightNetwork]]:
    """Load the networks that other packages provide. Raises ModelError for one that cannot be loaded."""
    found: dict[str, Callable[[], LightNetwork]] = {}
    for point in metadata.entry_points(group="cliplit.networks.registry"):
        try:
            found[point.name] = point.load()
        except Exception as error:  # another package's import may raise anything
            raise ModelError(f"network {point.name} of {point.value}: {type(error).__name__}: {error}") from error
    return found


def all_networks() -> dict[str, Callable[[], LightNetwork]]:
    return {**installed_networks(), **NETWORKS}


def build_network(name: str) -> LightNetwork:
    """Build a new network by name. Raises InputError for an unknown one."""
    networks = all_networks()
    if name not in networks:
        raise InputError(f"no network called {name!r}; there is {', '.join(networks)}")
    return networks[name]()


def network_name(network: LightNetwork) -> str:
    return next(name for name, kind in all_networks().items() if type(network) is kind)
