import pytest

from rl.engine import engine_arguments
from rl.engine_options import FIXED, SET_BY, engine_argument_names, errors
from rl.settings import PolicySettings, RolloutSettings


def test_the_argument_names_are_those_of_the_installed_vllm() -> None:
    names = engine_argument_names()
    assert {"max_num_batched_tokens", "block_size", "kv_cache_dtype"} <= names
    assert set(SET_BY) | set(FIXED) <= names


def test_an_argument_of_vllm_passes_and_reaches_the_engine() -> None:
    assert errors({"max_num_batched_tokens": 4096}) == []
    settings = RolloutSettings(engine_options={"max_num_batched_tokens": 4096, "block_size": 64})
    given = engine_arguments(PolicySettings("folder"), settings, "cpu")
    assert given["max_num_batched_tokens"] == 4096
    assert given["block_size"] == 64


def test_no_options_are_fine() -> None:
    assert errors(None) == errors({}) == []


def test_an_unknown_argument_is_named_with_its_nearest_neighbours() -> None:
    (message,) = errors({"max_num_batch_tokens": 1})
    assert "rollout.engine_options.max_num_batch_tokens" in message
    assert "max_num_batched_tokens" in message


@pytest.mark.parametrize("name", SET_BY)
def test_an_argument_with_a_key_of_its_own_points_to_that_key(name: str) -> None:
    assert errors({name: 1}) == [f"rollout.engine_options.{name}: set {SET_BY[name]} instead"]


@pytest.mark.parametrize("name", FIXED)
def test_an_argument_that_would_break_the_loop_is_refused_with_the_reason(name: str) -> None:
    (message,) = errors({name: 1})
    assert message.startswith(f"rollout.engine_options.{name} cannot be changed: ")


@pytest.mark.parametrize("graphs", [True, False])
def test_cuda_graphs_are_for_gpus(graphs: bool) -> None:
    policy, settings = PolicySettings("folder"), RolloutSettings(cuda_graphs=graphs)
    assert engine_arguments(policy, settings, "cpu")["enforce_eager"] is True
    assert engine_arguments(policy, settings, "cuda")["enforce_eager"] is not graphs
