"""What the commands share: help in groups and examples; for those who relight also settings files and environment.

Where a value comes from, the first that has it: the command line, CLIPLIT_VIDEO_STRENGTH and the like, config.toml.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

Function = TypeVar("Function", bound=Callable[..., Any])
NOT_IN_A_FILE = ("help", "version", "no_config", "demo", "output", "at", "sheet", "dry_run")


class Between(click.FloatRange):
    """A number between two bounds; "nan", which compares with nothing, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


def epilog_of(examples: Sequence[str]) -> str:
    """Return the end of a help text: the examples, a line each, as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)


class HelpfulCommand(click.Command):
    """A command whose help shows its options under headings, and examples at the end.

    Args:
        groups: names of parameters under each heading; what no heading has comes last.
        examples: lines for the end of the help.
    """

    def __init__(
        self,
        *args: Any,
        groups: Mapping[str, Sequence[str]] | None = None,
        examples: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        settings.setdefault("context_settings", {}).setdefault("help_option_names", ["-h", "--help"])
        super().__init__(*args, **settings)
        self.groups = dict(groups or {})
        if examples:
            self.epilog = epilog_of(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        records = {param.name: record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))}
        for heading, names in self.groups.items():
            rows = [records.pop(name) for name in names if name in records]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
        with formatter.section("Other options" if self.groups else "Options"):
            formatter.write_dl(list(records.values()))


class Command(HelpfulCommand):
    """A command that reads its table of the settings file.

    Args:
        section: its name there, and in the environment: CLIPLIT_<SECTION>_<OPTION>.
    """

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section
        self.context_settings.setdefault("auto_envvar_prefix", f"CLIPLIT_{section.upper()}")
        self.params.append(
            click.Option(
                ["--no-config"], is_flag=True, expose_value=False, help=f"Do not read {shown(settings_file())}."
            )
        )

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments, with the settings file behind them."""
        file = settings_file()
        without = "--no-config" in args or os.environ.get(f"CLIPLIT_{self.section.upper()}_NO_CONFIG")
        if not without and file.is_file() and not extra.get("resilient_parsing"):
            extra["default_map"] = read_settings(file, self.section, self.params)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.BadParameter as error:
            name = error.param.name if error.param else None
            if name and error.ctx and error.ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
                raise click.BadParameter(f"{error.message} (from {shown(file)})", error.ctx, error.param) from error
            raise


def settings_file() -> Path:
    """Return where the user's settings are: the XDG base directory's cliplit/config.toml."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path("~/.config").expanduser()) / "cliplit" / "config.toml"


def shown(path: Path) -> str:
    """Write a path below the home folder as ~/..."""
    home = Path("~").expanduser()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def read_settings(file: Path, section: str, params: Sequence[click.Parameter]) -> dict[str, Any]:
    """Return the values of a command's table by the names of its parameters.

    Raises click.UsageError for what is no TOML, and for options that the command does not have.
    """
    import tomllib

    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{shown(file)}: {error}; mend it, or use --no-config") from None
    if loose := [name for name, value in tables.items() if not isinstance(value, dict)]:
        raise click.UsageError(f"{shown(file)}: {loose[0]} is in no table; write it below [{section}]")
    known: dict[str, str] = {}
    for option in params:
        if isinstance(option, click.Option) and option.name and option.name not in NOT_IN_A_FILE:
            known |= {name.lstrip("-").replace("-", "_"): option.name for name in option.opts if name.startswith("--")}
    found = {}
    for name, value in tables.get(section, {}).items():
        plain = name.replace("-", "_")
        if plain not in known:
            near = difflib.get_close_matches(plain, known, 1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            raise click.UsageError(f"{shown(file)}: [{section}] has no option {name}{hint}")
        found[known[plain]] = value
    return found


def habits(command: Function) -> Function:
    """Add what other programs have taught: -y, -q, -v."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Say where each setting comes from."),
        click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
        click.option("-y", "--overwrite", is_flag=True, help="Replace files that exist."),
    ):
        command = option(command)
    return command


def say_settings(context: click.Context) -> None:
    """Print the options that are not at their defaults, and where each comes from, to standard error."""
    places = {
        ParameterSource.COMMANDLINE: "command line", ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.DEFAULT_MAP: f"{shown(settings_file())} or --look",
    }  # fmt: skip
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if source in places and name not in ("verbose", "paths", "source", "target"):
            click.echo(f"{name.replace('_', '-')} = {value} ({places[source]})", err=True)
