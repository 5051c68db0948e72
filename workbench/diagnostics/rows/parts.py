"""The parts of a shared network whose gradients are told apart: modules, groups of modules, groups of channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from workbench.core import ConfigError


@dataclass(frozen=True, eq=False)
class Channels:
    """A parameter, or only its output channels ``start`` to ``stop`` (entries of its first axis)."""

    parameter: nn.Parameter
    start: int = 0
    stop: int | None = None

    @property
    def whole(self) -> bool:
        return self.start == 0 and self.stop is None

    @property
    def n_parameters(self) -> int:
        if self.whole:
            return self.parameter.numel()
        return self.parameter[self.span].numel()

    @property
    def span(self) -> slice:
        """The output channels held."""
        return slice(self.start, self.stop)

    def of(self, rows: Tensor) -> Tensor:
        """The piece's columns of the rows [R, *parameter.shape] of its parameter, flattened to [R, P]."""
        return (rows if self.whole else rows[:, self.span]).reshape(len(rows), -1)


@dataclass(frozen=True, eq=False)
class Part:
    """A named, disjoint share of the trainable shared parameters."""

    name: str
    pieces: tuple[Channels, ...]

    @property
    def n_parameters(self) -> int:
        return sum(piece.n_parameters for piece in self.pieces)


Pieces = Iterable[nn.Parameter | Channels]
#: The shared network, or its parts by name.
Shared = nn.Module | Mapping[str, "nn.Module | Pieces"]
#: Names of modules to tell apart, or a new name for each group of them.
Modules = Sequence[str] | Mapping[str, Sequence[str]]


def resolve(shared: Shared, modules: Modules | None = None) -> tuple[Part, ...]:
    """The parts to measure, in order, without frozen parameters; parts that are wholly frozen are left out.

    Raises:
        ConfigError: an unknown module name, a parameter in two parts, or nothing left to measure.
    """
    named = _of_module(shared, modules) if isinstance(shared, nn.Module) else _of_mapping(shared, modules)
    _refuse_overlaps(named)
    trainable = {name: tuple(p for p in pieces if p.parameter.requires_grad) for name, pieces in named.items()}
    parts = tuple(Part(name, pieces) for name, pieces in trainable.items() if pieces)
    if not parts:
        raise ConfigError(
            "There is no shared parameter to measure: every one has requires_grad=False, or none was given. "
            "Pass the trunk that the tasks share, e.g. shared=model.backbone."
        )
    return parts


def parameters(parts: Iterable[Part]) -> list[nn.Parameter]:
    """The parameters of all parts, each once, in order."""
    return list({id(piece.parameter): piece.parameter for part in parts for piece in part.pieces}.values())


