"""Blocks of the transformers library against one backward pass per sample in float64: all by rule, none by fallback."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 24}
QUIET = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": 20}


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(n_embd=12, n_layer=2, n_head=3, n_positions=16, **TOKENS)
    return transformers.GPT2LMHeadModel(config)


def bert() -> nn.Module:
    config = transformers.BertConfig(max_position_embeddings=16, **SMALL, **QUIET, **TOKENS)
    return transformers.BertForSequenceClassification(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(image_size=16, patch_size=4, num_labels=4, **SMALL, **QUIET)
    return transformers.ViTForImageClassification(config)


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=3, **SMALL, **TOKENS))


class Logits(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs).logits


@pytest.mark.parametrize("build", [gpt2, bert, vit, llama], ids=lambda build: build.__name__)
def test_block(check_exact: Any, build: Any) -> None:
    torch.manual_seed(0)
    net = Logits(build()).double().eval()
    inputs = torch.randn(4, 3, 16, 16, dtype=torch.float64) if build is vit else torch.randint(3, 20, (4, 6))
    assert not check_exact(net, [inputs]).fallback
