"""`launch.serve`: what cannot work is refused before anything starts."""

from __future__ import annotations

from dataclasses import fields

import pytest

from launch import configuration
from launch.composition import compose
from launch.serve import GROUPS, ServeSettings, main
from rewards.builder import build_root


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["host=0.0.0.0"], "host 0.0.0.0 can be reached from other machines: name a variable that holds a token"),
        (["host=example.org"], "can be reached from other machines"),
        (["token_env=NOT_SET_ANYWHERE"], "token_env: the variable NOT_SET_ANYWHERE is not set"),
        (["port=70000"], "port must be between 0 and 65535, not 70000"),
        (["batch_tokens=0"], "batch_tokens must be at least 1, not 0"),
        (["hold_s=500"], "hold_s (500) must be above 0 and below timeout_s (170)"),
        (["group_size=1"], "group_size must be at least 2"),
        (["held_mib=1"], "held_mib must be at least body_mib (16)"),
        (["dialogues=true"], "dialogues=true has no effect"),
        (["batch_token=1"], "did you mean batch_tokens"),
        (["reward=orm", "reward.model=nowhere"], "there is no model folder"),
        (["policy=hf", "policy.path=nowhere"], "policy: "),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(words, message, capfd):
    assert main(["reward=verifier", *words]) == 2
    errors = capfd.readouterr().err.strip()
    assert errors.startswith("error: ") and message in errors and "\n" not in errors


def test_an_address_of_this_machine_needs_no_token_and_another_takes_one(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "secret")
    for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost"):
        assert ServeSettings(host=host).token is None
    assert ServeSettings(host="0.0.0.0", token_env="A_TOKEN").token == "secret"


def test_every_key_of_the_file_is_a_setting_with_the_same_default():
    (run,) = compose([], "serve")
    config = configuration.plain(run.config)
    assert build_root(ServeSettings, config, GROUPS, "configs/serve.yaml") == ServeSettings()
    assert {field.name for field in fields(ServeSettings)} == set(config) - set(GROUPS)
