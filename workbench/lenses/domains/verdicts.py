"""The sentences of the domain lens: which domain lies furthest, whether it matters, and where it comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from workbench.lenses.base import Level, Verdict
from workbench.lenses.domains.measure import REFERENCE
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.stream_verdicts import stream_verdicts
from workbench.lenses.words import percent, percent_range

ALPHA = 0.05
#: A significant shift under this multiple of the null is too small to act on.
MIN_RATIO = 2.0
#: A loss of accuracy of at least this, with its whole interval above 0, makes a harmful shift a problem.
MAX_DROP = 0.05
#: With fewer points per domain, "no shift found" says little.
MIN_POINTS_FOR_SILENCE = 100
#: From which coherence on: what it means and what to try.
_COHERENCE = (
    (0.8, "All classes move together",
     "Re-estimate normalisation statistics on this domain: that removes a common translation."),
    (0.4, "The classes move partly together",
     "Re-estimate normalisation statistics on this domain first; the rest needs its labels or alignment per class."),
    (0.0, "Each class moves its own way",
     "Normalisation will not fix it; use labels of this domain or alignment per class."),
)  # fmt: skip


def verdicts(stats: DomainShift) -> list[Verdict]:
    """The main verdict first. Everything is said about the last recorded checkpoint.

    The domain that lies furthest in the last layer is named (in an earlier one when the last shows no shift): that is
    what the classifier sees; the first layers always tell domains apart. Held-out domains that are shifted are named
    as well. What is forgotten of tasks learned one after the other follows.
    """
    return [*_shift_verdicts(stats), *(stream_verdicts(stats.stream) if stats.stream else ())]


def _shift_verdicts(stats: DomainShift) -> list[Verdict]:
    step = stats.steps[-1]
    compared = stats.comparisons[(stats.comparisons["step"] == step) & (stats.comparisons["domain_b"] == REFERENCE)]
    distances = compared[compared["measure"] == "mmd2"]
    found = distances[(distances["p_adjusted"] <= ALPHA) & (distances["ratio"] > 1)]
    if found.empty:
        return [_silence(stats, distances)]
    last = found[found["layer"] == stats.layers[-1]]
    at = (last if len(last) else found).sort_values("excess", ascending=False).drop_duplicates("domain_a")
    held_out = {name for name, held in zip(stats.domains, stats.held_out, strict=True) if held}
    furthest = at.iloc[0]
    also = [row for _, row in at.iloc[1:].iterrows() if row["domain_a"] in held_out]
    said = [_shifted(stats, row, compared, len(distances), row is furthest) for row in (furthest, *also)]
    harmful = _harmful_others(stats, {str(row["domain_a"]) for row in (furthest, *also)}, set(at["domain_a"]))
    detail = [*_kind(stats, furthest), *_mixing(stats, furthest), *_classes(stats, furthest)]
    detail += _layers(stats, furthest, compared)
    if all(verdict.level == "fine" for verdict in said):  # details of a shift that needs no action need none either
        detail = [replace(verdict, level="fine", next_step="") for verdict in detail]
    return [*said, *harmful, *detail, *_unlabelled(stats)]


def name_of(stats: DomainShift, domain: str) -> str:
    held_out = stats.held_out[stats.domains.index(domain)]
    return f"'{domain}' (held out)" if held_out else f"'{domain}'"


def reference_name(stats: DomainShift, domain: str) -> str:
    if not any(stats.held_out):
        return "the other domains"
    return "the training domains" if stats.held_out[stats.domains.index(domain)] else "the other training domains"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _silence(stats: DomainShift, distances: pd.DataFrame) -> Verdict:
    n = int(distances["n"].min())
    nearest = distances.iloc[int(distances["p_adjusted"].argmin())]
    sentence = (
        f"No domain's embeddings differ from {reference_name(stats, nearest['domain_a'])} beyond chance at step "
        f"{stats.steps[-1]} (smallest {p_text(nearest['p_adjusted'])} after correcting for {len(distances)} "
        f"comparisons of domains and layers, at least {n} samples a side)."
    )
    if n < MIN_POINTS_FOR_SILENCE:
        step = f"Record embeddings of at least {MIN_POINTS_FOR_SILENCE} samples per domain; {n} can miss a real shift."
        return Verdict("cannot tell", sentence, step, value=float(nearest["p_adjusted"]))
    return Verdict("fine", sentence, "Nothing to align.", value=float(nearest["p_adjusted"]))


def _shifted(stats: DomainShift, row: pd.Series, compared: pd.DataFrame, n_tests: int, furthest: bool) -> Verdict:
    domain, layer = str(row["domain_a"]), str(row["layer"])
    pad = compared[
        (compared["measure"] == "pad") & (compared["layer"] == layer) & (compared["domain_a"] == domain)
    ].iloc[0]
    where = f"in the last layer, '{layer}'," if layer == stats.layers[-1] else f"in layer '{layer}'"
    lies = "lies furthest from" if furthest else "is shifted against"
    sentence = (
        f"{name_of(stats, domain)} {lies} {reference_name(stats, domain)} {where} at step {row['step']}: MMD² is "
        f"{row['excess']:.3g} beyond chance, {row['ratio']:.3g} times what 95 % of relabellings reach "
        f"({p_text(row['p_adjusted'])} after correcting for {n_tests} comparisons, n = {row['n']} a side). "
        "A linear classifier recognises the domain in "
        f"{percent(0.5 + pad['value'] / 4)} of held-out samples "
        f"(95 % interval {percent_range(0.5 + pad['low'] / 4, 0.5 + pad['high'] / 4)}; chance is 50 %)."
    )
    options = {"layer": layer, "step": str(row["step"]), "domain": domain}
    loss = _loss(stats, domain)
    if loss is None:
        level: Level = "watch" if row["ratio"] >= MIN_RATIO else "fine"
        return Verdict(
            level, sentence, "Record predictions for these samples to learn whether the shift costs accuracy.",
            value=float(row["excess"]), options=options,
        )  # fmt: skip
    sentence += " " + _loss_text(stats, domain, loss)
    if loss["drop_low"] > 0:
        level = "problem" if loss["drop"] >= MAX_DROP else "watch"
        next_step = (
            "Align or normalise this domain (re-estimate batch-norm statistics first), or add its samples to training."
        )
    else:
        level = "watch" if loss["drop_high"] > MAX_DROP and row["ratio"] >= MIN_RATIO else "fine"
        next_step = (
            "Leave it: accuracy does not suffer."
            if level == "fine"
            else "Record more predictions for this domain: the interval of its loss in accuracy is wide."
        )
    return Verdict(
        level, sentence, next_step, value=float(loss["drop"]), low=float(loss["drop_low"]),
        high=float(loss["drop_high"]), options=options,
    )  # fmt: skip


def _loss(stats: DomainShift, domain: str) -> pd.Series | None:
    """The last row of accuracies of a domain, where it has a reference to compare with."""
    rows = stats.accuracy[(stats.accuracy["domain"] == domain) & stats.accuracy["drop"].notna()]
    return None if rows.empty else rows.iloc[-1]


def _loss_text(stats: DomainShift, domain: str, loss: pd.Series) -> str:
    harm = "the shift does harm" if loss["drop_low"] > 0 else "no harm is visible"
    return (
        f"Accuracy there is {percent(loss['accuracy'])} (95 % interval {percent_range(loss['low'], loss['high'])}, "
        f"n = {loss['n']:.0f}) against {percent(loss['reference_accuracy'])} "
        f"({percent_range(loss['reference_low'], loss['reference_high'])}) in {reference_name(stats, domain)}: {harm}."
    )


def _harmful_others(stats: DomainShift, named: set[str], shifted: set[str]) -> list[Verdict]:
    """The shifted domain that loses most accuracy, when it is none of those named already."""
    losses = {domain: loss for domain in sorted(shifted) if (loss := _loss(stats, domain)) is not None}
    harmful = {domain: loss for domain, loss in losses.items() if loss["drop_low"] > 0}
    if not harmful:
        return []
    domain = max(harmful, key=lambda name: float(harmful[name]["drop"]))
    loss = harmful[domain]
    if domain in named:
        return []
    return [
        Verdict(
            "problem" if loss["drop"] >= MAX_DROP else "watch",
            f"{name_of(stats, domain)} lies less far away but loses more. {_loss_text(stats, domain, loss)}",
            "Look at its shift class by class: a shift of single classes costs more than one common to all.",
            value=float(loss["drop"]), low=float(loss["drop_low"]), high=float(loss["drop_high"]),
            options={"domain": domain, "step": str(stats.steps[-1])},
        )
    ]  # fmt: skip


def _layers(stats: DomainShift, row: pd.Series, compared: pd.DataFrame) -> list[Verdict]:
    """Where along the network the domain can still be told: the accuracy of the domain classifier, first to last."""
    domain = str(row["domain_a"])
    pad = compared[(compared["measure"] == "pad") & (compared["domain_a"] == domain)].set_index("layer")
    layers = [layer for layer in stats.layers if layer in pad.index]
    if len(layers) < 2:
        return []
    first, last = (_numbers(pad[pad.index == layer]) for layer in (layers[0], layers[-1]))
    level: Level
    if last["low"] > first["high"]:
        change, level, advice = "rises", "watch", "The later layers amplify the domain; align at the last layer."
    elif last["high"] < first["low"]:
        change, level, advice = "falls", "fine", "The network itself removes domain information with depth."
    else:
        change, level, advice = "does not clearly change", "fine", "Align at the last layer if at all."
    sentence = (
        f"How well {name_of(stats, domain)} can be told from {reference_name(stats, domain)} {change} with depth: "
        f"proxy A-distance {first['value']:.2f} ({first['low']:.2f} to {first['high']:.2f}) at '{layers[0]}', "
        f"{last['value']:.2f} ({last['low']:.2f} to {last['high']:.2f}) at '{layers[-1]}' (0 = not at all, 2 = always)."
    )
    options = {"view": "layers", "measure": "pad", "step": str(row["step"])}
    return [
        Verdict(
            level, sentence, advice, value=last["value"], low=last["low"], high=last["high"],
            options=options,
        )
    ]  # fmt: skip


def _numbers(rows: pd.DataFrame) -> dict[str, float]:
    return {column: float(rows[column].iloc[0]) for column in ("value", "low", "high")}


def _mixing(stats: DomainShift, row: pd.Series) -> list[Verdict]:
    """Mixed over all points but separated within classes means that classes land on other classes."""
    at = stats.mixing[
        (stats.mixing["layer"] == stats.layers[-1]) & (stats.mixing["step"] == row["step"])
        & (stats.mixing["domain"] == row["domain_a"])
    ].set_index("scope")  # fmt: skip
    if not {"all", "within class"} <= set(at.index):
        return []
    whole, inside = at.loc["all"], at.loc["within class"]
    if whole["value"] < 0.8 or inside["value"] >= 0.5 or inside["p"] > ALPHA:
        return []
    sentence = (
        f"At '{stats.layers[-1]}' {name_of(stats, str(row['domain_a']))} mixes with the other domains over all points "
        f"({whole['value']:.2f} of ideal mixing) but not within classes ({inside['value']:.2f}; chance stays above "
        f"{inside['null_low']:.2f}): its samples lie among other classes."
    )
    return [Verdict("problem", sentence, "Align per class (conditional alignment), not the whole cloud.",
                    value=float(inside["value"]))]  # fmt: skip


def _classes(stats: DomainShift, row: pd.Series) -> list[Verdict]:
    """The class that moves most, and whether all classes move together."""
    shifts = stats.class_shift
    at = shifts[
        (shifts["layer"] == row["layer"]) & (shifts["step"] == row["step"])
        & (shifts["domain_a"] == row["domain_a"]) & (shifts["domain_b"] == REFERENCE)
    ]  # fmt: skip
    moved = at[at["p_adjusted"] <= ALPHA]
    if moved.empty:
        return []
    most = moved.loc[moved["shift"].idxmax()]
    together = ""
    advice = "Look at samples of this class on the map."
    if np.isfinite(most["coherence"]):
        kind, advice = next(
            (kind, advice) for least, kind, advice in _COHERENCE if most["coherence"] >= least or least == 0
        )
        together = f" {kind} (coherence {most['coherence']:.2f} of 1)."
    sentence = (
        f"{len(moved)} of {len(at)} classes of {name_of(stats, str(row['domain_a']))} move beyond chance at layer "
        f"'{row['layer']}'; '{most['class']}' moves most, by {most['shift']:.2f} of its own radius (chance stays below "
        f"{most['null_high']:.2f}, n = {most['n_a']} and {most['n_b']}).{together}"
    )
    options = {"view": "classes", "layer": str(row["layer"]), "step": str(row["step"]), "domain": str(row["domain_a"])}
    return [Verdict("watch", sentence, advice, value=float(most["shift"]), options=options)]


def _kind(stats: DomainShift, row: pd.Series) -> list[Verdict]:
    """Another mix of classes, or other answers within the classes? Said where the accuracy did change."""
    rows = stats.depth.split
    rows = rows[rows["domain"] == row["domain_a"]]
    if rows.empty or rows["change_low"].iloc[0] <= 0 <= rows["change_high"].iloc[0]:
        return []
    found = rows.iloc[0]
    mix, within = 100 * found["label"], 100 * found["conditional"]
    sentence = (
        f"Of the {100 * found['change']:+.1f} points of accuracy between {name_of(stats, str(row['domain_a']))} and "
        f"{reference_name(stats, str(row['domain_a']))}, {mix:+.1f} ({100 * found['label_low']:+.1f} to "
        f"{100 * found['label_high']:+.1f}) come from another mix of classes and {within:+.1f} "
        f"({100 * found['conditional_low']:+.1f} to {100 * found['conditional_high']:+.1f}) from other answers within "
        f"the same classes (n = {found['n']:.0f})."
    )
    if abs(within) >= abs(mix):
        advice = "Reweighting classes will not help; the features have to change, or the training data."
    else:
        advice = "Correct the class prior (reweight by the estimated shares) before changing the features."
    options = {"view": "split", "domain": str(row["domain_a"])}
    return [
        Verdict(
            "watch", sentence, advice, value=float(found["change"]), low=float(found["change_low"]),
            high=float(found["change_high"]), options=options,
        )
    ]  # fmt: skip


#: What an estimate of accuracy is read from, in words; the first that there is leads.
_READ_FROM = {
    "atc": "from the confidences (average thresholded confidence)",
    "agreement": "from how often the model agrees with the nearest class mean",
}


def _unlabelled(stats: DomainShift) -> list[Verdict]:
    """What accuracy to expect on domains without labels."""
    rows = stats.depth.estimates
    rows = rows[rows["accuracy"].isna() & rows["method"].isin(_READ_FROM)]
    said = []
    for domain, estimates in rows.groupby("domain", sort=False):
        known = dict(zip(estimates["method"], _numbers_of(estimates, ["estimate", "low", "high"]), strict=True))
        found = [(*known[method], words) for method, words in _READ_FROM.items() if method in known]
        guesses = " and at ".join(
            f"{percent(value)} ({percent_range(low, high)}) {words}" for value, low, high, words in found
        )
        value, low, high, _ = found[0]
        said.append(
            Verdict(
                "watch",
                f"{name_of(stats, str(domain))} has no labels; its accuracy is estimated at {guesses}.",
                "Label a few dozen samples of it: the estimate is too high where the model is wrong and sure.",
                value=value, low=low, high=high, options={"view": "estimates"},
            )
        )  # fmt: skip
    return said


def _numbers_of(frame: pd.DataFrame, columns: list[str]) -> list[tuple[float, float, float]]:
    """Rows of three columns as plain numbers."""
    return [(float(a), float(b), float(c)) for a, b, c in frame[columns].to_numpy(dtype=float)]
