"""The trainable reward models, and the loss of some rows in one forward pass.

A label model and a judge are causal language models read at a few positions; a scalar reward model is OpenRLHF's, with
its Bradley-Terry loss. Each writes its folder in the published layout.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import PairWiseLoss
from openrlhf.models.model import _get_reward_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from rewards.chat import ChatTemplate, Turn, load_tokenizer
from rewards.training.examples import Marked, Pair
from rl.learner.critic import draw_head
from rl.learner.full_weights import write_model
from rl.learner.model import loading, place_on_device
from rl.reward_training.planning import lay_out
from rl.reward_training.settings import Layout
from rl.settings import PolicySettings, Precision, require


class Trainee(Protocol):
    """A model to train. DeepSpeed wraps `module`; `model` is the part that is saved."""

    module: nn.Module
    model: Any

    def losses(self, engine: nn.Module, items: Sequence[Any], layout: Layout, device: str) -> tuple[Tensor, Tensor]:
        """The summed loss of these rows in nats, and the number of correct terms, computed through `engine`."""
        ...

    def write(self, weights: dict[str, Tensor], source: str, folder: Path) -> None:
        """Write these weights, the configuration and the tokenizer found in `source`."""
        ...


class PositionReader(nn.Module):
    """A causal language model that returns logits (N, V) float32 at the given positions only."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, ids: Tensor, positions: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
        """Ids (b, L) with position ids or None; logits at (rows[k], columns[k])."""
        decoder, head = self.model.get_decoder(), self.model.get_output_embeddings()
        hidden = decoder(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return head(hidden[rows, columns]).float()


class LabelTrainee:
    """Cross-entropy at the marked positions, over the vocabulary or over the `candidates` (token ids) only.

    With soft targets it is the cross-entropy with both labels, weighted by their shares.
    """

    def __init__(
        self, path: str, dtype: Precision, strategy: DeviceStrategy, candidates: tuple[int, ...] | None
    ) -> None:
        with loading(PolicySettings(path, dtype), strategy) as options:
            self.model: Any = AutoModelForCausalLM.from_pretrained(path, **options)
        place_on_device(self.model, strategy)
        self.module: nn.Module = PositionReader(self.model)
        self.candidates = None if candidates is None else torch.tensor(candidates)

    def losses(self, engine: nn.Module, items: Sequence[Marked], layout: Layout, device: str) -> tuple[Tensor, Tensor]:
        """See Trainee. A term is correct if its target (the likelier one, if soft) has the highest logit."""
        ids, positions, starts = lay_out([item.ids for item in items], layout)
        rows = torch.cat([torch.full((item.loss_terms,), row) for item, (row, _) in zip(items, starts, strict=True)])
        columns = torch.cat(
            [torch.as_tensor(item.positions).long() + start for item, (_, start) in zip(items, starts, strict=True)]
        )
        placed = [None if value is None else value.to(device) for value in (ids, positions, rows, columns)]
        logits = engine(*placed)
        if self.candidates is not None:
            logits = logits[:, self.candidates.to(device)]
        targets = self._places([item.targets for item in items], device)
        if items[0].shares is None:
            loss = nn.functional.cross_entropy(logits, targets, reduction="sum")
        else:
            shares = torch.cat([torch.as_tensor(item.shares) for item in items]).to(device)
            others = self._places([item.others for item in items], device)
            first, second = (nn.functional.cross_entropy(logits, ids, reduction="none") for ids in (targets, others))
            loss = (shares * first + (1 - shares) * second).sum()
        return loss, (logits.argmax(dim=1) == targets).sum()

    def _places(self, ids: Sequence[Any], device: str) -> Tensor:
        """Token ids (N,) of all rows, as indices into the logits."""
        together = torch.cat([torch.as_tensor(some).long() for some in ids]).to(device)
        if self.candidates is None:
            return together
        return (together[:, None] == self.candidates.to(device)).int().argmax(dim=1)

    def write(self, weights: dict[str, Tensor], source: str, folder: Path) -> None:
        """Write an ordinary causal language model's folder."""
        write_model(self.model, weights, source, folder)


class ScalarTrainee:
    """OpenRLHF's reward model with its Bradley-Terry loss, -log sigmoid(chosen - rejected) per pair."""

    def __init__(self, path: str, dtype: Precision, strategy: DeviceStrategy, seed: int) -> None:
        config = AutoConfig.from_pretrained(path)
        config.normalize_reward = False
        backbone = AutoModel._model_mapping[type(config)]
        cls: Any = _get_reward_model(backbone.__base__, backbone)
        with loading(PolicySettings(path, dtype), strategy) as options:
            model, report = cls.from_pretrained(
                path, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
        self.model: Any = model
        unread = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
        strange = sorted(unread - {"score.weight"})
        require(not strange, f"recipe.model {path} lacks {len(strange)} weights, for example {strange[:1]}")
        if unread:
            draw_head(self.model.score.weight, config.hidden_size, seed)
        self.model.config.use_cache = False
        place_on_device(self.model, strategy)
        self.module: nn.Module = self.model
        self.loss = PairWiseLoss()

    def losses(self, engine: nn.Module, items: Sequence[Pair], layout: Layout, device: str) -> tuple[Tensor, Tensor]:
        """See Trainee. A pair is correct if the chosen response scores higher. Rows are always padded."""
        sides = [*(pair.chosen for pair in items), *(pair.rejected for pair in items)]
        ids, _, _ = lay_out(sides, "balanced")
        lengths = torch.tensor([len(side) for side in sides])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        chosen, rejected = engine(ids.to(device), attention_mask=mask.to(device)).float().chunk(2)
        return self.loss(chosen, rejected) * len(items), (chosen > rejected).sum()

    def write(self, weights: dict[str, Tensor], source: str, folder: Path) -> None:
        """Write a sequence classifier with one class and head `score.weight`: OpenRLHF's and transformers' layout.

        Training reads the conversation's last token, but transformers reads the last one that is not `pad_token_id`. If
        the template ends with that token, pad_token_id is set to null.
        """
        write_model(self.model, weights, source, folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        classifier = AutoModelForSequenceClassification._model_mapping[type(self.model.config)]
        config |= {"architectures": [classifier.__name__], "id2label": {"0": "reward"}, "label2id": {"reward": 0}}
        for name in ("normalize_reward", "mean", "std"):  # left by an earlier training, if any
            config.pop(name, None)
        [example] = ChatTemplate(load_tokenizer(source)).render([[Turn("user", "x"), Turn("assistant", "y")]])
        if config.get("pad_token_id") == example.ids[-1]:
            config["pad_token_id"] = None
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
