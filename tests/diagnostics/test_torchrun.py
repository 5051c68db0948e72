"""The documented torchrun command runs as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import workbench.diagnostics


def test_the_documented_command_measures_all_samples(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", workbench.diagnostics.__doc__, flags=re.DOTALL)
    (tmp_path / "measure.py").write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "measure.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "64 samples, 64 in the Gramian" in done.stdout
