"""What a method's docstring says about it, read without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.core import ConfigError
from workbench.methods import FAMILIES, METHODS, describe


@pytest.mark.parametrize("slug", METHODS)
def test_every_method_says_what_a_reader_needs(slug):
    found = describe(slug)
    assert found.family in FAMILIES
    assert 20 < len(found.line) < 160
    assert found.line.endswith(".")
    assert len(found.plain) > 150
    assert len(found.look_at) > 40
    assert "=" in found.equations
    assert any(year in found.cite for year in map(str, range(1990, 2030)))


def test_describing_needs_no_torch():
    code = "import sys, workbench.methods as m; [m.describe(s) for s in m.METHODS]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_method_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="no method 'magic'. Methods: uniseg"):
        describe("magic")
