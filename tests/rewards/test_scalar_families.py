"""Published scalar models under their own architectures and names: each equals a naive reading of its description."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rewards.types import Group, Problem, Response
from tests.rewards.odd_texts import odd_solutions
from tests.rewards.options import reward_of
from tests.rewards.published_models import SCALAR, Naive, ScalarFamily


@pytest.fixture(scope="module", params=SCALAR)
def family(request) -> ScalarFamily:
    return SCALAR[request.param]


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return family.make(tmp_path_factory.mktemp(family.option))


def test_values_equal_a_naive_reading_of_the_published_description(family, folder):
    reward, naive = reward_of(family.option, folder), Naive(folder)
    systems, groups, cases = ([], [("system", "Be brief.")]), [], []
    for number, (problem, solutions) in enumerate(odd_solutions(11, problems=14, each=8)):
        turns = [*systems[number % 2], ("user", problem)]
        texts = ["\n".join(steps) for steps in solutions]
        prompt = tuple({"role": role, "content": content} for role, content in turns)
        groups.append(Group(Problem(str(number), prompt), tuple(Response(text) for text in texts)))
        cases.append((turns, texts))
    values = []
    for (turns, texts), scores in zip(cases, reward.score(groups), strict=True):
        for text, score in zip(texts, scores, strict=True):
            assert score.value == pytest.approx(family.read(naive, turns, text), abs=1e-5), (turns, text)
            values.append(score.value)
    assert len({round(value, 3) for value in values}) > 50  # the models tell texts apart
    assert min(values) < 0 or max(values) > 1  # raw numbers, not squeezed into [0, 1]
