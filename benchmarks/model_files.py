"""Any model file as a method: ONNX with a picture in and a light map or a picture out, and PyTorch checkpoints.

A file of this project says itself what it wants. For others layout, range and kind of output are found out by looking
at the graph and by trying; each can be given: `theirs.onnx,layout=nhwc,range=255,output=picture,order=bgr`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError, ModelError, first_line
from cliplit.install import install_hint
from cliplit.runtime.backends.model_file import BUNDLED
from cliplit.runtime.backends.onnx_runtime import import_onnxruntime

from .methods import Method, ours

CHOICES = {
    "layout": ("nchw", "nhwc"),
    "range": ("1", "255"),
    "output": ("light", "picture"),
    "order": ("rgb", "bgr"),
    "way": ("runtime", "paper"),
}
CHECKPOINTS = {".pt", ".pth", ".ckpt"}
MULTIPLES = (1, 8, 16, 32, 64)  # that the sides of a picture may have to be


@dataclass(frozen=True)
class Wiring:
    """How an ONNX file is fed and read; `size` is (H, W) where the graph fixes it."""

    layout: str
    white: float
    output: str
    bgr: bool
    dtype: str
    size: tuple[int, int] | None
    index: int  # of the output
    multiple: int = 1

    def __str__(self) -> str:
        order = "BGR" if self.bgr else "RGB"
        fixed = f", fixed {self.size[1]}x{self.size[0]}" if self.size else ""
        return f"{self.layout.upper()} {order} in 0..{self.white:g}, {self.output} out{fixed}"


def methods_of(text: str, device: str = "cpu") -> list[Method]:
    """Build the rows of one `--model`: `FILE[,key=value...]`, a bundled model's name, or `lite:exact`.

    A light map can be applied in two ways, so it makes two rows: "runtime" as this project shows it, and "paper", the
    network at full size and the clipped division. `way=` chooses one.

    Raises:
        InputError: no such file, or an unknown key.
        ModelError: a file that is not a model, or one that cannot be wired up.
    """
    name, *settings = text.split(",")
    given = parse(settings, text)
    path = Path(name)
    if (BUNDLED / f"{name.split(':')[0]}.onnx").is_file() and not path.exists():
        model, _, quality = name.partition(":")
        return [ours(model, quality or "fast", device=device)]
    if not path.is_file():
        raise InputError(f"{name}: neither a bundled model nor a file; give an .onnx file or a PyTorch checkpoint")
    ways = (given["way"],) if "way" in given else ("runtime", "paper")
    if path.suffix in CHECKPOINTS:
        return [checkpoint_method(path, way) for way in ways]
    session = open_session(path)
    if "cliplit" in session.get_modelmeta().custom_metadata_map:
        wiring = Wiring("nchw", 1.0, "light", False, "float32", None, 0, 16)
        runtime = replace(ours(str(path), device=device), name=f"{path.stem} (runtime)")
        return [runtime if way == "runtime" else onnx_method(path, session, wiring) for way in ways]
    return [onnx_method(path, session, wire(path, session, given))]


def parse(settings: list[str], text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if value not in CHOICES.get(key, ()):
            known = "; ".join(f"{k}={'|'.join(v)}" for k, v in CHOICES.items())
            raise InputError(f"{text}: {setting!r} is no setting of a model; there is {known}")
        given[key] = value
    return given


def checkpoint_method(path: Path, way: str) -> Method:
    """Build a method from a checkpoint of this project or of the format that CLIP-LIT and RAVE publish."""
    try:
        import torch

        from cliplit.networks import checkpoint

        from .evaluation import checkpoint_relight
    except ImportError as error:
        raise BackendError(f"{path}: needs PyTorch; install it with: {install_hint('train')}") from error
    if way == "runtime":
        return Method(f"{path.stem} (runtime)", checkpoint_relight(path), note="PyTorch network in cliplit's runtime")
    network = checkpoint.load_network(path)

    def light(picture: Array) -> Array:
        batch = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float() / 255
        height, width = batch.shape[-2:]
        padding = (0, -width % network.multiple, 0, -height % network.multiple)
        with torch.no_grad():
            padded = torch.nn.functional.pad(batch, padding, mode="replicate")
            return network(padded)[0, 0, :height, :width].numpy()

    note = "PyTorch, full size, clip(I / L), as published"
    return Method(f"{path.stem} (paper)", lambda picture: divide(picture, light(picture)), light, note)


def divide(picture: Array, light: Array) -> Array:
    """Compute the papers' result, clip(I / (L + 1e-9), 0, 1); light is (H, W) or (H, W, 3)."""
    spread = light[..., None] if light.ndim == 2 else light
    enhanced = picture.astype(np.float32) / (spread + np.float32(1e-9))
    return np.round(np.clip(np.nan_to_num(enhanced, nan=255.0), 0, 255)).astype(np.uint8)


def open_session(path: Path) -> Any:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a type of its own for every cause
        raise ModelError(f"{path}: not an ONNX model that ONNX Runtime can run ({first_line(error)})") from error


