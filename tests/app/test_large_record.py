"""Of a large record of task gradients the page says which steps it read, and reads every one when asked."""

from __future__ import annotations

import numpy as np

from workbench.core import RunWriter
from workbench.core.gramian import Gramian


def test_the_page_says_which_steps_were_read_and_reads_them_all_on_request(open_app, tmp_path):
    rng = np.random.default_rng(0)
    samples = np.full((2, 2), 8, dtype=np.int64)
    with RunWriter(tmp_path / "runs" / "long", tasks=["left", "right"], modules=["trunk"]) as writer:
        for step in range(1200):
            rows = rng.standard_normal((4, 6))
            writer.gramian(
                step, Gramian(("trunk",), ("left", "right"), (rows @ rows.T).reshape(1, 2, 2, 2, 2), samples)
            )
    app = open_app(tmp_path / "runs")
    app.switch_page("views/conflict.py").run()
    assert not app.exception
    said = "1,000 of 1,200 recorded steps were read, evenly spaced from step 0 to step 1199."
    assert said in [caption.value for caption in app.caption]
    app.toggle(key="every_step").set_value(True).run()
    assert not app.exception
    assert not any("recorded steps were read" in caption.value for caption in app.caption)
    # The switch stays, to go back.
    assert app.toggle(key="every_step").value
