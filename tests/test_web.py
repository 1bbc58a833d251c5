"""`cliplit-web` serves the built page to this machine alone; the page itself is tested in plugins/web (npm test)."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from cliplit.errors import InputError
from cliplit.plugins import web_cli, web_server

ROOT = Path(__file__).parents[1]
WEB = ROOT / "plugins" / "web"


@pytest.fixture
def page(tmp_path):
    """A folder like the built page's, and a file beside it that must not be served."""
    folder = tmp_path / "dist"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the page</p>", encoding="utf-8")
    (folder / "runtime.wasm").write_bytes(b"\0asm")
    (folder / "runtime.mjs").write_text("export {}", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture
def address(page):
    server = web_server.page_server(0, page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(url):
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.headers, answer.read()


def test_types_are_those_that_browsers_insist_on(address):
    """WebAssembly streams only as application/wasm, modules run only as JavaScript (HTML standard)."""
    assert get(address + "/")[0].get_content_type() == "text/html"
    assert get(address + "/runtime.wasm")[0].get_content_type() == "application/wasm"
    assert get(address + "/runtime.mjs")[0].get_content_type() == "text/javascript"


def test_every_answer_has_the_policy_and_the_isolation_that_threads_want(address):
    headers, _ = get(address + "/runtime.mjs")
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "http" not in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/sub/", "/none.html", "//../secret.txt"])
def test_nothing_but_the_pages_files_is_served(address, path):
    with pytest.raises(urllib.error.HTTPError) as found:
        get(address + path)
    assert found.value.code == 404
    found.value.close()


def test_it_is_served_to_this_machine_alone(page):
    with web_server.page_server(0, page) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_taken_port_gets_a_line(page):
    with web_server.page_server(0, page) as server, pytest.raises(InputError, match="is taken; name another one"):
        web_server.page_server(server.server_address[1], page)


def test_a_checkout_without_the_page_says_what_builds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(web_server.built_page, "__defaults__", (tmp_path / "dist",))
    result = CliRunner().invoke(web_cli.main, ["--no-browser", "--port", "0"])
    assert result.exit_code == 1
    assert f"cd {tmp_path} && npm ci && npm run build" in result.output
    assert "Traceback" not in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl+C goes to whole groups of processes")
def test_the_command_serves_until_ctrl_c_and_ends_well(page):
    code = (
        "from pathlib import Path; from cliplit.plugins import web_cli, web_server; "
        f"web_server.built_page.__defaults__ = (Path({str(page)!r}),); "
        "web_cli.main(['--no-browser', '--port', '0'])"
    )
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split()[0]
            assert get(address)[1] == b"<p>the page</p>"
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(10)
    assert code == 0


def test_the_browser_is_opened(page, monkeypatch):
    opened = []

    def open_browser(address):
        opened.append(address)
        return True

    monkeypatch.setattr(web_server.built_page, "__defaults__", (page,))
    monkeypatch.setattr("webbrowser.open", open_browser)
    monkeypatch.setattr(web_server.ThreadingHTTPServer, "serve_forever", lambda self: None)
    result = CliRunner().invoke(web_cli.main, ["--port", "0"])
    assert result.exit_code == 0
    assert len(opened) == 1 and re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened[0])


def test_the_header_is_the_policy_that_the_page_itself_has():
    """The page's own cannot say who may frame it (CSP 3: frame-ancestors is ignored in meta)."""
    rules = re.search(r"export const POLICY = \[(.*?)\]", (WEB / "build.mjs").read_text(encoding="utf-8"), re.DOTALL)
    own = "; ".join(re.findall(r'"([^"]+)"', rules[1]))
    assert f"{own}; frame-ancestors 'none'" == web_server.POLICY


def test_the_packages_are_pinned():
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    wanted = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all("integrity" in entry for name, entry in lock["packages"].items() if name)
