"""Play the tournaments of a whole rollout at once: data types and driver.

A tournament (formats are in `rewards.tournament_formats`) is a generator that knows neither the judge nor the texts: it
yields the matches of a round and is sent their outcomes. This lets `play` advance the tournaments of all groups in
lock-step, and the judge gets one large batch per round instead of one call per match.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from rewards.verdicts import Verdict

Match = tuple[int, int]
"""Two candidates by index; the first is shown to the judge as response A."""


Unreadable = Literal["incorrect", "no_verdict"]
"""How to treat a side of a match for which the judge gave no readable verdict."""


class Outcome(NamedTuple):
    """How correct each side of a match is, in [0, 1]; `readable` unless no verdict on either side could be read."""

    a: float
    b: float
    readable: bool = True

    @property
    def points(self) -> float:
        """A's points: 1 for a win, 0.5 for a tie, 0 for a loss."""
        return 0.5 + 0.5 * ((self.a > self.b) - (self.a < self.b))


@dataclass(frozen=True)
class TournamentResult:
    """The result of a tournament: each candidate's value (None: no verdict at all), and the winning candidate."""

    values: list[float | None]
    winner: int


Rounds = Generator[list[Match], list[Outcome | None], TournamentResult]
"""A running tournament: yields matches, is sent their outcomes (None: no verdict), returns the result."""


class Pairing(NamedTuple):
    """A requested judgement: in tournament number `tournament`, candidate `a` is shown first and `b` second."""

    tournament: int
    a: int
    b: int


@dataclass
class Tournament:
    """One group's tournament.

    `same[i]` is the first candidate with the same text as candidate i: the judge sees equal texts as one, and no pair
    of texts is judged twice. `rng` decides who is shown first.
    """

    rounds: Rounds
    same: Sequence[int]
    rng: Random
    verdicts: dict[Match, Verdict] = field(default_factory=dict)
    shown: dict[Match, Match] = field(default_factory=dict)

    def orders(self, match: Match, both_orders: bool) -> list[Match]:
        """The orders in which the judge sees the match: both, or one that is drawn when these texts first meet."""
        a, b = self.same[match[0]], self.same[match[1]]
        if both_orders:
            return [(a, b), (b, a)]
        drawn = (a, b) if self.rng.random() < 0.5 else (b, a)
        return [self.shown.setdefault((min(a, b), max(a, b)), drawn)]


@dataclass(frozen=True)
class Played:
    """A finished tournament: its result, the number of judgements, and the reason for each one without a verdict.

    `outcomes` maps every pair that got a verdict, as candidates a < b, to its outcome; for equal texts only the first
    candidate is judged.
    """

    result: TournamentResult
    judgements: int
    unanswered: tuple[str, ...]
    outcomes: Mapping[Match, Outcome]


def play(
    tournaments: Sequence[Tournament],
    judge: Callable[[list[Pairing]], list[Verdict]],
    *,
    both_orders: bool = False,
    unreadable: Unreadable = "incorrect",
    agree: bool = False,
) -> list[Played]:
    """Play all tournaments in lock-step; `judge` is called once per round with the pairings of all of them.

    With `both_orders` every match is judged twice, with sides exchanged, and a side's correctness is the mean of the
    verdicts given (with `agree`, it is a tie unless the same side wins in both orders); otherwise once, in a random
    order. `unreadable` says how a side without a readable verdict counts:
    `incorrect`, as published for PairJudge RM, or `no_verdict`, which also discards the other side's verdict. Raises
    ValueError if the judge returns the wrong number of verdicts.
    """
    finished: dict[int, TournamentResult] = {}
    matches = {number: _advance(tournaments, number, None, finished) for number in range(len(tournaments))}
    while len(finished) < len(tournaments):
        playing = [number for number in matches if number not in finished]
        asked = {n: [tournaments[n].orders(match, both_orders) for match in matches[n]] for n in playing}
        _ask(tournaments, asked, judge)
        for number in playing:
            verdicts = tournaments[number].verdicts
            outcomes = [
                _outcome(
                    [_facing(verdicts[shown], shown[0] != tournaments[number].same[match[0]]) for shown in orders],
                    unreadable,
                    agree and both_orders,
                )
                for match, orders in zip(matches[number], asked[number], strict=True)
            ]
            matches[number] = _advance(tournaments, number, outcomes, finished)
    return [
        Played(
            finished[number],
            len(tournament.verdicts),
            tuple(verdict.reason for verdict in tournament.verdicts.values() if verdict.reason is not None),
            _outcomes(tournament, unreadable, agree and both_orders),
        )
        for number, tournament in enumerate(tournaments)
    ]


