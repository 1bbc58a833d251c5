"""`cliplit-plugins`: install the plug-ins for other programs, list and remove them."""

from __future__ import annotations

from pathlib import Path

import click

from cliplit import __version__
from cliplit.command import echo, reports_errors
from cliplit.command_line import epilog_of
from cliplit.errors import InputError

HOST = click.Choice(["gimp", "frei0r"])


EXAMPLES = (
    "cliplit-plugins install gimp --check   into every GIMP profile, then try it in GIMP",
    "cliplit-plugins install frei0r         for ffmpeg, melt, GStreamer, Kdenlive",
    "cliplit-plugins list                   what is installed where",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=epilog_of(EXAMPLES))
@click.version_option(__version__)
def main() -> None:
    """Install plug-ins for GIMP (Filters > Light and Shadow) and frei0r hosts (ffmpeg, melt, GStreamer, Kdenlive).

    The plug-ins start this Python with its cliplit. Install them again if it moves.
    """


@main.command()
@click.argument("host", type=HOST)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="GIMP profile to install into, e.g. ~/.config/GIMP/3.0.  [default: all]",
)
@click.option("--model", default="lite", show_default=True, help="lite, or an exported ONNX file.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--check", is_flag=True, help="Then test it in the host.")
@reports_errors
def install(host: str, profile: Path | None, model: str, device: str, check: bool) -> None:
    """Install the plug-in for HOST for the current user, replacing an earlier one."""
    if host == "gimp":
        install_gimp(profile, model, device, check)
    elif profile is not None:
        raise click.UsageError("--profile is for gimp")
    else:
        install_frei0r(model, device, check)


def install_gimp(only: Path | None, model: str, device: str, check: bool) -> None:
    from . import gimp_install as gimp

    profiles = gimp.find_profiles() if only is None else [gimp.profile_at(only)]
    if not profiles:
        raise InputError(
            f"no GIMP 3 found: no profile below {gimp.profile_roots()[0]} and none on the PATH; "
            "start GIMP once, or name its profile with --profile"
        )
    gimp.install(profiles, model, device)
    for profile in profiles:
        echo(f"GIMP {profile.path.name}: {profile.plug_in}")
        if profile.in_flatpak:
            echo(
                "note: the Flatpak may start programs outside only after: "
                "flatpak override --user --talk-name=org.freedesktop.Flatpak org.gimp.GIMP",
                err=True,
            )
    for profile in profiles if check else ():
        gimp.check(profile)
        echo(f"GIMP {profile.path.name}: has {gimp.PROCEDURE}")


def install_frei0r(model: str, device: str, check: bool) -> None:
    from . import frei0r_install as frei0r

    echo(f"frei0r: {frei0r.install(model, device)}")
    if check:
        frei0r.check()
        echo("frei0r: a frame went through")
    echo(f"try: {frei0r.FFMPEG_LINE}")


@main.command()
@click.argument("host", type=HOST)
@reports_errors
def uninstall(host: str) -> None:
    """Remove the plug-in for HOST."""
    if host == "gimp":
        from . import gimp_install

        removed = gimp_install.uninstall()
    else:
        from . import frei0r_install

        removed = frei0r_install.uninstall()
    for path in removed:
        echo(f"removed {path}")


@main.command("list")
@reports_errors
def list_installed() -> None:
    """Show where plug-ins are installed or could be."""
    from . import frei0r_install, gimp_install

    profiles = gimp_install.find_profiles()
    for profile in profiles:
        click.echo(f"gimp {profile.path.name}\t{profile.plug_in if profile.installed else 'not installed'}")
    if not profiles:
        echo("gimp\tno GIMP found")
    files = frei0r_install.installed_files()
    click.echo(f"frei0r\t{files[0] if files else 'not installed'}")
