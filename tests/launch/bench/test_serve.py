"""The bench of the reward service, shortened: real processes, every protocol, clients that misbehave."""

from __future__ import annotations

import random

import pytest

from launch.bench.serve import load
from launch.bench.serve.__main__ import main
from launch.bench.serve.load import Tally, request, values


def test_a_crossed_or_wrong_answer_is_told_from_a_right_one(monkeypatch):
    import asyncio

    async def answers(found):
        tally = Tally(open={0.5: 1})
        monkeypatch.setattr(load, "request", lambda rng: ("/slime", b"{}", [0.25]))

        class Fake:
            async def post(self, path, body):
                return 200, {}, found

        await load._send(Fake(), tally, random.Random(1))  # type: ignore[arg-type]
        return tally.right, tally.wrong, tally.crossed

    assert asyncio.run(answers(0.25)) == (1, 0, 0)
    assert asyncio.run(answers(0.125)) == (0, 1, 0)
    assert asyncio.run(answers(0.5)) == (0, 0, 1)


def test_requests_are_on_every_path_and_no_two_have_the_same_values():
    rng = random.Random(1)
    found = [request(rng) for _ in range(300)]
    assert len({path for path, _, _ in found}) == 6
    marks = [value for _, _, expected in found for value in expected]
    assert len(set(marks)) == len(marks)
    assert values("/slime", 0.5) == [0.5]


@pytest.mark.e2e
def test_no_answer_is_wrong_lost_or_crossed_and_the_service_ends_on_sigterm(capsys):
    assert main(["load", "--clients", "40", "--seconds", "5"]) == 0, capsys.readouterr().out


@pytest.mark.e2e
def test_no_request_that_schemathesis_or_hypothesis_makes_up_breaks_the_service(capsys):
    assert main(["fuzz", "--cases", "200"]) == 0, capsys.readouterr().out
