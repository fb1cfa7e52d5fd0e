"""Every option of every reward in configs/reward is read: changing it gives another score, another plan, or a refusal.

The plan is what reaches a judge, an endpoint or an engine: prompts, limits, requests, the options that it starts with.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from transformers import LlamaConfig, LlamaForSequenceClassification

import configs
from rewards.builder import ConfigurationError, build_reward
from rewards.endpoint import Endpoint, Reply
from rewards.engines.armorm_model import OBJECTIVES
from rewards.judging import generators
from rewards.judging.generators import _tokens
from rewards.records import score_to_json
from rewards.types import Group, Problem, Response
from tests.rewards.armorm_tiny import make_armorm
from tests.rewards.published_models import PROCESS, SCALAR
from tests.tiny import make_llama, make_tokenizer

FOLDER = Path(configs.__file__).parent
OPTIONS = sorted(path.stem for path in (FOLDER / "reward").glob("*.yaml"))
URL = "http://127.0.0.1:1/x"

CHANGES: dict[str, list[Any]] = {
    "splitter": ["blank_line", "line"],
    "pattern": ["=", ","],
    "keep_empty": [True, False],
    "strip": [False, True],
    "join": ["\n\n"],
    "aggregation": ["mean", "last"],
    "labels": [["-", "+"]],
    "system": ["Be brief."],
    "remove": ["5"],
    "chat_template_kwargs": [{"enable_thinking": True}],
    "form": ["chat", "text", "batched"],
    "separator": ["+", "-"],
    "opening": ["Q: {problem}"],
    "after": [" "],
    "keep_separator": [False, True],
    "shift": [2],
    "head": [["score.0"]],
    "logit": [1],
    "end_token": ["x", "y"],
    "outputs": [3, 2],
    "reading": ["difference", "probability"],
    "good": [[0], [1]],
    "threshold": [None, 0.5],
    "reference": ["solution"],
    "dtype": ["bf16", "fp32"],
    "max_tokens": [60],
    "overlong": ["cut"],
    "gpu_memory": [0.5],
    "objectives": [{OBJECTIVES[0]: 1.0}],
    "helpsteer_scale": [True],
    "parts": ["rewards"],
    "normalise": [True],
    "format": ["anchor", "reference"],
    "both_orders": [True],
    "teams": ["text"],
    "credit": ["own"],
    "seed": [1],
    "unreadable": ["no_verdict"],
    "max_new_tokens": [8],
    "context_tokens": [900],
    "reserve_tokens": [16300],
    "verdict": ["last"],
    "principle": ["Be brief."],
    "criteria": [[{"name": "reasoned", "text": "Is it reasoned?", "choices": ["no", "partly", "yes"]}]],
    "field": [None, "rubric"],
    "structured": [False],
    "temperature": [0.6, 0.0],
    "top_p": [0.5],
    "max_num_seqs": [8],
    "url": [URL + "/other"],
    "api_key_env": ["PATH"],
    "extra": [{"top_p": 0.5}],
    "timeout_s": [7.0],
    "tries": [2],
    "backoff_s": [2.0],
    "max_in_flight": [2],
    "batch_size": [2],
    "headers": [{"X-Key": "1"}],
    "metadata": [True],
    "compares": [True],
    "combine": ["normalised"],
    "steps_from": [None],
    "weight": [0.3],
    "only_where": ["verifier"],
    "above": [0.9],
    "otherwise": [-1.0],
    "centre": [None],
    "sigmoid_scale": [2.0],
    "clip_low": [0.9],
    "clip_high": [0.1],
    "length_penalty": [0.01],
    "length_free": [3],
    "overlong_weight": [1.0],
    "overlong_limit": [100],
    "overlong_buffer": [50],
    "unfinished_penalty": [0.5],
    "length_unit": ["words"],
    "template": ["FILE"],
    "tokenizer": ["FOLDER"],
}
"""Other values of an option; the first that is not its own is tried. FILE and FOLDER are a template's and a model's."""

SAME_SCORES = {"model", "device", "batch_tokens", "engine"}
"""Options that say which model is run and where; equal scores on both engines are tested in tests/rewards/engines."""
PATIENCE = {"pairjudge", "judge", "nemotron", "rm", "verifier", "mixture"}
"""Rewards whose own `timeout_s` bounds a comparison of answers: it shows only where one takes seconds."""

LONG = "1 + 2 = 3, so 3 + 2 = 5. ки\n\n\n" * 400
TEXTS = [
    "1 + 2 = 3\n\n 3 + 2 = 5 \nThe answer is: 5",
    "Two more is 5.\nThe answer is: 5",
    "3 + 2 = 6\n\nThe answer is: 6",
    "1 + 2 = 4 ки\nки\n4 + 2 = 6 ки\n\n\n\nThe answer is: 7",
    "Seven.\n\nThe answer is: 7",
    "No idea.\nThe answer is: 8",
]
METADATA = {"second": {"rubric": [{"name": "correct", "text": "Is it five?"}]}}
GROUPS = [
    Group(
        Problem(name, f"{name}: 1 + 2 + 2?", "5", METADATA.get(name, {})),
        tuple(Response(text, reason) for text in texts),
    )
    for name, texts, reason in (
        ("first", TEXTS, "stop"),
        ("second", [text + " " for text in TEXTS[::-1]], "length"),
        ("third", [TEXTS[0], LONG], "stop"),
    )
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """Stand-ins for the models that the options name."""
    folder = tmp_path_factory.mktemp("models")
    judge = make_llama(folder / "judge", make_tokenizer("simple"), max_positions=16384)
    causal = make_llama(folder / "causal", make_tokenizer("simple"), max_positions=4096)
    (judge / "criterion.yaml").write_text(
        'turns: [{role: user, content: "{criterion} {response}"}]\n'
        "verdict: {kind: word, tag: resp_a_judge, values: {correct: 1, incorrect: 0}}\n"
    )
    (judge / "compare.md").write_text("{question} {response_a} {response_b}")
    tokenizer = make_tokenizer("simple")
    scalar = folder / "scalar"
    LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_labels=1,
            num_attention_heads=2, max_position_embeddings=512, pad_token_id=tokenizer.pad_token_id,
        )
    ).save_pretrained(scalar)  # fmt: skip
    tokenizer.save_pretrained(scalar)
    found = {"judge": str(judge), "causal": str(causal), "scalar": str(scalar)}
    found["armorm"] = make_armorm(folder / "armorm", max_positions=4096)
    for family in (*PROCESS.values(), *SCALAR.values()):
        if family.option not in found:
            (place := folder / family.option).mkdir()
            found[family.option] = str(family.make(place))
    return found | {"polar": found["internlm2_reward"], "step_head": found["trl_prm"]}


@pytest.fixture
def plan(monkeypatch) -> list[Any]:
    """What reaches engines, judges and endpoints. A verdict depends on the prompt; some are given twice or missing."""
    seen: list[Any] = []

    def complete(
        generator: generators.VllmGenerator, prompts: list[list[int]], requests: list[Any], limits: list[int]
    ) -> list[generators.Written]:
        generator.load()
        seen.extend([prompts, limits, generator.sampling])
        seen.append([request.schema is not None and generator.structured for request in requests])
        numbers = [zlib.crc32(repr(ids).encode()) for ids in prompts]
        return [generators.Written(verdicts(number), tokens=_tokens(listed(number))) for number in numbers]

    def post_all(endpoint: Endpoint, bodies: list[dict[str, Any]]) -> list[Reply]:
        seen.extend([endpoint, bodies])
        numbers = [zlib.crc32(repr(body).encode()) for body in bodies]
        return [
            Reply(
                {
                    "rewards": [number % 7] * len(body.get("prompts", [])),
                    "choices": [{"message": {"content": verdicts(number)}, "logprobs": listed(number)}],
                }
            )
            for number, body in zip(numbers, bodies, strict=True)
        ]

    monkeypatch.setattr(generators, "start_llm", lambda *words, **options: seen.append((words, options)))
    monkeypatch.setattr(generators.VllmGenerator, "_complete", complete)
    monkeypatch.setattr(Endpoint, "post_all", post_all)
    return seen


def verdicts(number: int) -> str:
    words = ("Correct", "Incorrect")
    a, b = words[number % 2], words[number // 2 % 2]
    again = f"<resp_a_judge>{words[1 - number % 2]}</resp_a_judge>" if number % 3 == 0 else ""
    first = "" if number % 5 == 0 else f"<resp_a_judge>{a}</resp_a_judge>{again}"
    scores = {"score_1": number % 5 + 1, "score_2": number // 5 % 5 + 1}
    letter = "AB"[number % 2]
    said = {
        "correct": ["no", "yes"][number % 2],
        "reasoned": ["no", "partly", "yes"][number % 3],
        "quality": str(number % 10 + 1),
    }
    rubric = {name: {"reason": "so", "verdict": verdict} for name, verdict in said.items()}
    scored = f"{json.dumps(scores)} {json.dumps(rubric)}"
    return f"{first} <answer>[[{letter}]]</answer> {scored} <resp_b_judge>{b}</resp_b_judge>"


def listed(number: int) -> dict[str, Any]:
    """Log-probabilities in an endpoint's form: one token, yes or no."""
    likeliest = [{"token": "Yes", "logprob": -(number % 7) / 5}, {"token": "No", "logprob": -1.0}]
    return {"content": [{"token": "Yes", "top_logprobs": likeliest}]}


