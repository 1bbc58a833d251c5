"""The engine for many machines: Ray Data, because it streams, retries on other nodes and scales with the cluster.

On CPUs a job is a task: if its node is lost it runs on another one, and the network stays loaded in the worker's
process. On GPUs a job is a call of an actor that holds a card, so the network is loaded once per card.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cliplit.errors import BackendError, first_line
from cliplit.install import install_hint

from .job import Job, Options, Outcome, failure
from .long import Engine
from .work import do

LOST = "lost with its node or its process, more often than it was tried again"
BLOCKS = 4096  # at most: a block is what is handed out and what comes back at once


class Relighter:
    """The actor of a GPU; Ray Data makes actors of callable classes."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return do(Job(**row), self.options).as_dict()


def relight_row(row: dict[str, Any], options: Options) -> dict[str, Any]:
    """Run a job as a task on a CPU."""
    return do(Job(**row), options).as_dict()


@contextlib.contextmanager
def ray_engine(address: str = "", workers: int = 0) -> Iterator[Engine]:
    """Connect to a cluster and yield its engine; a job lost for good becomes a failure.

    Args:
        address: of a running cluster ("auto", "ray://HOST:10001"); empty starts one on this machine.
        workers: jobs at a time at most; 0 for as many as the cluster has cores, or cards.

    Raises:
        BackendError: Ray is not installed, or no cluster answers at `address`.
    """
    ray = import_ray()
    started = connect(ray, address)
    try:
        yield lambda jobs, options: stream(ray, jobs, options, workers)
    finally:
        if started:
            ray.shutdown()


def stream(ray: Any, jobs: Sequence[Job], options: Options, workers: int) -> Iterator[Outcome]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*ray_remote_args", module="cliplit")  # the only way to give retries
    context.max_errored_blocks = -1  # a lost job is listed, the rest goes on
    cards = int(ray.cluster_resources().get("GPU", 0)) if options.enhancer.get("device") != "cpu" else 0
    retries = options.retries + 1  # Ray Data's own default is to try for ever, also what kills each process it meets
    dataset = ray.data.from_items([asdict(job) for job in jobs], override_num_blocks=min(len(jobs), BLOCKS))
    if cards:
        results = dataset.map(
            Relighter,
            fn_constructor_kwargs={"options": options},
            num_gpus=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers or cards),
            max_task_retries=retries,
            max_restarts=-1,
        )
    else:
        results = dataset.map(
            relight_row,
            fn_kwargs={"options": options},
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=workers or None),
            max_retries=retries,
        )
    waiting = {job.name: job for job in jobs}
    for row in results.iter_rows():
        outcome = Outcome.from_dict(row)
        if waiting.pop(outcome.name, None):  # a block that was made twice, after a node was lost, counts once
            yield outcome
    for job in waiting.values():
        yield failure(job, options, LOST, options.retries + 1)


def import_ray() -> Any:
    """Import Ray. Raises BackendError, with the command that helps, if it is missing."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError(
            f"Ray Data cannot be used ({first_line(error)}); install it with: {install_hint('ray')}"
        ) from error
    return ray


def connect(ray: Any, address: str) -> bool:
    """Connect, and return whether this call did; an existing connection is kept."""
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address, **quiet) if address else ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise BackendError(f"no Ray cluster answers at {address or 'this machine'} ({first_line(error)})") from error
    return True
