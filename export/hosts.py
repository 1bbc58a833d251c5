"""The programs that a file may be meant for, where no one file serves all.

`benchmarks/consumers.py` runs every file in every program that can be had, and is where these differences come from.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A program that runs exported files.

    Attributes:
        packed_head: whether it has DepthToSpace, by which the head of the network takes a sixteenth of the time.
        comparisons: whether it compares and selects; else steep straight lines do that.
        symmetric: whether it wants 8-bit numbers around zero, and biases that are not quantised.
        fixed: whether it takes files of a fixed size only.
    """

    name: str
    about: str
    packed_head: bool = True
    comparisons: bool = True
    symmetric: bool = False
    fixed: bool = False


ANY = Host("any", "ONNX Runtime, OpenVINO and, in fp32 and fp16, all others but those below")
HOSTS = {
    host.name: host
    for host in (
        ANY,
        Host("tensorrt", "TensorRT and TensorRT for RTX in int8", symmetric=True),
        Host("ncnn", "ncnn, through pnnx", packed_head=False, comparisons=False, fixed=True),
    )
}
