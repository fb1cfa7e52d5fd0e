from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import pytest

from rewards.builder import ConfigurationError, build, build_root, checked, described


@runtime_checkable
class Engine(Protocol):
    def run(self) -> int: ...


@dataclass
class Diesel:
    power: int = 90

    def run(self) -> int:
        return self.power


class Car:
    def __init__(
        self,
        engine: Engine,
        *,
        doors: int = 4,
        weight: float = 1000.0,
        colour: Literal["red", "blue"] = "red",
        sizes: tuple[float, float] = (1.0, 2.0),
        owner: str | None = None,
        extras: Sequence[str] = (),
        spare: Mapping[str, Engine] | None = None,
        horn: str | Callable[[], str] = "beep",
    ) -> None:
        if weight <= 0:
            raise ValueError(f"weight must be above 0, not {weight}")
        self.__dict__.update(locals())


def lorry(load: float, name: str = "x") -> tuple[float, str]:
    return load, name


def broken(weight: float = 1.0) -> None:
    raise ValueError("out of order")


VERIFIER = {"_target_": "rewards.verifier.VerifierReward"}
HERE = "tests.rewards.test_builder"
ENGINE = {"_target_": f"{HERE}.Diesel"}
CAR = {"_target_": f"{HERE}.Car", "engine": ENGINE}


def complaint(node, key="car", source="configs/car/tiny.yaml"):
    with pytest.raises(ConfigurationError) as caught:
        build(node, key, source)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nested_nodes_are_built_and_lists_become_tuples():
    car = build({**CAR, "sizes": [1, 2.5], "weight": 900, "extras": ["radio"], "spare": {"a": ENGINE}}, "car")
    assert car.engine == Diesel() and car.sizes == (1, 2.5) and car.weight == 900
    assert car.extras == ["radio"] and car.spare == {"a": Diesel()}


def test_a_function_is_a_target_too():
    assert build({"_target_": f"{HERE}.lorry", "load": 3.0}, "lorry") == (3.0, "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dors": 3}, ["car.dors", "configs/car/tiny.yaml", "did you mean doors?"]),
        ({"zzz": 3}, ["car.zzz", "valid keys: engine, doors"]),
        ({"doors": "abc"}, ["car.doors", "expected int", "'abc'", "configs/car/tiny.yaml"]),
        ({"doors": 2.5}, ["car.doors", "expected int", "2.5"]),
        ({"doors": True}, ["car.doors", "expected int", "True"]),
        ({"weight": "12"}, ["car.weight", "expected float", "'12'"]),
        ({"weight": None}, ["car.weight", "expected float", "None"]),
        ({"colour": "bleu"}, ["car.colour", "one of red, blue", "did you mean blue?"]),
        ({"sizes": [1.0]}, ["car.sizes", "tuple of float, float", "[1.0]"]),
        ({"owner": 3}, ["car.owner", "str or null", "3"]),
        ({"horn": 3}, ["car.horn", "str or Callable"]),
        ({"engine": {**ENGINE, "powr": 3}}, ["car.engine.powr", "did you mean power?"]),
        ({"engine": "diesel"}, ["car.engine", "expected Engine", "'diesel'"]),
        ({"engine": {"_target_": f"{HERE}.lorry", "load": 1.0}}, ["car.engine", "expected Engine", "tuple"]),
        ({"spare": {"a": {**ENGINE, "power": "x"}}}, ["car.spare.a.power", "expected int"]),
        ({"weight": -1.0}, ["car.weight must be above 0"]),
        ({"spare": {"a": {"_target_": f"{HERE}.Car", "engine": ENGINE, "weight": -1.0}}}, ["car.spare.a.weight must"]),
        ({"spare": {"a": {"_target_": f"{HERE}.broken"}}}, ["car.spare.a: out of order"]),
        ({"_target_": f"{HERE}.Cra"}, ["car._target_", "no Cra", "did you mean Car?"]),
        ({"_target_": "tests.nowhere.Car"}, ["car._target_", "cannot be imported"]),
        ({"_target_": 3}, ["car._target_", "must name a class"]),
    ],
)
def test_a_wrong_key_is_one_line_that_names_it(change, words):
    text = complaint({**CAR, **change})
    for word in words:
        assert word in text


def test_a_missing_argument_is_named():
    assert "car.engine is missing" in complaint({"_target_": f"{HERE}.Car"})


def test_nothing_is_built_before_all_of_a_node_is_checked():
    assert "car.dors" in complaint({**CAR, "weight": -1.0, "dors": 3})


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "int or null"),
        (Literal["a", 2], "one of a, 2"),
        (list[int], "list of int"),
        (tuple[float, ...], "tuple of float, ..."),
        (Mapping[str, float], "mapping of str, float"),
    ],
)
def test_types_are_described_in_words(annotation, words):
    assert described(annotation) == words


def test_infinity_is_a_float_and_a_whole_number_too():
    assert checked(float("inf"), float, "x") == float("inf")
    assert checked(3, float, "x") == 3.0


@pytest.mark.parametrize(
    ("node", "place"),
    [
        ({"_target_": "rewards.shaping.ShapedReward", "reward": VERIFIER, "sigmoid_scale": 0.0}, "sigmoid_scale"),
        ({"_target_": "rewards.mixture.MixtureReward", "terms": {}}, "terms"),
        ({"_target_": "rewards.verifier.VerifierReward", "timeout_s": 0.0}, "timeout_s"),
        ({"_target_": "rewards.remote.RemoteReward", "url": "x"}, "url"),
        ({"_target_": "rewards.remote.RemoteReward", "url": "http://127.0.0.1:1", "tries": 0}, "tries"),
        (
            {
                "_target_": "rewards.pairjudge.PairJudgeReward",
                "judge": {"_target_": "rewards.judges.EndpointJudge", "url": "x", "model": "m", "max_new_tokens": 0},
            },
            "judge.max_new_tokens",
        ),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_refused_option_is_named_by_its_path_inside_other_rewards_too(node, place, nested):
    term = {"_target_": "rewards.mixture.Term", "reward": node}
    whole = {"_target_": "rewards.mixture.MixtureReward", "terms": {"orm": term}} if nested else node
    with pytest.raises(ConfigurationError) as caught:
        build(whole, "reward")
    assert str(caught.value).startswith(f"reward.terms.orm.reward.{place} " if nested else f"reward.{place} ")


@dataclass(frozen=True)
class Root:
    """Keys at the root of a configuration."""

    folder: str
    seed: int = 1
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")


def test_root_keys_become_a_dataclass_and_groups_are_left_alone():
    root = build_root(Root, {"folder": "x", "sizes": [1, 2], "task": {"seed": "no"}}, ["task"], "configs/car.yaml")
    assert root == Root("x", 1, (1, 2))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"folder": "x", "sed": 2}, ["unknown key sed", "did you mean seed?"]),
        ({"folder": "x", "tsk": {}}, ["unknown key tsk", "did you mean task?"]),
        ({"folder": "x", "seed": "2"}, ["seed: expected int", "configs/car.yaml"]),
        ({"folder": "x", "seed": -1}, ["seed must not be negative"]),
        ({}, ["folder is missing", "configs/car.yaml"]),
    ],
)
def test_a_wrong_root_key_is_one_line_that_names_it(config, words):
    with pytest.raises(ConfigurationError) as caught:
        build_root(Root, config, ["task"], "configs/car.yaml")
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text
