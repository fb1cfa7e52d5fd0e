"""Process reward models with a head at separator tokens: one adapter for all of them, told apart by its options.

After every step comes a separator, and the score of the step is read there. Five things differ between models, and each
is an option: how the input is built (`form`), the separator, the head (`head` or `labels`), how its numbers become a
score (`reading`), and where steps begin and end (`splitter`). configs/reward has one file per published model:
qwen_math_prm, skywork_prm, math_shepherd, trl_prm, pure_prm, reasoneval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rewards.aggregate import aggregate
from rewards.chat import ChatTemplate, Turn, load_tokenizer
from rewards.conversation import earlier_turns, question_of
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.heads import LayerHead, LogitHead
from rewards.engines.options import EngineName, ModelOptions, Overlong, Precision
from rewards.evaluation.process_bench import first_error
from rewards.model_reward import NO_STEPS, ModelReward, Prompt, prompt_of, step_score, steps_that_fit
from rewards.options import require_read
from rewards.protocol import Pair
from rewards.raw_text import StepText, one_token
from rewards.steps import Splitter, StepTexts
from rewards.types import Problem, Response, Score

PAD_TOKEN = "pad_token"
Reading = Literal["probability", "difference", "sigmoid", "raw"]


class StepHeadReward(ModelReward):
    """A score for every step from the head's numbers at its separator, and their aggregate as the value.

    form: how the input is built. `chat`: the problem is the user's turn and the steps are the assistant's, in the
    model's chat template; `text`: one plain text; `tokens`: plain text, each piece tokenised by itself.
    separator: comes after every step; exactly one token. `pad_token` is the tokenizer's.
    after: text between a separator and the next step (`text`).
    opening: the text before the first step, with `{problem}` (`text` and `tokens`).
    keep_separator: false leaves the separator out of the input: each step is read at its last token (`text`).
    shift: how many tokens earlier to read.
    head: names of linear layers in the checkpoint, with a ReLU between each two; None with `labels`.
    labels: label texts of one token each, whose logits are read in place of a head.
    outputs: how many numbers the head gives (with `labels`: as many as there are labels).
    reading: `probability`: softmax, the sum over the indices in `good`; `difference`: that minus the rest, in [-1, 1];
    `sigmoid`: of the only output; `raw`: the only output as it is.
    threshold: a step with a lower score counts as wrong; adds the part `first_error`, the index of the first such step
    or -1. None adds nothing.
    splitter, pattern, keep_empty, strip, remove, aggregation, overlong: as in `rewards.process.ProcessReward`; system:
    text of a system turn (`chat`). The other options are those of `rewards.engines.options.ModelOptions`.
    Spans are in characters of the response. Raises ValueError for a set-up that cannot work.
    """

    has_steps = True

    def __init__(
        self,
        model: str,
        *,
        form: Literal["chat", "text", "tokens"] = "chat",
        separator: str = "<extra_0>",
        opening: str = "{problem}",
        after: str = "",
        keep_separator: bool = True,
        shift: int = 0,
        head: Sequence[str] | None = ("score",),
        labels: Sequence[str] | None = None,
        outputs: int = 2,
        reading: Reading = "probability",
        good: Sequence[int] = (1,),
        threshold: float | None = None,
        splitter: str | Splitter = "line",
        pattern: str | None = None,
        keep_empty: bool = False,
        strip: bool = True,
        remove: str = "",
        aggregation: str = "min",
        system: str | None = None,
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        overlong: Overlong = "fail",
        engine: EngineName = "transformers",
        gpu_memory: float = 0.4,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.form, self.opening, self.after, self.shift = form, opening, after, shift
        self.keep_separator, self.system, self.threshold = keep_separator, system, threshold
        self.chat_template_kwargs = chat_template_kwargs
        self._check_form(separator)
        if labels is not None and len(labels) != outputs:
            raise ValueError(f"outputs must be the number of labels, {len(labels)}, not {outputs}")
        self.read_step = _reading(reading, outputs, good)
        self.steps = StepTexts.of(splitter, pattern, keep_empty=keep_empty, strip=strip, remove=remove)
        self.aggregate = aggregate(aggregation)
        if threshold is not None and not math.isfinite(threshold):
            raise ValueError(f"threshold must be a number, not {threshold}")
        self.part_names = frozenset() if threshold is None else frozenset({"first_error"})
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
        checkpoint = Checkpoint(model, "ForCausalLM" if labels is not None else "")
        tokenizer = load_tokenizer(model)
        found: LayerHead | LogitHead
        if labels is not None:
            if head is not None:
                raise ValueError("head and labels exclude each other: a model has one or the other; set head=null")
            ids = [one_token(tokenizer, label, "labels:") for label in labels]
            if len(set(ids)) < max(2, len(ids)):
                raise ValueError(f"labels must be at least two texts that are different tokens, not {list(labels)}")
            found = LogitHead(checkpoint, ids)
        elif head is None:
            raise ValueError("head must name the head's linear layers, unless labels are given")
        else:
            found = LayerHead(checkpoint, head, outputs)
        if separator == PAD_TOKEN:
            separator = tokenizer.pad_token or ""
            if not separator:
                raise ValueError(f"separator: the tokenizer of {model} has no {PAD_TOKEN}")
        if form == "chat":
            self.template = ChatTemplate(tokenizer, chat_template_kwargs, separator)
            if system is not None:
                self.template.render([[Turn("system", system), Turn("user", "x"), Turn("assistant", "y")]])
        else:
            self.text = StepText(tokenizer, separator, form=form, after=after, keep=keep_separator)
        super().__init__(checkpoint, options, found)

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """See ModelReward; a response without steps has no prompt."""
        steps = [self.steps(response.text) for _, response in pairs]
        stepped = [index for index, (texts, _) in enumerate(steps) if any(map(str.strip, texts))]
        inputs = [(pairs[index][0], steps[index][0]) for index in stepped]
        made = self._chat(inputs) if self.form == "chat" else self._raw(inputs)
        found: list[Prompt | str] = [NO_STEPS] * len(pairs)
        for index, prompt in zip(stepped, made, strict=True):
            found[index] = (
                prompt if isinstance(prompt, str) else Prompt(prompt.ids, prompt.positions, (*steps[index][1],))
            )
        return found

    def shortened(self, problem: Problem, response: Response, prompt: Prompt) -> Prompt | None:
        """See ModelReward: the steps that fit; their scores are the same as in the whole response."""
        return steps_that_fit(prompt, self.max_tokens)

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        scores = []
        for prompt, numbers in zip(prompts, read, strict=True):
            steps = self.read_step(numbers).tolist()
            parts = {} if self.threshold is None else {"first_error": float(first_error(steps, self.threshold))}
            scores.append(step_score(prompt, steps, self.aggregate, parts))
        return scores

    def _check_form(self, separator: str) -> None:
        """Refuse options that the form does not read, and an opening without its problem."""
        if self.form not in ("chat", "text", "tokens"):
            raise ValueError(f"form must be chat, text or tokens, not {self.form!r}")
        raw = self.form != "chat"
        require_read(self, "opening", raw, "form=text or form=tokens")
        require_read(self, "after", self.form == "text", "form=text")
        require_read(self, "keep_separator", self.form == "text", "form=text")
        require_read(self, "system", not raw, "form=chat")
        require_read(self, "chat_template_kwargs", not raw, "form=chat")
        if raw and self.opening.count("{problem}") != 1:
            raise ValueError(f"opening must contain {{problem}} exactly once, not {self.opening!r}")
        if not separator:
            raise ValueError("separator must be a text of one token; with keep_separator=false it only ends the steps")
        if self.shift < 0:
            raise ValueError(f"shift is a number of tokens, at least 0, not {self.shift}")

    def _chat(self, inputs: Sequence[tuple[Problem, Sequence[str]]]) -> list[Prompt | str]:
        head = [] if self.system is None else [Turn("system", self.system)]
        conversations = []
        for problem, steps in inputs:
            ends, text = [], ""
            for step in steps:
                text += step
                ends.append(len(text))
            conversations.append(
                [
                    *head,
                    *(Turn(turn["role"], turn["content"]) for turn in earlier_turns(problem.messages)),
                    Turn("user", problem.text),
                    Turn("assistant", text, marks=tuple(ends)),
                ]
            )
        return [self._prompt(prompt_of(one, one.positions)) for one in self.template.render_each(conversations)]

    def _raw(self, inputs: Sequence[tuple[Problem, Sequence[str]]]) -> list[Prompt | str]:
        before, behind = self.opening.split("{problem}")
        openings = [before + question_of(problem.messages, "this process model") + behind for problem, _ in inputs]
        made = self.text.encode([(opening, steps) for opening, (_, steps) in zip(openings, inputs, strict=True)])
        return [self._prompt(one if isinstance(one, str) else Prompt(one.ids, one.ends)) for one in made]

    def _prompt(self, prompt: Prompt | str) -> Prompt | str:
        """The prompt up to its last separator, which is all that is read, at positions moved by `shift`."""
        if isinstance(prompt, str):
            return prompt
        ids = prompt.ids[: prompt.positions[-1] + 1]
        return Prompt(ids, [max(0, position - self.shift) for position in prompt.positions])


def _reading(reading: str, outputs: int, good: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """From (P, `outputs`) raw numbers to P scores. Raises ValueError for outputs that the reading cannot take."""
    if reading in ("sigmoid", "raw"):
        if outputs != 1:
            raise ValueError(f"outputs must be 1 for reading={reading}, not {outputs}")
        if tuple(good) != (1,):
            raise ValueError(f"good has no effect with reading={reading}: leave it at [1]")
        return lambda numbers: torch.sigmoid(numbers[:, 0]) if reading == "sigmoid" else numbers[:, 0]
    if reading not in ("probability", "difference"):
        raise ValueError(f"reading must be probability, difference, sigmoid or raw, not {reading!r}")
    if outputs < 2:
        raise ValueError(f"outputs must be at least 2 for reading={reading}, not {outputs}")
    chosen = sorted(set(good))
    if not chosen or len(chosen) == outputs or not all(0 <= index < outputs for index in chosen):
        raise ValueError(f"good must name some, but not all, of the indices 0 to {outputs - 1}, not {list(good)}")

    def probability(numbers: Tensor) -> Tensor:
        found = numbers.softmax(dim=-1)[:, chosen].sum(dim=-1)
        return found if reading == "probability" else 2 * found - 1

    return probability
