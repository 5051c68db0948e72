from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from workbench.cli import app as app_command
from workbench.cli import main
from workbench.cli.app import FOLDERS_VARIABLE, PROBLEMS_VARIABLE, app_script, server


def test_the_server_is_private_and_local_by_default():
    line, _variables = server([])
    for option in ("--server.address=127.0.0.1", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"):
        assert option in line
    assert "--server.showEmailPrompt=false" in line
    assert line[line.index("run") + 1] == str(app_script())
    assert not any(option.startswith("--server.port") for option in line)


def test_port_host_and_browser_are_passed_on():
    line, _variables = server([], port=9000, host="0.0.0.0", browser=False)
    assert {"--server.port=9000", "--server.address=0.0.0.0", "--server.headless=true"} <= set(line)


def test_folders_travel_in_the_environment_whatever_their_names(tmp_path: Path):
    odd = tmp_path / "--server.port=1:x"
    odd.mkdir()
    line, variables = server([odd])
    assert json.loads(variables[FOLDERS_VARIABLE]) == [str(odd)]
    assert json.loads(variables[PROBLEMS_VARIABLE]) == []
    assert json.loads(server([], problems=[odd])[1][PROBLEMS_VARIABLE]) == [str(odd)]
    assert not any("port=1" in option for option in line)


@pytest.mark.skipif(os.name != "posix", reason="the process is replaced on POSIX systems only")
def test_the_command_becomes_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    called = {}

    def become(path: str, line: list[str], environment: dict[str, str]) -> None:
        called.update(line=line, env=environment)
        raise SystemExit(0)

    monkeypatch.setattr(app_command.os, "execve", become)
    result = CliRunner().invoke(main, ["app", str(tmp_path), "--port", "9001", "--no-browser"])
    assert result.exit_code == 0
    assert "--server.port=9001" in called["line"]
    assert json.loads(called["env"][FOLDERS_VARIABLE]) == [str(tmp_path)]


def test_a_folder_that_does_not_exist_is_one_clear_line(tmp_path: Path):
    result = CliRunner().invoke(main, ["app", str(tmp_path / "missing")])
    assert result.exit_code == 2
    assert "does not exist" in result.output
    assert "Traceback" not in result.output
