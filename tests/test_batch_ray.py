"""`cliplit-batch --engine ray` on a cluster of two nodes: a killed node loses nothing, results are equal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from batch_helpers import digests, long_clip, make_folder, misbehaving
from cliplit.install import install_hint

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytest.importorskip("ray.data", reason="needs the extra ray")
from ray.cluster_utils import Cluster

COMMAND = [sys.executable, "-c", "from cliplit.runtime.batch.cli import main; main(prog_name='cliplit-batch')"]
SPLIT = ("--preset", "ultrafast", "--split-over", "0.1")
STORE = 100 * 1024**2


def batch(*arguments, environment=None):
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes of one core each; workers that do what file names say. Its own driver: this process joins nothing.

    Workers run at ordinary priority: at Ray's own (15) they get a thirtieth of a core beside tests that fill it.
    """
    environment, log = misbehaving(tmp_path)
    environment = {**environment, "RAY_worker_niceness": "0"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False},
    )
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    cluster.wait_for_nodes()
    yield cluster, second, log
    cluster.shutdown()


def test_a_killed_node_loses_nothing(cluster, tmp_path):
    nodes, second, log = cluster
    source = make_folder(tmp_path / "src", ["clip.mp4", "broken.png", *(f"slow{i:02}.png" for i in range(24))])
    (source / "broken.png").write_bytes(b"not a picture")
    long_clip(source / "slow-long.mp4")  # four pieces
    out = tmp_path / "out"
    killed = threading.Event()

    def kill_midway():
        deadline = time.monotonic() + 300
        while len(digests(out)) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        nodes.remove_node(second, allow_graceful=False)
        killed.set()

    killer = threading.Thread(target=kill_midway)
    killer.start()
    result = batch(source, out, "--engine", "ray", "--address", nodes.address, *SPLIT)
    killer.join()
    assert killed.is_set()
    assert result.returncode == 1, result.stderr[-2000:]  # the broken file, and nothing else
    assert "26 of 27 files written" in result.stdout
    assert (out / ".cliplit-batch/failures.txt").read_text().startswith("broken.png: ")
    assert len({mark.name.split(".")[0] for mark in log.glob("slow-long.mp4#segment*")}) >= 1
    assert len({mark.name.rsplit(".", 1)[1] for mark in log.iterdir()}) >= 2, "both nodes had worked"
    single = batch(source, tmp_path / "single", *SPLIT)
    assert single.returncode == 1
    assert digests(out) == digests(tmp_path / "single")
    again = batch(source, out, "--engine", "ray", "--address", nodes.address, *SPLIT)
    assert "0 of 1 files written, 26 were done before" in again.stdout


def test_a_file_that_kills_its_worker_ends_as_a_failure(cluster, tmp_path):
    nodes, _, log = cluster
    source = make_folder(tmp_path / "src", ["deadly.png", "once.png", "a.png", "b.png"])
    result = batch(source, tmp_path / "out", "--engine", "ray", "--address", nodes.address, "--retries", "1")
    assert result.returncode == 1, result.stderr[-2000:]
    assert "3 of 4 files written" in result.stdout
    assert "deadly.png: lost with its node or its process" in result.stderr
    assert 2 <= len(list(log.glob("deadly*"))) <= 4


def test_a_killed_driver_two_at_once_and_a_full_disk(cluster, tmp_path):
    """What is named is whole, the rest is made by the next run; a worker without room is a failure."""

    def named(folder):
        return {name: value for name, value in digests(folder).items() if not name.startswith(".")}

    nodes, _, _ = cluster
    source = make_folder(tmp_path / "src", ["a.mp4", *(f"slow{i}.png" for i in range(4))])
    before, out = digests(source), tmp_path / "out"
    words = [*COMMAND, str(source), str(out), "--engine", "ray", "--address", nodes.address, "--preset", "ultrafast"]
    killed = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(digests(out)) < 2 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert batch(source, tmp_path / "single", "--preset", "ultrafast").returncode == 0
    whole = digests(tmp_path / "single")
    assert digests(source) == before
    assert named(out).items() <= whole.items()
    twice = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=600)[1] for process in twice]
    assert 0 in [process.returncode for process in twice], said
    assert named(out) == whole and digests(source) == before
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", disk]).returncode:
        return  # may not mount a small disk
    try:
        full = batch(source, disk / "out", "--engine", "ray", "--address", nodes.address, *words[-2:], "--retries", "0")
        assert full.returncode == 1 and "No space left on device" in full.stderr, full.stderr  # and Ray's own words
        assert digests(disk / "out").items() < whole.items()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_cluster_at_the_address(tmp_path):
    source = make_folder(tmp_path / "src", ["a.png"])
    environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "1", "RAY_raylet_start_wait_time_s": "1"}
    address = "ray://127.0.0.1:1"
    result = batch(source, tmp_path / "out", "--engine", "ray", "--address", address, environment=environment)
    assert result.returncode == 3, result.stderr[-2000:]
    assert "no Ray cluster answers" in result.stderr


def test_ray_that_is_not_installed_names_the_command(tmp_path):
    source = make_folder(tmp_path / "src", ["a.png"])
    hide = "import sys; sys.modules['ray'] = None; from cliplit.runtime.batch.cli import main; main()"
    words = [sys.executable, "-c", hide, str(source), str(tmp_path / "out"), "--engine", "ray"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert result.returncode == 3
    assert install_hint("ray") in result.stderr and len(result.stderr.strip().splitlines()) == 1
