"""A model repository for NVIDIA's Triton Inference Server: the answer for serving many users.

    DIR/cliplit_lite/config.pbtxt
    DIR/cliplit_lite/1/model.onnx      the whole-image graph: uint8 image in, enhanced image out

Triton collects requests of many clients into batches, which the graph accepts directly (images of one size each).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from cliplit.constants import MAX_GAIN
from cliplit.errors import InputError
from cliplit.runtime.backends.pytorch import from_checkpoint

from .parity import Comparison
from .whole_image import export_whole_image

# Schema: model_config.proto of Triton's "common" repository. KIND_AUTO takes a card where there is one.
CONFIG = """\
name: "{name}"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: {batch}
input [ {{ name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }} ]
output [ {{ name: "enhanced" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }} ]
dynamic_batching {{ max_queue_delay_microseconds: {delay} }}
instance_group [ {{ kind: KIND_AUTO count: 1 }} ]
version_policy: {{ latest: {{ num_versions: 1 }} }}
parameters [ {{ key: "cliplit" value: {{ string_value: "strength {strength}, max_gain {max_gain}, {precision}" }} }} ]
"""
BATCH = 8
QUEUE_DELAY = 2000  # microseconds a request may wait for company


def write_repository(
    source: Path,
    folder: Path,
    half: bool = False,
    strength: float = 1.0,
    max_gain: float = MAX_GAIN,
    overwrite: bool = False,
) -> tuple[Path, list[Comparison]]:
    """Export a checkpoint into the model repository `folder`; returns the model's folder and its comparison.

    The model's folder appears whole, with other models of the repository left alone.

    Raises:
        InputError: the model is there already.
        ParityError: see `export_whole_image`.
    """
    name = f"cliplit_{from_checkpoint(source)[1].name}"
    target = folder / name
    if target.exists() and not overwrite:
        raise InputError(f"{target}: exists already; use --overwrite to replace it")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".cliplit.", dir=folder) as temporary:
        made = Path(temporary) / name
        (made / "1").mkdir(parents=True)
        lines = export_whole_image(source, made / "1" / "model.onnx", half, "uint8", strength, max_gain)
        (made / "config.pbtxt").write_text(
            CONFIG.format(
                name=name,
                batch=BATCH,
                delay=QUEUE_DELAY,
                strength=strength,
                max_gain=max_gain,
                precision="fp16" if half else "fp32",
            )
        )
        if target.exists():
            target.replace(Path(temporary) / "replaced")  # goes with the temporary folder
        made.replace(target)
    return target, lines
