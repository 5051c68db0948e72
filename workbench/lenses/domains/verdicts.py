"""The sentences of the domain lens: which domain lies furthest, whether it matters, and where it comes from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.lenses.base import Level, Verdict
from workbench.lenses.domains.statistics import REFERENCE, DomainShift

ALPHA = 0.05
#: A significant shift under this multiple of the null is too small to act on.
MIN_RATIO = 2.0
#: A loss of accuracy of at least this, with its whole interval above 0, makes a harmful shift a problem.
MAX_DROP = 0.05
#: With fewer points per domain, "no shift found" says little.
MIN_POINTS_FOR_SILENCE = 100


def verdicts(stats: DomainShift) -> list[Verdict]:
    """The main verdict first; worst first otherwise. Everything is said about the last recorded checkpoint."""
    step = stats.steps[-1]
    compared = stats.comparisons[(stats.comparisons["step"] == step) & (stats.comparisons["domain_b"] == REFERENCE)]
    distances = compared[compared["measure"] == "mmd2"]
    found = distances[(distances["p_adjusted"] <= ALPHA) & (distances["ratio"] > 1)]
    if found.empty:
        return [_silence(stats, distances)]
    furthest = found.iloc[int(found["excess"].argmax())]
    said = [_furthest(stats, furthest, compared, len(distances))]
    harmful = _harmful_others(stats, str(furthest["domain_a"]), set(found["domain_a"]))
    return [*said, *harmful, *_layers(stats, furthest, compared), *_mixing(stats, furthest), *_classes(stats, furthest)]


def name_of(stats: DomainShift, domain: str) -> str:
    held_out = stats.held_out[stats.domains.index(domain)]
    return f"'{domain}' (held out)" if held_out else f"'{domain}'"


def reference_name(stats: DomainShift, domain: str) -> str:
    if not any(stats.held_out):
        return "the other domains"
    return "the training domains" if stats.held_out[stats.domains.index(domain)] else "the other training domains"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


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


def _furthest(stats: DomainShift, row: pd.Series, compared: pd.DataFrame, n_tests: int) -> Verdict:
    domain, layer = str(row["domain_a"]), str(row["layer"])
    pad = compared[
        (compared["measure"] == "pad") & (compared["layer"] == layer) & (compared["domain_a"] == domain)
    ].iloc[0]
    sentence = (
        f"{name_of(stats, domain)} lies furthest from {reference_name(stats, domain)}: at layer '{layer}', step "
        f"{row['step']}, MMD² is {row['excess']:.3g} beyond chance, {row['ratio']:.3g} times what 95 % of relabellings "
        f"reach ({p_text(row['p_adjusted'])} after correcting for {n_tests} comparisons, {row['n']} samples a side). "
        f"A linear classifier recognises the domain in {percent(0.5 + pad['value'] / 4)} of held-out samples "
        f"(95 % interval {percent(0.5 + pad['low'] / 4)} to {percent(0.5 + pad['high'] / 4)}; 50 % is chance)."
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
        level = "watch" if loss["drop_high"] > MAX_DROP else "fine"
        next_step = (
            "Leave it: the classes stay separable although the domain is recognisable."
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
        f"Accuracy there is {percent(loss['accuracy'])} ({percent(loss['low'])} to {percent(loss['high'])}, "
        f"n = {loss['n']:.0f}) against {percent(loss['reference_accuracy'])} ({percent(loss['reference_low'])} to "
        f"{percent(loss['reference_high'])}) in {reference_name(stats, domain)}: {harm}."
    )


def _harmful_others(stats: DomainShift, named: str, shifted: set[str]) -> list[Verdict]:
    """The shifted domain that loses most accuracy, when it is not the one that lies furthest."""
    losses = {domain: _loss(stats, domain) for domain in shifted - {named}}
    harmful = {d: loss for d, loss in losses.items() if loss is not None and loss["drop_low"] > 0}
    if not harmful:
        return []
    domain = max(harmful, key=lambda name: float(harmful[name]["drop"]))
    first, loss = _loss(stats, named), harmful[domain]
    if first is not None and first["drop"] >= loss["drop"]:
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
        common = most["coherence"] >= 0.5
        kind = "mostly one common translation" if common else "class by class, hardly a common translation"
        together = f" The shift is {kind} (coherence {most['coherence']:.2f} of 1)."
        advice = (
            "Re-estimate normalisation statistics on this domain: that removes a common translation."
            if common
            else "Normalisation will not fix it; use labels of this domain or class-conditional alignment."
        )
    sentence = (
        f"{len(moved)} of {len(at)} classes of {name_of(stats, str(row['domain_a']))} move beyond chance at layer "
        f"'{row['layer']}'; '{most['class']}' moves most, by {most['shift']:.2f} of its own radius (chance stays below "
        f"{most['null_high']:.2f}, n = {most['n_a']} and {most['n_b']}).{together}"
    )
    options = {"view": "classes", "layer": str(row["layer"]), "step": str(row["step"]), "domain": str(row["domain_a"])}
    return [Verdict("watch", sentence, advice, value=float(most["shift"]), options=options)]