def node_of(option: str, models: dict[str, str]) -> dict[str, Any]:
    """The option's configuration on the stand-ins."""
    OmegaConf.register_new_resolver("shipped", lambda name: models.get(name, models["causal"]), replace=True)
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        config = compose("train", [f"reward={option}"]).reward
    node = OmegaConf.to_container(config, resolve=True)
    for path in list(leaves(node)):
        owner = at(node, path)
        if owner[path[-1]] == "???":
            owner[path[-1]] = URL if path[-1] == "url" else "judge"
        if path[-1] == "model" and not Path(owner["model"]).is_dir() and "url" not in owner:
            owner["model"] = models.get(option, models["judge" if "judge" in path else "causal"])
        if path[-1] == "max_tokens" and owner["max_tokens"] is not None:
            owner["max_tokens"] = min(owner["max_tokens"], 2048 if option in models else 4096)  # the stand-in's
        if option == "step_head" and path[-1] in ("form", "separator"):
            owner |= {"form": "tokens", "separator": "\n"}  # as the stand-in reads
    return node


def leaves(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in node.items():
        if isinstance(value, dict) and (value.get("_target_") or name == "terms"):
            yield from leaves(value, (*path, name))
        elif name != "_target_":
            yield (*path, name)


def at(node: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path[:-1]:
        node = node[name]
    return node


def outcome(node: dict[str, Any], plan: list[Any]) -> str:
    """Scores and plan of a configuration, or why it is refused."""
    plan.clear()
    try:
        reward = build_reward(node)
    except ConfigurationError as error:
        return str(error)
    return repr(([[score_to_json(score) for score in row] for row in reward.score(GROUPS)], plan))


@pytest.mark.parametrize("option", OPTIONS)
def test_changing_an_option_of_a_reward_changes_something_or_is_refused(option, models, plan, monkeypatch, tmp_path):
    template = tmp_path / "other.md"
    template.write_text("Which? {question} {response_a} {response_b} <resp_a_judge> </resp_b_judge>")
    node = node_of(option, models)
    before = outcome(node, plan)
    assert before.startswith("("), before
    for path in leaves(node):
        name = path[-1]
        if name in SAME_SCORES or (name == "timeout_s" and "judge" not in path and option.split("_")[0] in PATIENCE):
            continue
        assert name in CHANGES, f"{name} is new: give it other values in CHANGES"
        changed = copy.deepcopy(node)
        owner = at(changed, path)
        value = next(value for value in CHANGES[name] if value != owner[name])
        owner[name] = {"FILE": str(template), "FOLDER": models["judge"]}.get(str(value), value)
        assert outcome(changed, plan) != before, f"{'.'.join(path)}={value} has no effect and is accepted"
