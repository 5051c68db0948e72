"""What a network costs to run: its parameters, and the arithmetic of one forward pass.

Counted are the multiplications and additions of convolutions and matrix products, two for each weight that meets an
input, as is usual in papers that report FLOPs of networks; biases, norms, activations and pooling are left out. Half of
the number is what others call MACs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.diagnostics.untouched import untouched


@dataclass(frozen=True)
class Cost:
    """``flops``: of one forward pass on the inputs given. ``parameters``: trainable or not, shared ones once."""

    parameters: int
    flops: int


def inference_cost(net: nn.Module, inputs: Tensor) -> Cost:
    """Count by running the network once on ``inputs`` in eval mode; give one sample to have the cost of a sample."""
    from torch.utils.flop_counter import FlopCounterMode

    with untouched(net), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(inputs)
    return Cost(sum(parameter.numel() for parameter in net.parameters()), int(counter.get_total_flops()))
