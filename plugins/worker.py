"""The program that GIMP and the frei0r filter start in this installation's Python: requests in, pictures out.

It ends when its client does: at the end of its input, or at once where the client is gone amid a computation.
`protocol.py` says what goes over the wire.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import select
import signal
import threading
from collections.abc import Callable
from typing import BinaryIO, Protocol

import numpy as np

from cliplit import __version__
from cliplit.arrays import Array
from cliplit.errors import CliplitError
from cliplit.runtime.memory import keep_freed_memory

from .protocol import PREFIX_SIZE, REQUEST_SIZE, Pixels, ProtocolError, Reply, Request, Status, check_prefix

REQUESTS = 0  # file descriptor; replies go to 1, or back through 0 where that is a socket


class PixelPath(Protocol):
    """How pixels come and go."""

    def receive(self, request: Request) -> tuple[Array, Array]:
        """Return the picture, and where the relighted one belongs; both (H, W, channels)."""
        ...

    def send(self, out: Array) -> None:
        """Announce the relighted picture, and deliver it."""
        ...


class StreamPixels:
    """After each header, on the same stream."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink

    def receive(self, request: Request) -> tuple[Array, Array]:
        from .relighter import check_room

        check_room(request)
        picture = np.empty(shape_of(request), dtype_of(request))
        read_exactly(self._source, picture.data.cast("B"))
        return picture, np.empty_like(picture)

    def send(self, out: Array) -> None:
        self._sink.write(Reply(Status.DONE, out.nbytes).pack())
        write_all(self._sink, out.data.cast("B"))


class SharedPixels:
    """In memory shared with the client: first half the client's, second half ours."""

    def __init__(self, descriptor: int, sink: BinaryIO) -> None:
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._sink = sink

    def receive(self, request: Request) -> tuple[Array, Array]:
        if 2 * request.size > len(self._memory):
            raise ProtocolError(f"a picture of {request.size} bytes in shared memory of {len(self._memory)}")
        picture, out = (
            np.frombuffer(self._memory, dtype_of(request), request.size // request.pixels.sample_bytes, offset)
            for offset in (0, len(self._memory) // 2)
        )
        return picture.reshape(shape_of(request)), out.reshape(shape_of(request))

    def send(self, out: Array) -> None:
        self._sink.write(Reply(Status.DONE, 0).pack())


def main(arguments: list[str] | None = None) -> None:
    """Serve one client until it goes."""
    parser = argparse.ArgumentParser(prog="cliplit-worker", description=__doc__)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--shared", type=int, metavar="DESCRIPTOR", help="of the memory that holds the pixels")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the client, which tells us by going
    source = open(REQUESTS, "rb", buffering=0, closefd=False)  # noqa: SIM115 - for the life of the process
    sink = reply_stream(options.shared is not None)
    watch_client()
    keep_freed_memory()
    pixels: PixelPath = StreamPixels(source, sink) if options.shared is None else SharedPixels(options.shared, sink)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the client is gone
        serve(source, sink, pixels, options.model, options.device)


def reply_stream(through_socket: bool) -> BinaryIO:
    """Where replies go. Standard output itself is given to standard error: libraries print to it."""
    descriptor = os.dup(REQUESTS if through_socket else 1)
    os.dup2(2, 1)
    return open(descriptor, "wb", buffering=0)  # noqa: PTH123 - a descriptor, no path


def watch_client() -> None:
    """End this process as soon as nobody holds the other end of its input, whatever it is doing."""
    if not hasattr(select, "poll"):  # Windows: noticed when the reply is written
        return

    def wait() -> None:
        poll = select.poll()
        poll.register(REQUESTS, 0)  # hang-ups are always reported
        poll.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def serve(source: BinaryIO, sink: BinaryIO, pixels: PixelPath, model: str, device: str) -> None:
    """Answer requests until the input ends. What breaks the order of the stream ends it, after an answer."""
    relight: Callable[[Request, Array, Array], None] | None = None
    while (request := next_request(source, sink)) is not None:
        in_order = False
        try:
            picture, out = pixels.receive(request) if request.pixels else (None, None)
            in_order = True
            if relight is None:
                from .relighter import Relighter  # after the hand-shake: it takes its time

                relight = Relighter(model, device)
            if picture is None or out is None:
                name = f"cliplit {__version__}".encode()
                sink.write(Reply(Status.DONE, len(name)).pack() + name)
            else:
                relight(request, picture, out)
                pixels.send(out)
        except (OSError, EOFError):
            raise
        except (CliplitError, ProtocolError) as error:
            refuse(sink, str(error))
        except MemoryError:
            refuse(sink, "out of memory")
        except Exception as error:  # whatever ONNX Runtime and OpenCV raise; the client must hear of it
            refuse(sink, f"internal error, {type(error).__name__}: {error}")
        if not in_order:
            return


def next_request(source: BinaryIO, sink: BinaryIO) -> Request | None:
    """Read the next request, None at the end. One of another version is refused before its length is relied on."""
    header = bytearray(REQUEST_SIZE)
    try:
        read_exactly(source, memoryview(header)[:PREFIX_SIZE])
        check_prefix(header)
        read_exactly(source, memoryview(header)[PREFIX_SIZE:])
        profile = bytearray(Request.profile_size(header))
        read_exactly(source, memoryview(profile))
        return Request.unpack(header, bytes(profile))
    except ProtocolError as error:
        refuse(sink, str(error))
    except EOFError:
        pass
    return None


def refuse(sink: BinaryIO, message: str) -> None:
    text = " ".join(message.split()).encode()[:400]
    sink.write(Reply(Status.FAILED, len(text)).pack() + text)


def shape_of(request: Request) -> tuple[int, int, int]:
    return request.height, request.width, request.pixels.channels


def dtype_of(request: Request) -> type[np.generic]:
    return np.uint8 if request.pixels is Pixels.RGBA8 else np.float32


def read_exactly(source: BinaryIO, into: memoryview) -> None:
    """Fill `into`; raises EOFError where the input ends before."""
    while into:
        count = source.readinto(into)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        into = into[count:]


def write_all(sink: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[sink.write(data) :]
