"""A Hugging Face transformer with one head a task. Run it as it is:  workbench diagnose THIS_FILE

It needs the package transformers and downloads nothing: the encoder is built small from its configuration, and the
texts are numbers. For your own, load a pretrained encoder in build_model and tokenize in batches. Only the five names
marked (needed) must be there.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from transformers import BertConfig, BertModel

tasks = ["topic", "mood"]  # (needed)

WORDS, LENGTH = 60, 12


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=LENGTH,
        )  # fmt: skip
        # Yours: self.encoder = AutoModel.from_pretrained("path/or/name")
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.heads = nn.ModuleDict({"topic": nn.Linear(32, 3), "mood": nn.Linear(32, 2)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[:, :, None]
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return {task: head(pooled) for task, head in self.heads.items()}


def build_model(seed: int) -> nn.Module:  # (needed) fresh heads; torch is already seeded
    return Classifier()


def shared(model: Classifier) -> Any:  # (needed)
    return model.encoder


def batches(seed: int) -> Iterator[dict[str, Tensor]]:  # (needed) as a data collator gives them
    order = torch.Generator().manual_seed(seed)
    for _ in range(30):
        ids = torch.randint(WORDS, (32, LENGTH), generator=order)
        mask = torch.ones_like(ids)
        topic = (ids < 20).sum(dim=1).clamp(2, 6).sub(2).div(2, rounding_mode="floor")
        yield {"input_ids": ids, "attention_mask": mask, "topic": topic, "mood": (ids[:, 0] > WORDS // 2).long()}


def losses(model: Classifier, batch: dict[str, Tensor]) -> dict[str, Tensor]:  # (needed) one loss a text
    output = model(batch["input_ids"], batch["attention_mask"])
    return {task: cross_entropy(output[task], batch[task], reduction="none") for task in tasks}


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=5e-4)


def inputs(batch: dict[str, Tensor]) -> Tensor:  # for attribution, which needs numbers: every word as a row of 0 and 1
    return one_hot(batch["input_ids"], WORDS).float()


def outputs(model: Classifier, inputs: Tensor) -> dict[str, Tensor]:
    words = inputs @ model.encoder.get_input_embeddings().weight
    pooled = model.encoder(inputs_embeds=words).last_hidden_state.mean(dim=1)
    return {task: head(pooled) for task, head in model.heads.items()}


def targets(batch: dict[str, Tensor]) -> dict[str, Tensor]:  # for attribution: the classes
    return {task: batch[task] for task in tasks}
