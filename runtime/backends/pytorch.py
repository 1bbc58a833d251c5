"""PyTorch, for research: runs a checkpoint directly, or an exported model's weights in their network.

The one place of the runtime that imports torch, and only when it is chosen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cliplit.arrays import Array
from cliplit.errors import BackendError, ModelError, first_line
from cliplit.install import install_hint

from .devices import Device, cuda_problem
from .model_file import CHECKPOINT_SUFFIXES, ModelInfo, network_info

if TYPE_CHECKING:
    from cliplit.networks.light_network import LightNetwork


class TorchNetwork:
    """`Backend` by PyTorch. `module` is the network, on its device, in evaluation mode."""

    precision = "fp32"

    def __init__(self, module: Any, info: ModelInfo, device: Device) -> None:
        self.module, self.info, self.device = module, info, str(device)

    @property
    def detail(self) -> str:
        import torch

        return f"torch {torch.__version__}"

    def __call__(self, pictures: Array) -> Array:
        import torch

        with torch.inference_mode():
            light: Array = self.module(torch.from_numpy(pictures).to(self.device)).cpu().numpy()
        return light


def open_model(path: Path, device: Device, threads: int) -> TorchNetwork:
    """Open a model. Raises BackendError if PyTorch or the card is unusable, ModelError for a file with other weights.

    `threads` counts for the whole process, as PyTorch has it.
    """
    try:
        import torch
    except ImportError as error:
        raise BackendError(
            f"PyTorch cannot be used ({first_line(error)}); install it with: {install_hint('export')}"
        ) from error
    if device.kind == "cuda" and not torch.cuda.is_available():
        needs = tuple(int(part) for part in (torch.version.cuda or "").split(".")[:2] if part)
        if len(needs) != 2:
            raise BackendError("this PyTorch was built without CUDA; install one with: pip install torch")
        raise BackendError(f"{device} cannot be used: {cuda_problem(device, needs) or 'PyTorch sees no card'}")
    if device.kind == "cuda":  # cuDNN's default rounds what it convolves to TF32, which is no finer than a half
        torch.backends.cudnn.allow_tf32 = False
    if threads:
        torch.set_num_threads(threads)
    module, info = from_checkpoint(path) if path.suffix in CHECKPOINT_SUFFIXES else from_onnx(path)
    return TorchNetwork(module.eval().to(str(device)), info, device)


def from_checkpoint(path: Path) -> tuple[LightNetwork, ModelInfo]:
    """Load (network in evaluation mode, its description) from a checkpoint, ours or a published one."""
    import cliplit
    from cliplit.networks import checkpoint
    from cliplit.networks.registry import network_name

    content = checkpoint.read(path)
    network = checkpoint.network_from(content, path)
    info = ModelInfo(
        name=network_name(network),
        version=cliplit.__version__,
        colour_order="RGB",
        value_range="0..1",
        proxy_short_side=network.proxy_short_side,
        multiple=network.multiple,
        training=checkpoint.training_summary(content),
        checkpoint_sha256=checkpoint.sha256(path),
        takes_masks=network.takes_masks,
    )
    return network, info


def from_onnx(path: Path) -> tuple[Any, ModelInfo]:
    """Load (network, description) of an exported model, whose tensors have the names they have in PyTorch."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise BackendError(
            f"reading weights from ONNX needs onnx; install it with: {install_hint('export')}"
        ) from error
    import torch

    from cliplit.networks.registry import build_network

    info = network_info(path)
    network = build_network(info.name)
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except Exception as error:  # protobuf's and numpy's types
        raise ModelError(f"{path}: its weights cannot be read ({first_line(error)})") from error
    weights = {}
    for name, own in network.state_dict().items():
        if f"{name}.packed" in held:  # by `cliplit.export.passes.pack_head`; the first phase is the kernel itself
            packed = held[f"{name}.packed"]
            held[name] = packed[:1] if packed.ndim == 1 else packed[:1, :, :3, :3]
        if name not in held:
            raise ModelError(f"{path}: holds no tensor {name} of the {info.name} network; give its checkpoint instead")
        if held[name].size != own.numel() or held[name].dtype.kind != "f":
            found = f"{held[name].dtype} {held[name].shape}"
            raise ModelError(f"{path}: its tensor {name} is {found}, not {tuple(own.shape)}")
        weights[name] = torch.from_numpy(held[name].copy()).to(own.dtype).reshape(own.shape)
    network.load_state_dict(weights)
    return network, info
