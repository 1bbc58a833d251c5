"""The engine for one machine: a process per core, and a new pool if a process dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from cliplit.interrupt import raise_if_ended

from ..backends.devices import cores
from ..memory import keep_freed_memory
from .job import Job, Options, Outcome, failure
from .lifetime import begin_worker, end_workers, interruptible
from .long import Engine
from .progress import Shares, say_to
from .work import do

Moved = Callable[[dict[str, float]], object]  # called with the share of each file under way that is done
TICK = 1.0  # seconds between looks at what workers say

CONTEXT = multiprocessing.get_context("spawn")
DIED = "its process died {0} times: out of memory, or a crash (the system's log has more)"


@contextlib.contextmanager
def local_engine(workers: int = 0, own_process: bool = False, moved: Moved = lambda shares: None) -> Iterator[Engine]:
    """Yield the local engine; the counterpart of `ray_engine`, without a connection."""
    yield lambda jobs, options: run_local(jobs, options, workers, own_process, moved)


def run_local(
    jobs: Sequence[Job],
    options: Options,
    workers: int = 0,
    own_process: bool = False,
    moved: Moved = lambda shares: None,
) -> Iterator[Outcome]:
    """Run jobs in processes; yield outcomes as they come.

    A process that dies (out of memory, a crashing decoder) takes its pool with it. Only the jobs that were under way
    are suspects: each of them is tried alone, so that one bad file harms no other.

    Args:
        workers: processes; 0 for one a core.
        own_process: threads of this process instead, for file systems that live in it.
        moved: called every second.
    """
    count = workers or cores()
    left = deque(jobs)
    while left:
        suspects: list[Job] = []
        shares = Shares(queue.SimpleQueue() if own_process else CONTEXT.SimpleQueue())
        with make_pool(min(count, len(left)), own_process, shares.queue) as pool, ended_with(pool):
            running: dict[Future[Outcome], Job] = {}
            while (left or running) and not suspects:
                while left and len(running) < count:
                    job = left.popleft()
                    running[pool.submit(do if own_process else do_as_worker, job, options)] = job
                raise_if_ended()
                finished = wait(running, timeout=TICK, return_when=FIRST_COMPLETED).done
                moved(shares.update({job.name for job in running.values()}))
                for future in finished:
                    job = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        suspects.append(job)
            suspects += running.values()
        for job in suspects:
            yield alone(job, options)


def alone(job: Job, options: Options) -> Outcome:
    """Run a job in a process of its own, again if that dies."""
    for _ in range(options.retries + 1):
        with make_pool(1, own_process=False) as pool, ended_with(pool):
            try:
                return pool.submit(do_as_worker, job, options).result()
            except BrokenProcessPool:
                continue
    return failure(job, options, DIED.format(options.retries + 2), options.retries + 2)


def make_pool(count: int, own_process: bool, said: Any = None) -> Executor:
    """Create a pool of spawned processes, which talk to the queue `said`; forking with ONNX's threads may hang."""
    if own_process:
        return ThreadPoolExecutor(count, initializer=say_to, initargs=(said,))
    return ProcessPoolExecutor(count, CONTEXT, prepare_worker, (said,))


def prepare_worker(said: Any) -> None:
    """Make a spawned process end with its parent, and tell it where to say how far it is."""
    begin_worker()
    keep_freed_memory()
    say_to(said)


def do_as_worker(job: Job, options: Options) -> Outcome:
    """Run a job in a process of its own, which a signal ends."""
    with interruptible():
        return do(job, options)


@contextlib.contextmanager
def ended_with(pool: Executor) -> Iterator[None]:
    """End the pool's processes at once where a run is given up: closing it would wait for the files under way."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(pool, ProcessPoolExecutor):
            end_workers()
        raise
