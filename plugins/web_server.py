"""The page that relights photos in the browser, served on this machine and to it alone.

Any static server can host it (docs/web.md). This one adds headers: a Content-Security-Policy for every file, and the
isolation that lets the network use several threads.
"""

from __future__ import annotations

import errno
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cliplit.errors import InputError

BUILT = Path(__file__).parent / "web" / "dist"
BUILD = "npm ci && npm run build"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
HOST = "127.0.0.1"


def built_page(folder: Path = BUILT) -> Path:
    """Return the folder of the built page. Raises InputError with the command that builds it where it is missing."""
    if not (folder / "index.html").is_file():
        raise InputError(f"the page is not built in this checkout; build it with: cd {folder.parent} && {BUILD}")
    return folder


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, with the page's headers; no listing of folders."""

    extensions_map = {  # noqa: RUF012 - the class's own is like this
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
        ".svg": "image/svg+xml",
    }
    server_version, sys_version = "cliplit", ""

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def page_server(port: int, folder: Path) -> ThreadingHTTPServer:
    """Return a server of the folder on this machine's own address; port 0 takes a free one.

    Raises InputError where the port is taken or not allowed.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise InputError(f"port {port} {why}; name another one, or let one be found with: --port 0") from error
