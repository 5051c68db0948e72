"""The built wheel, installed in an empty environment, opens the app on its own sample runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The bin folder of a new environment that holds the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(folder.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    bin_folder = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = [
        str(bin_folder / "python"),
        "-m",
        "pip",
        "install",
        "-q",
        "-c",
        str(ROOT / "constraints.txt"),
        str(wheel),
    ]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return bin_folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_lists_the_sample_runs_of_the_wheel(installed, tmp_path):
    done = subprocess.run([installed / "workbench", "list"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "digit-pairs/joint" in done.stdout


def test_the_app_of_the_wheel_answers(installed, tmp_path):
    port = _free_port()
    command = [installed / "workbench", "app", "--port", str(port), "--no-browser"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            for _ in range(120):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
                        assert answer.read() == b"ok"
                    break
                except OSError:
                    assert server.poll() is None, server.communicate()[0].decode()
                    time.sleep(0.5)
            else:
                pytest.fail("the app did not answer")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                assert b"<html" in page.read().lower()
        finally:
            server.kill()