def wire(path: Path, session: Any, given: dict[str, str]) -> Wiring:
    """Work out inputs and outputs from the graph, then from a trial run. Raises ModelError if nothing fits."""
    inputs = [i for i in session.get_inputs() if len(i.shape) == 4]
    if len(session.get_inputs()) != 1 or len(inputs) != 1:
        shapes = ", ".join(f"{i.name} {i.shape}" for i in session.get_inputs())
        raise ModelError(f"{path}: inputs {shapes}; expected one picture of four dimensions")
    shape, dtype = inputs[0].shape, inputs[0].type
    layout = given.get("layout") or ("nchw" if shape[1] == 3 else "nhwc" if shape[3] == 3 else "")
    if not layout:
        raise ModelError(f"{path}: input {shape} does not tell its layout; give ,layout=nchw or ,layout=nhwc")
    sides = shape[2:4] if layout == "nchw" else shape[1:3]
    size = (int(sides[0]), int(sides[1])) if all(isinstance(s, int) for s in sides) else None
    numpy_type = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}.get(dtype)
    if numpy_type is None:
        raise ModelError(f"{path}: input of {dtype}; expected float32, float16 or uint8")
    whites = [255.0] if numpy_type == "uint8" else [1.0, 255.0]
    if "range" in given:
        whites = [float(given["range"])]
    for white in whites:
        wiring = Wiring(layout, white, "", given.get("order") == "bgr", numpy_type, size, 0)
        if found := tried(session, wiring, given.get("output"), sure={"range", "output"} <= set(given)):
            return found
    raise ModelError(
        f"{path}: none of its outputs looks like a light map (1 channel) or a picture (3 channels) for a picture in "
        f"0..{' or 0..'.join(f'{w:g}' for w in whites)}; give ,range= and ,output="
    )


def tried(session: Any, wiring: Wiring, output: str | None, sure: bool) -> Wiring | None:
    """Complete the wiring by one run on a gray ramp; return None if the result is implausible at this range.

    `sure`: range and output are given, so only shapes have to fit.
    """
    side = wiring.size or (128, 128)
    ramp = np.linspace(0.05, 0.95, side[1], dtype=np.float32)
    picture = np.round(np.broadcast_to(ramp[None, :, None], (*side, 3)) * 255).astype(np.uint8)
    for multiple in (1,) if wiring.size else MULTIPLES:
        try:
            results = run(
                session, replace(wiring, multiple=multiple), picture[: side[0] - 3 if not wiring.size else None]
            )
        except Exception:  # a graph that cannot take this size: the next multiple
            continue
        for index, result in enumerate(results):
            channels = result.shape[2] if result is not None else 0
            kind = output or {1: "light", 3: "picture"}.get(channels)
            if result is None or kind is None or not np.isfinite(result).all():
                continue
            if kind == "picture" and not sure and not plausible(result, wiring.white):
                continue
            return replace(wiring, output=kind, index=index, multiple=multiple)
    return None


def plausible(result: Array, white: float) -> bool:
    """Return whether an output is a picture in the input's range: a lit ramp, neither black nor beyond white."""
    return 0.2 * white < float(result.mean()) < 1.2 * white and float(result.max()) < 1.6 * white


def run(session: Any, wiring: Wiring, picture: Array) -> list[Array | None]:
    """Run the model; each output of the picture's size is (H, W, channels) float32, others are None."""
    height, width = picture.shape[:2]
    if wiring.size:
        fed = cv2.resize(picture, wiring.size[::-1], interpolation=cv2.INTER_AREA)
    else:
        bottom, right = -height % wiring.multiple, -width % wiring.multiple
        fed = cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    if wiring.bgr:
        fed = fed[..., ::-1]
    if wiring.dtype != "uint8":
        fed = (fed.astype(np.float32) / np.float32(255 / wiring.white)).astype(wiring.dtype)
    batch = np.ascontiguousarray(fed.transpose(2, 0, 1) if wiring.layout == "nchw" else fed)[None]
    outputs = session.run(None, {session.get_inputs()[0].name: batch})
    return [at_size(o, fed.shape[:2], (height, width), wiring) for o in outputs]


def at_size(output: Array, fed: tuple[int, ...], size: tuple[int, int], wiring: Wiring) -> Array | None:
    if output.ndim == 3:  # channel left out
        output = output[..., None] if wiring.layout == "nhwc" else output[:, None]
    if output.ndim != 4:
        return None
    result = output[0].transpose(1, 2, 0) if output.shape[1] in (1, 3) and output.shape[3] not in (1, 3) else output[0]
    if result.shape[:2] != tuple(fed[:2]) or result.shape[2] not in (1, 3):
        return None
    result = np.ascontiguousarray(result, np.float32)
    if wiring.size:
        result = cv2.resize(result, size[::-1], interpolation=cv2.INTER_LINEAR).reshape(*size, -1)
    return result[: size[0], : size[1]]


def onnx_method(path: Path, session: Any, wiring: Wiring) -> Method:
    def output(picture: Array) -> Array:
        result = run(session, wiring, picture)[wiring.index]
        if result is None:
            raise ModelError(f"{path}: gave no map of a picture of {picture.shape[1]}x{picture.shape[0]}")
        return result

    def light(picture: Array) -> Array:
        result: Array = output(picture).mean(axis=2)
        return result

    def enhance(picture: Array) -> Array:
        result = output(picture)
        if wiring.output == "light":
            return divide(picture, result)
        if wiring.bgr:
            result = result[..., ::-1]
        return np.round(np.clip(result * (255 / wiring.white), 0, 255)).astype(np.uint8)

    shown: Callable[[Array], Array] | None = light if wiring.output == "light" else None
    suffix = " (paper)" if wiring.output == "light" else ""
    return Method(f"{path.stem}{suffix}", enhance, shown, f"ONNX, {wiring}")
