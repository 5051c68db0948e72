"""The tables of a run: their names, their columns, what a row is, and the lines of Python that record it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """One table of the run format.

    Attributes:
        columns: Required columns with their kind: ``int``, ``float``, ``text``, ``bytes``, ``ints``/``floats`` (lists)
            or ``any`` (number or text).
        optional: Columns that may be absent.
        about: What one row is.
        record: How to record it, as lines of Python for the page that misses it.
    """

    name: str
    about: str
    columns: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    record: str = ""


_TABLES = (
    Table(
        "scalars",
        "one logged number",
        {"step": "int", "tag": "text", "value": "float", "wall_time": "float"},
        record='rec.scalars(step, {"loss/depth": loss_depth, "accuracy/seg": accuracy})',
    ),
    Table(
        "task_gradients",
        "one entry of the cross-Gramian of (task, mini-batch) gradients of one module, upper triangle and diagonal",
        {
            "step": "int",
            "module": "text",
            "task_a": "text",
            "batch_a": "int",
            "task_b": "text",
            "batch_b": "int",
            "dot": "float",
            "samples": "int",
        },
        record='losses = {"depth": per_sample_depth_loss, "seg": per_sample_seg_loss}   # tensors of shape [B]\n'
        "rec.task_gradients(step, losses, shared=model.backbone)",
    ),
    Table(
        "gsnr",
        "gradient signal-to-noise ratios of one parameter tensor at one step, over all samples or in one domain",
        {
            "step": "int",
            "module": "text",
            "parameter": "text",
            "domain": "text",
            "count": "int",
            "samples": "int",
            "histogram": "ints",
            "quantiles": "floats",
            "mean_sq_sum": "float",
            "var_sum": "float",
        },
        {"micro_groups": "int", "micro_quantiles": "floats", "micro_var_sum": "float", "micro_rank": "float"},
        record="per_sample_loss = lambda x, y: cross_entropy(model(x), y, reduction='none')   # [B]\n"
        "rec.gsnr(step, model, per_sample_loss, batches=[(x, y)])",
    ),
    Table(
        "gsnr_filters",
        "gradient and weight of one filter (output channel) of one weight tensor at one step, over all samples",
        {
            "step": "int",
            "module": "text",
            "parameter": "text",
            "filter": "int",
            "count": "int",
            "samples": "int",
            "mean_sq_sum": "float",
            "var_sum": "float",
            "weight_sq_sum": "float",
            "change_sq_sum": "float",
            "opposed": "float",
        },
        record="rec.gsnr(step, model, per_sample_loss, batches=[(x, y)], detail=True)",
    ),
    Table(
        "gsnr_signs",
        "how many parameters of one tensor two domains pull in opposite directions, or in the same, beyond noise",
        {
            "step": "int",
            "module": "text",
            "parameter": "text",
            "domain_a": "text",
            "domain_b": "text",
            "count": "int",
            "opposed": "int",
            "agreeing": "int",
        },
        record="rec.gsnr(step, model, per_sample_loss, batches, domains=names, detail=True)",
    ),
    Table(
        "gsnr_masks",
        "how many weights of one module the mask of GSNR dropout takes at one ratio, and took at the record before",
        {
            "step": "int",
            "previous_step": "int",
            "module": "text",
            "ratio": "float",
            "count": "int",
            "taken": "int",
            "taken_before": "int",
            "both": "int",
        },
        record="rec.gsnr(step, model, per_sample_loss, batches=[(x, y)], detail=True)",
    ),
    Table(
        "trial_steps",
        "what one plain step along the gradient of one loss on one mini-batch did to a loss on the same or another one",
        {
            "step": "int",
            "moved": "text",
            "along": "text",
            "batch_along": "int",
            "task": "text",
            "batch": "int",
            "samples": "int",
            "lr": "float",
            "before": "float",
            "after": "float",
            "slope": "float",
            "slope_after": "float",
        },
        record="rec.trial_steps(step, model, losses_of, batches=[(x1, y1), (x2, y2)], lr=0.01, shared=model.backbone)",
    ),
    Table(
        "samples",
        "one sample, constant over training: its target per task (target_<task>) and one column per attribute",
        {"sample": "int", "dataset": "text", "domain": "text", "split": "text"},
        {"thumbnail": "bytes"},
        record='rec.samples({"sample": ids, "domain": domains, "split": splits, "target_digit": y, "colour": c})',
    ),
    Table(
        "predictions",
        "one prediction for one sample at one step",
        {"step": "int", "sample": "int", "task": "text", "prediction": "any", "confidence": "float", "loss": "float"},
        # Counts of every class (labels, or pixels) where one prediction holds several: see workbench.core.outcomes.
        {"logits": "floats", "tp": "floats", "fp": "floats", "fn": "floats", "tn": "floats"},
        record='rec.predictions(step, "digit", sample=ids, prediction=classes, confidence=p, loss=nll)\n'
        "from workbench.core import outcomes\n"
        'rec.predictions(step, "tags", sample=ids, loss=bce, **outcomes.of_labels(said, true))      # [N, C], 0 or 1\n'
        'rec.predictions(step, "seg", sample=ids, loss=nll, **outcomes.of_maps(said, true, 19))     # label maps',
    ),
    Table(
        "label_counts",
        "the weight (pixels, boxes, or 1) of one label in one region of one sample, as annotated or predicted",
        {"dataset": "text", "sample": "int", "region": "int", "label": "text", "weight": "float", "source": "text"},
        {"step": "int"},
        record='rec.label_counts(dataset="city", sample=ids, label=names, weight=pixels, source="truth")\n'
        'rec.label_counts(dataset="city", sample=ids, region=regions, label=said, weight=pixels, source="highway")',
    ),
    Table(
        "embeddings",
        "which sample a row of an embedding array belongs to",
        {"step": "int", "layer": "text", "row": "int", "sample": "int"},
        record="rec.embeddings(step, model, inputs, sample=ids, layers=['trunk.conv2', 'trunk'])",
    ),
    Table(
        "histograms",
        "how many numbers (weights, gradients…) of one kind fell between which edges at one step; one edge more",
        {"step": "int", "tag": "text", "edges": "floats", "counts": "floats"},
        record="counts, edges = np.histogram(weights, bins=60)\n"
        'rec.write("histograms", {"step": step, "tag": "conv1", "edges": [list(edges)], "counts": [list(counts)]})',
    ),
    Table(
        "images",
        "one picture (the bytes of a PNG, JPEG or GIF file) that was logged at one step, and its place among several",
        {"step": "int", "tag": "text", "place": "int", "image": "bytes"},
        record='rec.write("images", {"step": step, "tag": "reconstruction", "place": 0, "image": [png_bytes]})',
    ),
    Table(
        "texts",
        "one piece of text that was logged at one step",
        {"step": "int", "tag": "text", "text": "text"},
        record='rec.write("texts", {"step": step, "tag": "sample", "text": generated})',
    ),
)

#: Every table of the format by name.
TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}
