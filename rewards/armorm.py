"""ArmoRM as a reward: a conversation's score is a gated mixture of named objectives, which are returned as parts.

The conversation is the prompt's messages and the response in the model's own chat template, without a generation
prompt. The gate reads the hidden state at the first token of the last assistant header (in Llama-3's template
`<|eot_id|><|start_header_id|>assistant<|end_header_id|>` and a blank line). The published code searches the tokenised
text for these ids, so a response that spells out a header moves its own gate. Here it cannot: a response is plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rewards.chat import ChatTemplate, Rendered, Turn, conversation, load_tokenizer
from rewards.engines.armorm_model import ARCHITECTURE, ArmoHead, objective_names
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import EngineName, ModelOptions, Overlong, Precision
from rewards.model_reward import ModelReward, Prompt
from rewards.protocol import Pair
from rewards.types import Score

HELPSTEER = "helpsteer-"


class ArmoRMReward(ModelReward):
    """ArmoRM's score of a response, or a weighted sum of chosen objectives.

    model: folder or hub name of a checkpoint with architecture `LlamaForRewardModelWithGating`.
    objectives: your own weights by objective name; the value is then sum(weight * reward), without the gate. None: the
    gated score.
    helpsteer_scale: convert the helpsteer objectives to their original scale, reward * 5 - 0.5 (about 0 to 4), in the
    parts and under `objectives`; the gated score always uses the raw rewards.
    parts: `all`, or `rewards` to leave out gate and coefficients.
    max_tokens: longest conversation in tokens (the published usage: 4096); None uses the model's limit.
    overlong: what to do with a longer one: `fail` fails its score; `cut` truncates the response, logs it and adds the
    part `cut` to the score. The heads are float32 whatever the decoder's dtype. The other options are those of
    `rewards.engines.options.ModelOptions`.

    Parts: `score` (gated), and for every objective `reward/NAME`, `gate/NAME` and `coefficient/NAME` (gate @ T.T), with
    sum(reward * coefficient) = score. Raises ValueError for a set-up that cannot work.
    """

    def __init__(
        self,
        model: str,
        *,
        objectives: Mapping[str, float] | None = None,
        helpsteer_scale: bool = False,
        parts: str = "all",
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        overlong: Overlong = "fail",
        engine: EngineName = "transformers",
        gpu_memory: float = 0.4,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        options = ModelOptions(
            dtype=dtype,
            device=device,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
            overlong=overlong,
            engine=engine,
            gpu_memory=gpu_memory,
            chat_template_kwargs=chat_template_kwargs,
        )
        if parts not in ("all", "rewards"):
            raise ValueError(f"parts must be all or rewards, not {parts!r}")
        checkpoint = Checkpoint(model, ARCHITECTURE)
        self.names = objective_names(checkpoint.config, model)
        self.objectives = _checked_weights(objectives, self.names)
        self.template = ChatTemplate(load_tokenizer(model), chat_template_kwargs)
        self.header = assistant_header(self.template)
        self.helpsteer_scale = helpsteer_scale
        self.kinds = ("reward", "gate", "coefficient") if parts == "all" else ("reward",)
        self.columns = [f"{kind}/{name}" for kind in self.kinds for name in self.names]
        self.part_names = frozenset({"score", *self.columns})
        super().__init__(checkpoint, options, ArmoHead())

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """See ModelReward. Reads the first token of the last assistant header (for the gate) and the last token."""
        conversations = [conversation(problem.messages, response.text) for problem, response in pairs]
        rendered = self.template.render_each(conversations)
        return [
            self._prompt(one) if turns[-1].content.strip() else "the response is empty"
            for one, turns in zip(rendered, conversations, strict=True)
        ]

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        if not read:
            return []
        output = ArmoHead.join(read)
        scale = torch.tensor(
            [5.0 if self.helpsteer_scale and name.startswith(HELPSTEER) else 1.0 for name in self.names]
        )
        shown = output.rewards * scale - (scale > 1) * 0.5
        values = output.score
        if self.objectives is not None:
            values = shown @ torch.tensor([self.objectives.get(name, 0.0) for name in self.names])
        shown_of = {"reward": shown, "gate": output.gate, "coefficient": output.coefficients}
        rows = torch.cat([shown_of[kind] for kind in self.kinds], dim=1).tolist()
        return [
            Score.of(value, parts={"score": score} | dict(zip(self.columns, row, strict=True)))
            for value, score, row in zip(values.tolist(), output.score.tolist(), rows, strict=True)
        ]

    def _prompt(self, rendered: Rendered) -> Prompt | str:
        if rendered.failure is not None:
            return rendered.failure
        gate = last_occurrence(rendered.ids, self.header)
        if gate < 0:
            return "the assistant header merged with the response: the gate's position is lost"
        return Prompt(rendered.ids, [gate, len(rendered.ids) - 1])


def assistant_header(template: ChatTemplate) -> list[int]:
    """The token ids between a user's content and the assistant's, taken from the template itself.

    For Llama-3 these are [128009, 128006, 78191, 128007, 271]. Raises ValueError if none of them is a control token:
    a response could then forge a header.
    """
    turns = [[Turn("user", text), Turn("assistant", "y", scored=True)] for text in ("a", "b")]
    one, other = (rendered.ids[: rendered.positions[0] + 1] for rendered in template.render(turns))
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    header = one[len(one) - length :]
    added = template.tokenizer.added_tokens_decoder
    if not any(token in added and added[token].special for token in header):
        raise ValueError(
            f"the chat template of {template.name} opens the assistant's turn without a control token: ArmoRM's gate "
            "needs one; use the tokenizer the model was trained with"
        )
    return header


def last_occurrence(ids: Sequence[int], pattern: Sequence[int]) -> int:
    """The index where the last occurrence of `pattern` in `ids` begins, -1 if there is none."""
    ids, pattern = list(ids), list(pattern)
    for start in range(len(ids) - len(pattern), -1, -1):
        if ids[start : start + len(pattern)] == pattern:
            return start
    return -1


def _checked_weights(weights: Mapping[str, float] | None, names: Sequence[str]) -> dict[str, float] | None:
    """Check the user's weights by objective. Raises ValueError for an unknown name and for an empty mapping."""
    if weights is None:
        return None
    unknown = sorted(set(weights) - set(names))
    if unknown or not weights:
        wrong = f"names {', '.join(unknown)}, which the model does not have" if unknown else "is empty"
        raise ValueError(f"objectives {wrong}; its objectives are {', '.join(names)}")
    return {name: float(weight) for name, weight in weights.items()}
