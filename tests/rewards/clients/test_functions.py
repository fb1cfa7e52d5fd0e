"""The reward functions for TRL, verl and OpenRLHF, and OpenRLHF's own client, against the service over HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rewards.clients
from rewards.clients.trl import RewardFunction, reward_function
from rewards.clients.verl import ScoreFailed, compute_score, compute_score_async
from rewards.serving.texts import Texts
from rewards.types import Problem, Response
from tests.rewards.serving.rewards import Longest, Marks, mark
from tests.rewards.serving.running import serving
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("policy")
    make_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def url(policy):
    with serving(Marks(), Texts(policy)) as address:
        yield address


def test_trl_gets_a_number_per_completion_and_none_for_a_failure(url, caplog):
    function = reward_function(url + "/score", name="prm")
    logged: dict[str, float] = {}
    with caplog.at_level(logging.WARNING):
        found = function(
            prompts=["q", "q", [{"role": "user", "content": "r"}], "r"],
            completions=["a", "", [{"role": "assistant", "content": "b"}], [{"role": "assistant", "content": "c"}] * 2],
            completion_ids=[[1]] * 4,
            answer=["1", "1", None, None],
            trainer_state=None,
            log_metric=logged.__setitem__,
        )
    assert found == [mark("q", "a"), None, mark("r", "b"), None]
    assert logged == {"prm/failed": 0.5} and function.__name__ == "prm"
    assert "2 of 4 scores failed" in caplog.text


def test_trl_hands_a_judge_the_completions_of_each_prompt_as_a_group():
    completions = ["a", "bb", "ccc", "d", "ee", "fff"]
    with serving(Longest()) as url:
        function = reward_function(url + "/score", compares=True, group_size=3)
        assert function(["q"] * 6, completions) == [0.0, 0.5, 1.0] * 2
    assert RewardFunction(Longest(), group_size=3)(["q"] * 6, completions) == [0.0, 0.5, 1.0] * 2


def test_verl_gets_the_score_with_its_parts_and_an_error_for_a_failure(url):
    words = ("gsm8k", "It is 2.", "2", {"question": "1 + 1?"})
    expected = {"score": mark("1 + 1?", "It is 2."), "length": 8.0}
    assert compute_score(*words, url=url + "/score") == expected
    assert asyncio.run(compute_score_async(*words, url=url + "/score", reward_router_address=None)) == expected
    with pytest.raises(ScoreFailed, match="the response is empty"):
        compute_score("gsm8k", "", "2", {"question": "1 + 1?"}, url=url + "/score")
    with pytest.raises(ValueError, match="extra_info has no 'prompt'"):
        compute_score(*words, url=url + "/score", prompt_key="prompt")
    with pytest.raises(ValueError, match="there is no URL"):
        compute_score(*words)


def test_verls_reward_model_client_reads_the_last_entry_of_classify(url, policy):
    """As verl's reward loop asks vLLM: one text in the policy's template, raw values."""
    import httpx

    texts = Texts(policy)
    text = texts.written(texts.written_prompt(Problem("", "1 + 1?"), "test"), Response("It is 2."))
    reply = httpx.post(url + "/classify", json={"model": "rm", "input": text, "use_activation": False}).json()
    assert reply["data"][-1]["probs"][-1] == mark("1 + 1?", "It is 2.")
    reply = httpx.post(url + "/classify", json={"model": "rm", "text": [text]}).json()
    assert reply[0]["embedding"][0] == mark("1 + 1?", "It is 2.")


def openrlhf_output(address: str, policy: str, *texts: str) -> list[dict[str, Any]]:
    """What OpenRLHF's own executor makes of an engine's outputs, with its own remote-reward code."""
    agent = pytest.importorskip("openrlhf.utils.agent")
    reader = Texts(policy)
    tokenizer = reader.tokenizer
    prompt = reader.written_prompt(Problem("", "1 + 1?"), "test")

    class Engine:
        def __init__(self, text: str) -> None:
            self.text = text

        async def generate(self, ids, sampling, multi_modal_data=None):
            ids = tokenizer(self.text + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)])

    executor = agent.SingleTurnAgentExecutor(address)
    sampling = SimpleNamespace(max_tokens=64, logprobs=None)

    async def all_of_them():
        return await asyncio.gather(
            *(executor.execute(prompt, "2", sampling, 512, tokenizer, Engine(text)) for text in texts)
        )

    return asyncio.run(all_of_them())


def test_openrlhfs_own_remote_reward_code_gets_the_rewards_of_concurrent_single_requests(url, policy):
    texts = [f"It is {number}." for number in range(16)]
    found = openrlhf_output(url + "/get_reward", policy, *texts)
    assert [output["reward"] for output in found] == [[mark("1 + 1?", text)] for text in texts]
    assert found[0]["scores"] == found[0]["reward"] and found[0]["extra_logs"] == {"length": [8.0]}


def test_openrlhf_loads_the_reward_file_and_a_failure_leaves_no_reward(url, policy, monkeypatch):
    file = str(Path(rewards.clients.__file__).with_name("openrlhf.py"))
    monkeypatch.setenv("REWARDLOOP_URL", url + "/get_reward")
    good, bad = openrlhf_output(file, policy, "It is 2.", "")
    assert good["reward"].tolist() == pytest.approx([mark("1 + 1?", "It is 2.")])
    assert good["extra_logs"]["length"].tolist() == [8.0]
    assert bad["reward"] is None and bad["extra_logs"] == {}
    spec = importlib.util.spec_from_file_location("reward_file", file)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    monkeypatch.delenv("REWARDLOOP_URL")
    with pytest.raises(RuntimeError, match="REWARDLOOP_URL is not set"):
        module.reward_func(["qa"], ["q"], [None])
