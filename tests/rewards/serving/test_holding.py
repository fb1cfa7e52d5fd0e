"""Groups that arrive in pieces are scored as one, and never wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rewards.serving.form import Piece
from rewards.serving.holding import Holding
from rewards.serving.queue import Busy
from rewards.types import Group, Problem, Response
from tests.rewards.serving.rewards import Longest


def piece(*texts: str, problem: str = "q", size: int = 3, key: str = "", answer: str | None = None) -> Piece:
    return Piece(Group(Problem("", problem, answer), tuple(map(Response, texts))), size, key)


def run(work: Callable[[Holding], Awaitable[None]], hold_s: float = 5.0, most: int = 100) -> list[list[int]]:
    """Run `work`; returns the sizes of the groups of each call."""
    calls: list[list[int]] = []

    async def score(groups):
        calls.append([len(group.responses) for group in groups])
        await asyncio.sleep(0.01)
        return Longest().score(groups)

    async def main() -> None:
        holding = Holding(score, hold_s, most)
        await asyncio.wait_for(work(holding), 10)
        assert holding.responses == 0

    asyncio.run(main())
    return calls


def test_pieces_of_a_group_are_scored_together_and_each_gets_its_own_scores():
    async def work(holding: Holding) -> None:
        found = await asyncio.gather(holding.score(piece("a")), holding.score(piece("bb", "ccc")))
        assert [[score.value for score in scores] for scores in found] == [[0.0], [0.5, 1.0]]

    assert run(work) == [[3]]


def test_more_pieces_than_a_group_needs_begin_the_next_one():
    async def work(holding: Holding) -> None:
        found = await asyncio.gather(*(holding.score(piece("x" * number)) for number in range(1, 7)))
        assert [scores[0].value for scores in found] == [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]

    assert run(work) == [[3], [3]]


def test_other_problems_answers_keys_and_sizes_are_other_groups():
    async def work(holding: Holding) -> None:
        others = [{"problem": "r"}, {"answer": "1"}, {"key": "k"}, {"size": 4}]
        tasks = [asyncio.create_task(holding.score(piece("a", **other))) for other in [{}, {}, *others]]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks) and holding.responses == 6
        holding.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, Busy) and result.status == 503 for result in results)

    assert run(work) == []


def test_a_group_that_stays_incomplete_fails_with_what_came():
    async def work(holding: Holding) -> None:
        found = await asyncio.gather(holding.score(piece("a")), holding.score(piece("b")))
        assert [score.failure for scores in found for score in scores] == [
            "only 2 of the group's 3 responses came within 0.1 s (hold_s)"
        ] * 2

    assert run(work, hold_s=0.1) == []


def test_a_piece_whose_client_left_still_counts_and_is_taken_over_when_it_comes_again():
    async def work(holding: Holding) -> None:
        left = asyncio.create_task(holding.score(piece("a")))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        again = asyncio.create_task(holding.score(piece("a")))
        found = await asyncio.gather(again, holding.score(piece("bb")), holding.score(piece("ccc")))
        assert [scores[0].value for scores in found] == [0.0, 0.5, 1.0]

    assert run(work) == [[3]]


def test_a_piece_that_is_too_large_for_its_group_fails_alone():
    async def work(holding: Holding) -> None:
        first = asyncio.create_task(holding.score(piece("a", "bb")))
        await asyncio.sleep(0)
        [one, two] = await holding.score(piece("c", "d"))
        assert one.failure == two.failure == "the group has room for 1 more responses, not 2"
        await holding.score(piece("ccc"))
        assert [score.ok for score in await first] == [True, True]

    assert run(work) == [[3]]


def test_no_more_than_most_responses_are_held():
    async def work(holding: Holding) -> None:
        held = asyncio.create_task(holding.score(piece("a", "b")))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 responses are held") as refused:
            await holding.score(piece("c", problem="r"))
        assert refused.value.status == 429
        held.cancel()
        holding.close()
        with pytest.raises(Busy, match="stopping"):
            await holding.score(piece("c"))

    assert run(work, most=2) == []
