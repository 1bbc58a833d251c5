"""The engine for one machine: a process per core, and a new pool if a process dies."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from ..backends.devices import cores
from .job import Job, Options, Outcome, failure
from .lifetime import begin_worker, end_workers, interruptible
from .long import Engine
from .work import do

DIED = "its process died {0} times: out of memory, or a crash (the system's log has more)"


@contextlib.contextmanager
def local_engine(workers: int = 0, own_process: bool = False) -> Iterator[Engine]:
    """Yield the local engine; the counterpart of `ray_engine`, without a connection."""
    yield lambda jobs, options: run_local(jobs, options, workers, own_process)


def run_local(jobs: Sequence[Job], options: Options, workers: int = 0, own_process: bool = False) -> Iterator[Outcome]:
    """Run jobs in processes; yield outcomes as they come.

    A process that dies (out of memory, a crashing decoder) takes its pool with it. Only the jobs that were under way
    are suspects: each of them is tried alone, so that one bad file harms no other.

    Args:
        workers: processes; 0 for one a core.
        own_process: threads of this process instead, for file systems that live in it.
    """
    count = workers or cores()
    left = deque(jobs)
    while left:
        suspects: list[Job] = []
        with make_pool(min(count, len(left)), own_process) as pool, ended_with(pool):
            running: dict[Future[Outcome], Job] = {}
            while (left or running) and not suspects:
                while left and len(running) < count:
                    job = left.popleft()
                    running[pool.submit(do if own_process else do_as_worker, job, options)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
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


def make_pool(count: int, own_process: bool) -> Executor:
    """Create a pool of spawned processes; forking with ONNX Runtime's threads may hang."""
    if own_process:
        return ThreadPoolExecutor(count)
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), begin_worker)


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
