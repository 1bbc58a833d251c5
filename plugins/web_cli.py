"""`cliplit-web`: the page that relights photos and a camera in the browser."""

from __future__ import annotations

import click

from cliplit import __version__
from cliplit.command import reports_errors


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Only serve; do not open the browser.")
@click.version_option(__version__)
@reports_errors
def main(port: int, no_browser: bool) -> None:
    """Open a page in the browser that relights photos and a camera's picture, on this machine.

    Nothing is uploaded: the page is served to this machine alone, and its network runs in the browser. Ctrl+C ends it.
    """
    import webbrowser

    from .web_server import HOST, built_page, page_server

    with page_server(port, built_page()) as server:
        address = f"http://{HOST}:{server.server_address[1]}/"
        click.echo(f"{address}  (Ctrl+C ends it)")
        if not no_browser and not webbrowser.open(address):
            click.echo("note: no browser could be opened; open the address yourself", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # SIGTERM and the like, too: this is how it ends
            click.echo()


if __name__ == "__main__":
    main(prog_name="cliplit-web")
