"""The other programs agree with ours where they support the case, and the benchmark says where they do not."""

from __future__ import annotations

import pytest

from workbench.diagnostics.benchmark import gsnr
from workbench.diagnostics.benchmark.nets import Case, _images, lenet, mlp

CASES = [
    Case("MLP", lambda: _images(mlp, 8, (784,))),
    Case("LeNet", lambda: _images(lenet, 8, (1, 28, 28))),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(
    ("approach", "package"), [("vmap(grad)", "torch"), ("BackPACK", "backpack"), ("Opacus", "opacus")]
)
def test_variances_agree_with_the_float64_loop(case, approach, package):
    pytest.importorskip(package, reason=f"compares with {package}")
    (figures,) = gsnr.run([case], ["workbench", approach], rounds=2, memory=False).values()
    assert figures[approach].why_not == ""
    # All compute in float32; the reference is a loop in float64.
    assert figures["workbench"].error < 1e-5
    assert figures[approach].error < 1e-3


def test_the_table_names_every_approach_with_its_error():
    figures = {"a case": {"workbench": gsnr.Figure((1.5, 1.5), 10.0, 1e-7), "other": gsnr.Figure(why_not="no rule")}}
    table = gsnr.markdown(figures, error_of="Gramian")
    assert "| a case | workbench | 1.50 (1.50–1.50) | 10 | 1e-07 |" in table
    assert "| a case | other | no rule |" in table
    assert "error of the Gramian" in table.splitlines()[0]
