"""Several processes, started by `torchrun`, that train as one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ..config import TrainConfig, cli_name
from ..errors import BackendError, InputError, OptionError


@dataclass(frozen=True)
class World:
    """This process among `size`; every batch is split evenly, so that `size` processes equal one."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap the module so that its gradients are averaged over all processes."""
        return DistributedDataParallel(module) if self.size > 1 else module

    def mean(self, values: Tensor) -> Tensor:
        """Average values over all processes, so that they decide alike."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values


def join_world(config: TrainConfig) -> World:
    """Join the processes that torchrun describes in the environment. Raises InputError for an uneven batch."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = find_device(config.device, int(os.environ.get("LOCAL_RANK", "0")))
    if size > 1:
        for name, parts in (("batch", size), ("prompt_batch", 2 * size)):
            if getattr(config, name) % parts:
                raise InputError(f"--{cli_name(name)} {getattr(config, name)} cannot be split over {size} processes")
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(rank, size, device)


def leave_world(world: World) -> None:
    if world.size > 1:
        dist.destroy_process_group()


def find_device(name: str, local_rank: int = 0) -> torch.device:
    """Find a device; auto is CUDA if there is some. Raises OptionError for nonsense, BackendError for a missing one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BackendError(f"--device {name}: torch {torch.__version__} sees no CUDA device; use --device cpu")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if (count := torch.cuda.device_count()) <= device.index:
            raise BackendError(f"--device {name}: there are {count} CUDA devices, from cuda:0 on")
        torch.cuda.set_device(device)
    return device
