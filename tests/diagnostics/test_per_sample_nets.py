"""Whole networks against one backward pass per sample in float64, and the trouble real training code brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from workbench.core.errors import ConfigError
from workbench.diagnostics import gsnr
from workbench.diagnostics.benchmark.nets import Transformer, group_norm, lenet, resnet18

pytestmark = pytest.mark.filterwarnings("error")


def images(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape, dtype=torch.float64)]


class VisionTransformer(nn.Module):
    """Patches by a strided convolution, a class token, learned positions, torch's own encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.encoder(x)[:, 0])


def batch_norm_net() -> nn.Module:
    net = resnet18(8, nn.BatchNorm2d, classes=5)
    with torch.no_grad():
        net(torch.randn(16, 3, 16, 16))
    return net.eval()


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], list[Tensor]]]] = {
    "MLP": (lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 5)), lambda: images(6, 7)),
    "LeNet": (lenet, lambda: images(5, 1, 28, 28)),
    "ResNet, GroupNorm": (lambda: resnet18(8, group_norm, classes=5), lambda: images(4, 3, 16, 16)),
    "ResNet, eval BatchNorm": (batch_norm_net, lambda: images(4, 3, 16, 16)),
    "ViT": (VisionTransformer, lambda: images(4, 3, 16, 16)),
    "GPT-2 blocks": (lambda: Transformer(11, 12, 2, 3, 8), lambda: [torch.randint(11, (4, 8))]),
}


@pytest.mark.parametrize("name", NETS)
def test_whole_networks(check_exact: Any, name: str) -> None:
    torch.manual_seed(0)
    build, inputs = NETS[name]
    moments = check_exact(build().double(), inputs())
    assert not moments.fallback
    assert not moments.unused


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(36, 3))


