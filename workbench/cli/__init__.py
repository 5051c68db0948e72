"""The `workbench` command: one file a command, loaded when it is used."""

from __future__ import annotations

from importlib import import_module

import click

from workbench.core import WorkbenchError

#: Command -> the module that holds it, under the attribute `command`.
COMMANDS = {
    "app": "workbench.cli.app",
    "bench": "workbench.cli.bench",
    "checkpoints": "workbench.cli.checkpoints",
    "claims": "workbench.cli.claims",
    "diagnose": "workbench.cli.diagnose",
    "export": "workbench.cli.export",
    "import": "workbench.cli.import_log",
    "list": "workbench.cli.list_runs",
    "remedy": "workbench.cli.remedy",
    "show": "workbench.cli.show",
    "sweep": "workbench.cli.sweep",
    "train": "workbench.cli.train",
    "validate": "workbench.cli.validate",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for; shows a WorkbenchError as one line with exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except WorkbenchError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="urlearn-workbench", prog_name="workbench")
def main() -> None:
    """See what went wrong in multi-task, multi-dataset and multi-domain training runs.

    \b
    workbench app                     open the sample runs in the browser
    workbench app runs/               open your own
    workbench show runs/mine          five verdicts in the terminal
    workbench train digit-pairs       record a demo run
    """
