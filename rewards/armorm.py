"""ArmoRM as a reward: a conversation's score as a mixture of named objectives, and what the mixture was made of.

The conversation is the prompt's messages and the response in the model's own chat template, no generation prompt. The
gate reads the state at the first token of the last assistant header (in Llama-3's template
`<|eot_id|><|start_header_id|>assistant<|end_header_id|>` and a blank line). Published code searches these ids in the
tokenised text, so a response that spells out such a header moves its own gate; here a response is text and cannot.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rewards.armorm_model import ARCHITECTURE, ArmoOutput, ArmoRewardModel, load_armorm, objective_names
from rewards.chat import ChatTemplate, Turn, conversation, load_tokenizer
from rewards.engines.onednn import use_onednn
from rewards.engines.transformers import DTYPES, Precision, at_positions, pick_device, read_config
from rewards.labels import Engine, Overlong, longest_input, share_of_memory
from rewards.protocol import Pair, ResponseReward
from rewards.types import Score

HELPSTEER = "helpsteer-"

_logger = logging.getLogger(__name__)


class ArmoEngine(Protocol):
    """How the model is run."""

    def outputs(self, sequences: Sequence[Sequence[int]], prompt_positions: Sequence[int]) -> ArmoOutput:
        """The heads at each sequence's last token and its prompt's end, float32 on the CPU, in the order given."""
        ...

    def load(self) -> Any:
        """Load the weights, unless they are loaded already."""
        ...


class TransformersArmoEngine:
    """ArmoRM on transformers: length-sorted right-padded batches; the weights are loaded at the first call."""

    def __init__(self, model: str, *, dtype: Precision, device: str, batch_tokens: int) -> None:
        self.path, self.dtype, self.device, self.batch_tokens = model, DTYPES[dtype], device, batch_tokens
        self._model: ArmoRewardModel | None = None

    def load(self) -> ArmoRewardModel:
        """The model, loaded once."""
        if self._model is None:
            self._model = load_armorm(self.path, self.dtype).to(pick_device(self.device))
            use_onednn(self._model.model)
        return self._model

    def outputs(self, sequences: Sequence[Sequence[int]], prompt_positions: Sequence[int]) -> ArmoOutput:
        """One forward a sequence; the heads run on all of them at once."""
        model = self.load()
        positions = [(prompt, len(ids) - 1) for ids, prompt in zip(sequences, prompt_positions, strict=True)]
        states = at_positions(model.model, sequences, positions, Tensor.float, batch_tokens=self.batch_tokens)
        device = model.regression_layer.weight.device
        prompt, last = torch.stack(states).to(device).unbind(dim=1)
        with torch.inference_mode():
            return ArmoOutput(*(tensor.cpu() for tensor in model.heads(last, prompt)))


class ArmoRMReward(ResponseReward):
    """ArmoRM's score of a response, or a weighted sum of chosen objectives.

    model: folder or hub name of a checkpoint with architecture `LlamaForRewardModelWithGating`.
    objectives: own weights by objective name; the value is then sum(weight * reward), without gate. None: gated score.
    helpsteer_scale: bring the helpsteer objectives to their own scale, reward * 5 - 0.5 (about 0 to 4), in the parts
    and under `objectives`; the gated score always uses the raw rewards.
    parts: `all`, or `rewards` to leave gate and coefficients out.
    dtype: fp32 or bf16, of the decoder; the heads are float32. device: cpu, cuda, or auto (cuda where there is one).
    max_tokens: longest conversation in tokens (the published usage: 4096); None takes the model's limit.
    overlong: `fail` fails the score of a longer one, `cut` takes away the end of the response, says so in the log and
    marks the score with the part `cut`.
    batch_tokens: tokens of one forward pass, padding included. engine: transformers or vllm; the scores are equal.
    gpu_memory: vLLM's share of a GPU's memory, in (0, 1].

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
        batch_tokens: int = 16384,
        overlong: Overlong = "fail",
        engine: Engine = "transformers",
        gpu_memory: float = 0.4,
    ) -> None:
        share_of_memory(gpu_memory)
        if dtype not in DTYPES:
            raise ValueError(f"reward.dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
        if overlong not in ("fail", "cut"):
            raise ValueError(f"reward.overlong must be fail or cut, not {overlong!r}")
        if parts not in ("all", "rewards"):
            raise ValueError(f"reward.parts must be all or rewards, not {parts!r}")
        if batch_tokens < 1:
            raise ValueError(f"reward.batch_tokens must be at least 1, not {batch_tokens}")
        config = read_config(model, ARCHITECTURE)
        self.names = objective_names(config, model)
        self.objectives = _checked_weights(objectives, self.names)
        self.template = ChatTemplate(load_tokenizer(model))
        self.header = assistant_header(self.template)
        self.max_tokens = longest_input(model, max_tokens, config.max_position_embeddings)
        self.cuts = overlong == "cut"
        self.helpsteer_scale = helpsteer_scale
        self.kinds = ("reward", "gate", "coefficient") if parts == "all" else ("reward",)
        self.columns = [f"{kind}/{name}" for kind in self.kinds for name in self.names]
        self.part_names = frozenset({"score", *self.columns})
        self.engine = _engine(engine, model, dtype, device, batch_tokens, self.max_tokens, gpu_memory)

    def load(self) -> None:
        """Load the weights, unless they are loaded already."""
        self.engine.load()

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """A score for each response; an empty one, and an over-long one unless it may be cut, fail with a reason."""
        conversations = [conversation(problem.messages, response.text) for problem, response in pairs]
        sequences = [rendered.ids for rendered in self.template.render(conversations)]
        long = [index for index, ids in enumerate(sequences) if len(ids) > self.max_tokens]
        if self.cuts and long:
            for index in long:
                sequences[index] = self._shortened(conversations[index], sequences[index])
            _logger.warning(
                "%d of %d responses were cut to %d tokens (reward.max_tokens)", len(long), len(pairs), self.max_tokens
            )
        failures = [self._failure(turns[-1].content, ids) for turns, ids in zip(conversations, sequences, strict=True)]
        kept = [index for index, failure in enumerate(failures) if failure is None]
        scores = self._scores([sequences[index] for index in kept], [self.cuts and index in long for index in kept])
        found = iter(scores)
        return [next(found) if failure is None else Score.failed(failure) for failure in failures]

    def _scores(self, sequences: Sequence[list[int]], cut: Sequence[bool]) -> list[Score]:
        """The scores of conversations that can be scored."""
        if not sequences:
            return []
        output = self.engine.outputs(sequences, [last_occurrence(ids, self.header) for ids in sequences])
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
            Score.of(
                value,
                parts={"score": score} | dict(zip(self.columns, row, strict=True)) | ({"cut": 1.0} if was_cut else {}),
            )
            for value, score, row, was_cut in zip(values.tolist(), output.score.tolist(), rows, cut, strict=True)
        ]

    def _failure(self, text: str, ids: Sequence[int]) -> str | None:
        """Why a conversation cannot be scored, or None."""
        if not text.strip():
            return "the response is empty"
        if len(ids) > self.max_tokens:
            return f"longer than {self.max_tokens} tokens (reward.max_tokens)"
        if last_occurrence(ids, self.header) < 0:
            return "the assistant header merged with the response: the gate's position is lost"
        return None

    def _shortened(self, turns: Sequence[Turn], ids: list[int]) -> list[int]:
        """The conversation, the end of its response cut until it fits; unchanged if the prompt alone is too long."""
        short, text = ids, turns[-1].content
        while len(short) > self.max_tokens and text:
            text = text[: -max(1, (len(short) - self.max_tokens) // 2)]
            [rendered] = self.template.render([[*turns[:-1], Turn("assistant", text)]])
            short = rendered.ids
        return short if text.strip() else ids


def assistant_header(template: ChatTemplate) -> list[int]:
    """The token ids between a user's content and the assistant's, taken from the template itself.

    For Llama-3 these are [128009, 128006, 78191, 128007, 271]. Raises ValueError when no control token is among them:
    a response could then write a header of its own.
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
            "needs one, use the tokenizer the model was trained with"
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
    """Own weights by objective. Raises ValueError for a name the model does not have, and for none at all."""
    if weights is None:
        return None
    unknown = sorted(set(weights) - set(names))
    if unknown or not weights:
        wrong = f"names {', '.join(unknown)}, which the model does not have" if unknown else "is empty"
        raise ValueError(f"reward.objectives {wrong}; its objectives are {', '.join(names)}")
    return {name: float(weight) for name, weight in weights.items()}


def _engine(
    engine: Engine, model: str, dtype: Precision, device: str, batch_tokens: int, max_tokens: int, gpu_memory: float
) -> ArmoEngine:
    if engine == "transformers":
        return TransformersArmoEngine(model, dtype=dtype, device=device, batch_tokens=batch_tokens)
    if engine == "vllm":
        from rewards.engines.armorm_vllm import VllmArmoEngine  # vLLM takes seconds to import

        return VllmArmoEngine(model, dtype=dtype, max_tokens=max_tokens, gpu_memory=gpu_memory)
    raise ValueError(f"reward.engine must be transformers or vllm, not {engine!r}")