def _advance(
    tournaments: Sequence[Tournament],
    number: int,
    outcomes: list[Outcome | None] | None,
    finished: dict[int, TournamentResult],
) -> list[Match]:
    """Send a tournament its outcomes (None to start it). Returns its next matches; at the end, stores its result."""
    rounds = tournaments[number].rounds
    try:
        return next(rounds) if outcomes is None else rounds.send(outcomes)
    except StopIteration as end:
        finished[number] = end.value
        return []


def _ask(
    tournaments: Sequence[Tournament],
    asked: dict[int, list[list[Match]]],
    judge: Callable[[list[Pairing]], list[Verdict]],
) -> None:
    """Judge every order that has not been judged yet, once, and store the verdicts in their tournaments."""
    new = {
        Pairing(number, *shown): None
        for number, matches in asked.items()
        for orders in matches
        for shown in orders
        if shown not in tournaments[number].verdicts
    }
    if not new:
        return
    verdicts = judge(list(new))
    if len(verdicts) != len(new):
        raise ValueError(f"the judge returned {len(verdicts)} verdicts for {len(new)} comparisons")
    for pairing, verdict in zip(new, verdicts, strict=True):
        tournaments[pairing.tournament].verdicts[(pairing.a, pairing.b)] = verdict


def _outcomes(tournament: Tournament, unreadable: Unreadable, agree: bool) -> dict[Match, Outcome]:
    """The outcome of every pair of texts that was judged, combined over the orders that were judged."""
    facing: dict[Match, list[Verdict]] = {}
    for (a, b), verdict in tournament.verdicts.items():
        facing.setdefault((min(a, b), max(a, b)), []).append(_facing(verdict, a > b))
    outcomes = {match: _outcome(verdicts, unreadable, agree) for match, verdicts in facing.items()}
    return {match: outcome for match, outcome in outcomes.items() if outcome is not None and outcome.readable}


def _facing(verdict: Verdict, exchanged: bool) -> Verdict:
    """The verdict from the match's point of view; its sides may have been exchanged for the judge."""
    return Verdict(verdict.b, verdict.a, verdict.reason, verdict.text) if exchanged else verdict


def _outcome(verdicts: Sequence[Verdict], unreadable: Unreadable, agree: bool) -> Outcome | None:
    """The mean correctness of each side over the orders with a verdict; None if there is no verdict.

    With `incorrect`, a side without a verdict in any order counts 0, even if the judge answered and neither side is
    readable. With `agree`, there must be a verdict in every order, and all must prefer the same side; else it is a tie.
    """
    if agree:
        if not all(verdict.given for verdict in verdicts):
            return None
        if len({Outcome(verdict.a or 0, verdict.b or 0).points for verdict in verdicts}) > 1:
            return Outcome(0.5, 0.5)
    if unreadable == "no_verdict":
        verdicts = [verdict for verdict in verdicts if verdict.given]
    a = [verdict.a for verdict in verdicts if verdict.a is not None]
    b = [verdict.b for verdict in verdicts if verdict.b is not None]
    if a or b or any(verdict.text is not None for verdict in verdicts):
        return Outcome(sum(a) / max(1, len(a)), sum(b) / max(1, len(b)), readable=bool(a or b))
    return None
