"""A causal language model used as a classifier: the probability that a label such as `+` comes next in a chat.

RLHFlow's outcome and process models work this way (github.com/RLHFlow/RLHF-Reward-Modeling): every assistant turn of
the conversation is the positive label, and the score of a turn is P(positive) against the negative label, a softmax
over the two logits at the token before it. Attention is causal, so one forward pass over the whole conversation scores
all its turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.chat import ChatTemplate, Rendered, Turn, load_tokenizer
from rewards.conversation import earlier_turns
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.heads import LabelHead
from rewards.engines.options import ModelOptions
from rewards.model_reward import ModelReward
from rewards.types import Problem


class LabelReward(ModelReward):
    """Base of outcome and process models: user turns, each answered by the positive label.

    Raises ValueError in the constructor for a checkpoint of the wrong kind, a missing tokenizer or chat template,
    labels that are not one token each where the template puts them, a template that refuses the `system` turn, and
    invalid options.
    """

    part_names = frozenset[str]()

    def __init__(self, model: str, labels: Sequence[str], system: str | None, options: ModelOptions) -> None:
        if len(labels) != 2:
            raise ValueError(f"labels must be two texts, the positive one first, not {list(labels)}")
        checkpoint = Checkpoint(model)
        self.template = ChatTemplate(load_tokenizer(model), options.chat_template_kwargs)
        if system is not None:
            self.template.render([[Turn("system", system), Turn("user", "x"), Turn("assistant", "y")]])
        if not self.ends_only and not self.template.keeps_earlier_tokens():
            raise ValueError(
                f"the chat template of {model} rewrites earlier turns: its steps cannot be scored in one pass"
            )
        self.positive, self.system = labels[0], system
        self.label_ids: tuple[int, int] = self.template.label_ids(labels)  # type: ignore[assignment]
        super().__init__(checkpoint, options, LabelHead(checkpoint, self.label_ids))

    def render(self, conversations: Sequence[tuple[Problem, Sequence[str]]]) -> list[Rendered]:
        """Conversations of these user turns, each answered with the positive label, up to the last scored token.

        If the problem is a dialogue, its earlier turns come first, unchanged. Its system turn is left out, because it
        instructs the policy; the model's own is the option `system`. A conversation that the template cannot render
        has a `failure` and no ids.
        """
        head = [] if self.system is None else [Turn("system", self.system)]
        rendered = self.template.render_each(
            [
                [
                    *head,
                    *(Turn(turn["role"], turn["content"]) for turn in earlier_turns(problem.messages)),
                    *(turn for user in users for turn in (Turn("user", user), Turn("assistant", self.positive, True))),
                ]
                for problem, users in conversations
            ]
        )
        return [
            one if one.failure is not None else Rendered(one.ids[: one.positions[-1] + 1], one.positions)
            for one in rendered
        ]