def channel_groups(
    module: nn.Module, n_groups: int, names: Sequence[str] | None = None
) -> dict[str, tuple[Channels, ...]]:
    """Split the output channels of each layer into equal contiguous groups, as parts for ``shared``.

    Channel o of C belongs to group floor(o · n_groups / C); weights, biases and per-channel scales of a layer are cut
    alike. The parts are named ``<layer>[<first>:<last + 1>]``. Layers whose first axis is not an output channel
    (transposed convolution, embedding) cannot be cut.

    Source: groups of channels by task, Deng et al. 2023 (GradSplit); contiguous equal groups are our choice.

    Args:
        names: Which layers, or blocks whose layers all have as many channels (a convolution with its norm), cut as
            one; by default every layer with parameters that can be cut.

    Raises:
        ConfigError: a named layer or block cannot be cut, or a layer has fewer channels than groups.
    """
    if n_groups < 1:
        raise ConfigError(f"n_groups must be at least 1; got {n_groups}.")
    layers, blocks = _layers(module), dict(module.named_modules())
    groups: dict[str, tuple[Channels, ...]] = {}
    for name in _known(names, {**layers, **blocks}) if names is not None else layers:
        if name not in layers:
            groups |= _block_groups(name, blocks[name], n_groups)
            continue
        layer, own = layers[name]
        sizes = {parameter.shape[0] for parameter in own if parameter.ndim}
        if isinstance(layer, (nn.Embedding, nn.modules.conv._ConvTransposeNd)) or len(sizes) != 1:
            if names is None:
                continue
            raise ConfigError(f"Layer '{name}' ({type(layer).__name__}) has no output channels on its first axis.")
        (n_channels,) = sizes
        if n_channels < n_groups:
            raise ConfigError(f"Layer '{name}' has {n_channels} channels, too few for {n_groups} groups.")
        edges = [-(-k * n_channels // n_groups) for k in range(n_groups + 1)]
        for start, stop in pairwise(edges):
            groups[f"{name}[{start}:{stop}]"] = tuple(Channels(p, start, stop) for p in own)
    return groups


def cut(
    shared: Shared, modules: Modules | None, groups: int | Mapping[str, int]
) -> dict[str, tuple[nn.Parameter | Channels, ...]]:
    """Parts in which layers are cut into groups of channels: all chosen ones into as many, or those named in a mapping.

    Raises:
        ConfigError: ``shared`` is no module, ``modules`` are not names, or a layer to cut is not among the chosen ones.
    """
    if not isinstance(shared, nn.Module) or isinstance(modules, Mapping):
        raise ConfigError("groups= cuts the layers of a module: pass shared= as a module, and modules= as names.")
    if isinstance(groups, int):
        return dict(channel_groups(shared, groups, modules))
    whole = {part.name: part.pieces for part in resolve(shared, modules)}
    _known(list(groups), whole)
    parts: dict[str, tuple[nn.Parameter | Channels, ...]] = {}
    for name, pieces in whole.items():
        parts |= channel_groups(shared, groups[name], [name]) if name in groups else {name: pieces}
    return parts


def _block_groups(name: str, block: nn.Module, n_groups: int) -> dict[str, tuple[Channels, ...]]:
    """The groups of all layers of a block, joined channel by channel."""
    groups: dict[str, tuple[Channels, ...]] = {}
    for part, pieces in channel_groups(block, n_groups, list(_layers(block))).items():
        span = name + part[part.rindex("[") :]
        groups[span] = groups.get(span, ()) + pieces
    if len(groups) != n_groups:
        raise ConfigError(f"The layers of block '{name}' differ in their number of channels. Name its layers instead.")
    return groups


def _layers(module: nn.Module) -> dict[str, tuple[nn.Module, list[nn.Parameter]]]:
    """The modules that hold parameters themselves, with those that no earlier module holds, in registration order."""
    seen: set[int] = set()
    found: dict[str, tuple[nn.Module, list[nn.Parameter]]] = {}
    for name, child in module.named_modules():
        own = [p for p in child.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        if own:
            found[name or type(module).__name__] = (child, own)
    return found


def _of_module(shared: nn.Module, modules: Modules | None) -> dict[str, tuple[Channels, ...]]:
    if modules is None:
        return {name: tuple(map(Channels, own)) for name, (_, own) in _layers(shared).items()}
    groups = modules if isinstance(modules, Mapping) else {name: (name,) for name in modules}
    known = dict(shared.named_modules())
    return {
        group: tuple(Channels(p) for name in _known(names, known) for p in known[name].parameters())
        for group, names in groups.items()
    }


def _of_mapping(shared: Mapping[str, nn.Module | Pieces], modules: Modules | None) -> dict[str, tuple[Channels, ...]]:
    given = {name: _pieces(name, value) for name, value in shared.items()}
    if modules is None:
        return given
    groups = modules if isinstance(modules, Mapping) else {name: (name,) for name in modules}
    return {
        group: tuple(piece for name in _known(names, given) for piece in given[name]) for group, names in groups.items()
    }


def _pieces(name: str, value: nn.Module | Pieces) -> tuple[Channels, ...]:
    if isinstance(value, nn.Module):
        return tuple(map(Channels, value.parameters()))
    pieces = tuple(value)
    for piece in pieces:
        if not isinstance(piece, (Tensor, Channels)):
            raise ConfigError(f"shared['{name}'] holds a {type(piece).__name__}; expected parameters or Channels.")
    return tuple(piece if isinstance(piece, Channels) else Channels(piece) for piece in pieces)


def _known(names: Iterable[str], known: Iterable[str]) -> list[str]:
    chosen, available = list(names), list(known)
    for name in chosen:
        if name not in available:
            raise ConfigError(f"There is no module '{name}'. Modules: {', '.join(n for n in available if n)}.")
    return chosen


def _refuse_overlaps(named: Mapping[str, tuple[Channels, ...]]) -> None:
    taken: dict[int, list[tuple[int, int, str]]] = {}
    for name, pieces in named.items():
        for piece in pieces:
            size = piece.parameter.shape[0] if piece.parameter.ndim else 1
            stop = size if piece.stop is None else piece.stop
            for start, end, owner in taken.get(id(piece.parameter), []):
                if piece.start < end and start < stop:
                    raise ConfigError(
                        f"Parts '{owner}' and '{name}' share a parameter of shape {tuple(piece.parameter.shape)}. "
                        "Parts must be disjoint, or their sum would count it twice."
                    )
            taken.setdefault(id(piece.parameter), []).append((piece.start, stop, name))
