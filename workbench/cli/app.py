"""workbench app"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from workbench.cli.output import json_option, print_json
from workbench.core import ConfigError, RunFormatError

_PACKAGE = Path(__file__).resolve().parents[1]
#: Names the folders to the app, as a JSON list. The app reads nothing outside them and the sample runs.
FOLDERS_VARIABLE = "WORKBENCH_FOLDERS"
#: Names the user's own problem files to the app, as a JSON list. Naming one here allows the app to execute it.
PROBLEMS_VARIABLE = "WORKBENCH_PROBLEMS"


def app_script() -> Path:
    """The entry file of the app. Raises RunFormatError when the installation lacks it."""
    for script in (_PACKAGE / "_app" / "main.py", _PACKAGE.parent / "app" / "main.py"):
        if script.is_file():
            return script
    raise RunFormatError("The app is not part of this installation. Reinstall urlearn-workbench from its wheel.")


def server(
    folders: Sequence[Path],
    port: int | None = None,
    host: str = "127.0.0.1",
    browser: bool = True,
    problems: Sequence[Path] = (),
) -> tuple[list[str], dict[str, str]]:
    """The command that serves the app, and the environment variables it needs.

    Folders travel in the environment: no path is ever parsed as an option. Privacy and safety are set here as well as
    in the app's own configuration, so that a configuration in the user's home cannot undo them by accident.
    """
    options = {
        "server.address": host,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "server.headless": "false" if browser else "true",
        "browser.gatherUsageStats": "false",
    }
    if host == "127.0.0.1":
        options["browser.serverAddress"] = "localhost"
    if port is not None:
        options["server.port"] = str(port)
    command = [sys.executable, "-m", "streamlit", "run", str(app_script())]
    command += [f"--{name}={value}" for name, value in options.items()]
    named = {FOLDERS_VARIABLE: folders, PROBLEMS_VARIABLE: problems}
    return command, {name: json.dumps([str(path.resolve()) for path in paths]) for name, paths in named.items()}


def free_port(host: str, first: int = 8501) -> int:
    """The first port from ``first`` on that nobody listens on."""
    for port in range(first, 65536):
        with socket.socket() as listener:
            try:
                listener.bind((host, port))
            except OSError:
                continue
            return port
    raise ConfigError(f"No port from {first} on is free on {host}.")


@click.command("app")
@click.argument("folders", type=click.Path(exists=True, path_type=Path), nargs=-1, metavar="[FOLDER]...")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to listen on; the first free one from 8501 if left out."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; the default is this machine."
)
@click.option(
    "--problem", "problems", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
    metavar="FILE.py", help="Your problem file; it is executed to ask its model, with a run's weights, where it looks.",
)  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Serve without opening a browser window.")
@json_option
def command(
    folders: tuple[Path, ...], port: int | None, host: str, problems: tuple[Path, ...], no_browser: bool, as_json: bool
) -> None:
    """Open the runs in FOLDER in the browser (the sample runs when left out).

    \b
    workbench app runs/               run folders, and logs of other programs
    workbench app predictions.csv     one table or log file
    workbench app runs/ --problem my_training.py

    The app reads only the folders given here and the sample runs, sends nothing anywhere, and listens on this machine
    alone unless --host says otherwise. Stop it with Ctrl+C. With --json, the address is the first thing printed.
    """
    if as_json:
        port = port or free_port(host)
        shown = "localhost" if host == "127.0.0.1" else host
        opened = [folder.resolve() for folder in folders]
        print_json({"url": f"http://{shown}:{port}", "process": os.getpid(), "folders": opened})
    line, variables = server(folders, port, host, browser=not no_browser, problems=problems)
    environment = os.environ | variables
    if os.name == "posix":  # the server takes this process's place, and with it every signal sent to it
        os.execve(line[0], line, environment)
    raise SystemExit(subprocess.run(line, env=environment, check=False).returncode)
