"""Networks, checkpoints and export: sizes, names, exact pooling, parity (R5.11, R8.8, R8.9)."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from cliplit.errors import InputError, ModelError
from cliplit.export import onnx_file
from cliplit.networks import checkpoint
from cliplit.networks.lite_unet import LiteUNet
from cliplit.networks.pooling import adaptive_average_pool
from cliplit.networks.registry import build_network
from cliplit.networks.relative_unet import RelativeUNet
from cliplit.networks.unet import UNet
from cliplit.runtime.backends.devices import Device
from cliplit.runtime.backends.onnx_runtime import import_onnxruntime
from cliplit.runtime.backends.pytorch import TorchNetwork, from_checkpoint
from cliplit.runtime.network import LightMapNetwork


@pytest.fixture(scope="module", params=["lite", "relative", "unet"])
def exported(request, tmp_path_factory):
    """(network, checkpoint path, ONNX path) with random weights that give a map with structure."""
    torch.manual_seed(3)
    network = build_network(request.param).eval()
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint.save(folder / "c.pt", {"network": request.param, "weights": network.state_dict()})
    _, info = from_checkpoint(folder / "c.pt")
    (folder / "m.onnx").write_bytes(onnx_file.light_graph(network, info).SerializeToString())
    return network, folder / "c.pt", folder / "m.onnx"


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_sizes_of_the_networks():
    assert parameters(UNet()) == 278_790  # the paper's
    assert parameters(LiteUNet()) <= 60_000
    assert parameters(RelativeUNet()) <= 150_000


def test_pooling_is_exact():
    for height, width in [(1, 1), (2, 3), (7, 13), (6, 12), (101, 67), (257, 331), (511, 767)]:
        x = torch.rand(2, 3, height, width, dtype=torch.float64)
        for cells in (1, 2, 3, 6):
            reference = torch.nn.functional.adaptive_avg_pool2d(x, cells)
            assert torch.allclose(adaptive_average_pool(x, cells), reference, atol=1e-12), (height, width, cells)


def test_onnx_equals_pytorch_at_many_sizes(exported):
    network, _, path = exported
    reference = TorchNetwork(network, LightMapNetwork(path).info, Device("cpu"))
    session = import_onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    sizes = [(1, 7, 7), (1, 31, 37), (2, 97, 101), (3, 144, 256), (1, 511, 767), (4, 64, 6), (1, 383, 2)]
    for batch, height, width in sizes:
        m = network.multiple
        picture = rng.random((batch, 3, -(-height // m) * m, -(-width // m) * m), dtype=np.float32)
        light = session.run(None, {"picture": picture})[0]
        assert np.abs(light - reference(picture)).max() <= 1e-5, (batch, height, width)


def test_file_is_small_and_carries_its_description(exported):
    network, source, path = exported
    info = LightMapNetwork(path).info
    assert info.name == {LiteUNet: "lite", RelativeUNet: "relative", UNet: "unet"}[type(network)]
    assert (info.colour_order, info.value_range) == ("RGB", "0..1")
    assert info.proxy_short_side == network.proxy_short_side
    assert info.checkpoint_sha256 == checkpoint.sha256(source)
    assert path.stat().st_size < 1.3e6
    properties = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
    assert json.loads(properties["cliplit"])["version"] == info.version


def test_zeros_and_reflect_differ_at_the_border_only():
    torch.manual_seed(0)
    reflect, zeros = UNet("reflect").eval(), UNet("zeros").eval()
    zeros.load_state_dict(reflect.state_dict())
    # Without the global branch the two differ as far as the outer convolutions reach.
    for network in (reflect, zeros):
        network.PPM1 = torch.nn.Identity()
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        difference = (reflect(x) - zeros(x)).abs()[0, 0]
    assert difference[:4].max() > 1e-4
    assert difference[40:56, 40:56].max() == 0


@pytest.mark.parametrize("prefix", ["", "module."])
def test_bare_state_dicts_load_with_and_without_prefix(tmp_path, prefix):
    network = UNet()
    torch.save({prefix + k: v for k, v in network.state_dict().items()}, tmp_path / "published.pth")
    loaded = checkpoint.load_network(tmp_path / "published.pth")
    assert isinstance(loaded, UNet)
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_published_checkpoint_loads(shared):
    network = checkpoint.load_network(shared / "models" / "cliplit_init_enhancement_model.pth")
    with torch.no_grad():
        light = network(torch.rand(1, 3, 33, 47))
    assert light.shape == (1, 1, 33, 47)
    assert light.std() > 0


def test_wrong_files_get_one_clear_line(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "other.pth")
    weights = UNet().state_dict()
    weights["cond1.weight"] = torch.zeros(16, 3, 3, 3)
    torch.save(weights, tmp_path / "sizes.pth")
    for name, error in {"text": ModelError, "list": ModelError, "other": ModelError, "sizes": ModelError}.items():
        with pytest.raises(error, match=f"{name}.pth") as caught:
            checkpoint.load_network(tmp_path / f"{name}.pth")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such"):
        checkpoint.load_network(tmp_path / "missing.pth")


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trap"), "w"))

    torch.save({"weights": Trap()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError):
        checkpoint.load_network(tmp_path / "evil.pth")
    assert not (tmp_path / "trap").exists()


def test_export_command(exported, tmp_path):
    _, source, _ = exported
    code = "from cliplit.export.cli import main; main(prog_name='cliplit-export')"

    def run(*arguments):
        return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)

    target = tmp_path / "ünï.onnx"
    assert run(source, "-o", target).returncode == 0
    LightMapNetwork(target)
    again = run(source, "-o", target)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    wrong = run(tmp_path / "missing.pt")
    assert wrong.returncode == 1
    assert "missing.pt" in wrong.stderr
    assert "Traceback" not in wrong.stderr