def cross_entropy_of(net: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: functional.cross_entropy(net(x), y, reduction="none")


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    """The same numbers at every call, without drawing from the global generators."""
    draw = torch.Generator().manual_seed(n)
    return torch.randn(n, 2, 5, 5, generator=draw), torch.randint(3, (n,), generator=draw)


def assert_same(a: gsnr.Moments, b: gsnr.Moments, rtol: float = 1e-9) -> None:
    for name in b.parameters:
        for domain in b.count:
            scale = np.abs(b.m2[name][domain]).max()
            np.testing.assert_allclose(a.m2[name][domain], b.m2[name][domain], rtol=rtol, atol=rtol * scale)
            np.testing.assert_allclose(a.mean[name][domain], b.mean[name][domain], rtol=rtol, atol=rtol * scale**0.5)


def test_frozen_parameters_are_left_out(check_exact: Any, net: nn.Module) -> None:
    net = net.double()
    net[0].requires_grad_(False)
    x = torch.randn(4, 2, 5, 5, dtype=torch.float64)
    assert set(check_exact(net, [x]).parameters) == {"1.weight", "1.bias", "4.weight", "4.bias"}


def test_frozen_parameters_can_be_asked_for(net: nn.Module) -> None:
    full = gsnr.measure(net, cross_entropy_of(net), [batch()])
    net.requires_grad_(False)
    asked = gsnr.measure(net, cross_entropy_of(net), [batch()], parameters={"first": net[0].weight})
    np.testing.assert_allclose(asked.m2["first"][""], full.m2["0.weight"][""], rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_a_parameter_that_no_loss_uses_has_no_gradient(net: nn.Module) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = net, nn.Linear(2, 2)

    moments = gsnr.measure(Holder(), cross_entropy_of(net), [batch()])
    assert moments.unused == ("spare.weight", "spare.bias")
    assert not moments.m2["spare.weight"][""].any()


def test_autocast_agrees_with_the_loop_of_the_same_precision(net: nn.Module) -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return functional.cross_entropy(net(x), y, reduction="none").float()

    x, y = batch()
    moments = gsnr.measure(net, loss, [(x, y)])
    exact = gsnr.measure(net.double(), cross_entropy_of(net), [(x.double(), y)])
    assert not moments.fallback
    assert_same(moments, exact, rtol=0.1)


def test_a_network_in_bfloat16(net: nn.Module) -> None:
    x, y = batch()
    moments = gsnr.measure(net.bfloat16(), cross_entropy_of(net), [(x.bfloat16(), y)])
    exact = gsnr.measure(net.double(), cross_entropy_of(net), [(x.bfloat16().double(), y)])
    assert_same(moments, exact, rtol=0.1)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(net: nn.Module, reentrant: bool) -> None:
    x, y = batch()
    x.requires_grad_(reentrant)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        middle = checkpoint(net[:3], x, use_reentrant=reentrant)
        return functional.cross_entropy(net[3:](middle), y, reduction="none")

    assert_same(gsnr.measure(net, loss, [(x, y)]), gsnr.measure(net, cross_entropy_of(net), [(x, y)]))
    assert torch.utils.checkpoint.CheckpointFunction.__name__ == "CheckpointFunction"


def test_a_compiled_model_is_measured_eagerly_under_its_own_names(net: nn.Module) -> None:
    compiled = torch.compile(net, backend="eager")
    data = batch()
    moments = gsnr.measure(compiled, cross_entropy_of(compiled), [data])
    assert moments.parameters == tuple(name for name, _ in net.named_parameters())
    assert_same(moments, gsnr.measure(net, cross_entropy_of(net), [data]))


def test_dropout_draws_one_mask_for_all_parameters() -> None:
    """The rule and the fallback see the same forward pass."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    form = nn.Bilinear(3, 3, 2).double()
    holder = nn.ModuleList([net, form])
    x = torch.randn(5, 3, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return form(net(x), x).sum(1)

    state = torch.get_rng_state()
    losses = loss(x)
    rows = [torch.autograd.grad(one, [net[0].weight, form.weight], retain_graph=True) for one in losses]
    torch.set_rng_state(state)
    moments = gsnr.measure(holder, loss, [(x,)])
    for at, name in enumerate(("0.0.weight", "1.weight")):
        mean = torch.stack([row[at] for row in rows]).mean(0)
        np.testing.assert_allclose(moments.mean[name][""], mean.numpy(), rtol=1e-9, atol=1e-12)
    assert set(moments.fallback) == {"1.weight"}


@pytest.fixture
def unchanged(net: nn.Module) -> Iterator[nn.Module]:
    """A network in a mixed state that must be the same after the test."""
    net.append(nn.BatchNorm1d(3))
    net[5](torch.randn(4, 3))
    net.train()
    net[5].eval()
    net[0].bias.requires_grad_(False)
    net[4].weight.grad = torch.ones_like(net[4].weight)
    hooks = {
        name: len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for name, m in net.named_modules()
    }

    def state() -> dict[str, Any]:
        return {
            "tensors": {name: (t.clone(), t._version) for name, t in net.named_parameters()},
            "buffers": {name: t.clone() for name, t in net.named_buffers()},
            "grads": {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()},
            "requires": [p.requires_grad for p in net.parameters()],
            "modes": [m.training for m in net.modules()],
            "rng": (torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].copy())),  # noqa: NPY002
        }

    before = state()
    yield net
    after = state()
    assert hooks == {
        name: len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for name, m in net.named_modules()
    }
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_no_trace_is_left(unchanged: nn.Module) -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(unchanged(x + torch.randn_like(x)), y, reduction="none")

    gsnr.measure(unchanged, loss, [batch(), batch()], parameters=dict(unchanged.named_parameters()))


def test_no_trace_is_left_by_an_exception(unchanged: nn.Module) -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        unchanged(x).sum().item()
        raise RuntimeError("from the loss")

    with pytest.raises(RuntimeError, match="from the loss"):
        gsnr.measure(unchanged, loss, [batch()], parameters=dict(unchanged.named_parameters()))


def test_no_trace_is_left_by_batch_norm_in_training_mode(unchanged: nn.Module) -> None:
    unchanged[5].train()
    try:
        with pytest.raises(ConfigError, match=r"training mode \(5.weight, 5.bias\).*model.eval"):
            gsnr.measure(unchanged, cross_entropy_of(unchanged), [batch()])
    finally:
        unchanged[5].eval()


def test_measuring_works_where_gradients_are_off(net: nn.Module) -> None:
    data = batch()
    with torch.no_grad():
        off = gsnr.measure(net, cross_entropy_of(net), [data])
    assert_same(off, gsnr.measure(net, cross_entropy_of(net), [data]))


def test_batches_in_mappings_and_of_other_sizes(net: nn.Module) -> None:
    def loss(given: dict[str, Tensor]) -> Tensor:
        return functional.cross_entropy(net(given["image"]), given["label"], reduction="none")

    x, y = batch(9)
    parts = [
        ({"image": x[:5], "label": y[:5]},),
        ({"image": x[5:8], "label": y[5:8]},),
        ({"image": x[8:], "label": y[8:]},),
    ]
    together = gsnr.measure(net, cross_entropy_of(net), [(x, y)])
    assert_same(gsnr.measure(net, loss, parts), together, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NETS)
def test_on_a_gpu(check_exact: Any, name: str) -> None:
    build, inputs = NETS[name]
    check_exact(build().double().cuda(), [t.cuda() for t in inputs()])
