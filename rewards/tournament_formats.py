"""Four tournament formats, which turn match outcomes into a value for every candidate of a group.

A format is a generator: it yields the matches of a round, receives one outcome per match, and returns a
`TournamentResult`; see `rewards.tournament` for the types and the driver. Candidates of one *team* have the same final
answer (or the same text): they are never judged against each other, and in every format but the knockout each pair of
teams is judged once, by members drawn at random.

| format        | judgements at most, N candidates | value of a candidate                                         |
|---------------|----------------------------------|--------------------------------------------------------------|
| `round_robin` | N(N-1)/2                         | win rate in [0, 1], a tie counts half                        |
| `knockout`    | N-1, in ceil(log2 N) rounds      | rounds survived / rounds played, in [0, 1]                   |
| `anchor`      | 2N-2                             | (rounds survived + points against the anchor) / (rounds + 1) |
| `reference`   | N-1                              | +1 better than a random member, -1 worse, 0 tie              |

Rules common to all: the more correct side wins; equal is a tie. A match without a verdict is ignored in the win rate;
if one side must advance, a coin flip or the seeding decides. In the knockout both sides are out if the judge answered
but neither verdict can be read, as published. A candidate has no value (None) if its team met others but no match got
a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from random import Random
from typing import Literal

from rewards.tournament import Match, Outcome, Rounds, TournamentResult

Format = Callable[[Sequence[int], Random], Rounds]
"""A format takes the team of every candidate (any integers) and a random generator."""


def round_robin(teams: Sequence[int], rng: Random) -> Rounds:
    """Every team meets every other: value i = (1 / (N-1)) * sum over the other candidates j of [i beats j].

    Members of one team tie with each other without a judgement. If there is only one team, every candidate gets 0.5.
    """
    members = _members(teams)
    pairs = list(combinations(members, 2))
    outcomes = yield [_drawn(members, first, second, rng) for first, second in pairs]
    won = {team: 0.5 * (len(members[team]) - 1) for team in members}
    met = {team: len(members[team]) - 1 for team in members}
    for (first, second), outcome in zip(pairs, outcomes, strict=True):
        if outcome is None or not outcome.readable:
            continue
        for team, other, points in ((first, second, outcome.points), (second, first, 1 - outcome.points)):
            won[team] += points * len(members[other])
            met[team] += len(members[other])
    rate = {team: won[team] / met[team] if met[team] else 0.5 for team in members}
    silent = _without_verdict(pairs, outcomes)
    best = max(members, key=lambda team: (team not in silent, rate[team], len(members[team])))
    return TournamentResult([None if team in silent else rate[team] for team in teams], rng.choice(members[best]))


def reference(teams: Sequence[int], rng: Random) -> Rounds:
    """BRPO: one random candidate is the reference, every other team meets it once.

    The value is +1 for a win, -1 for a loss, and 0 for a tie, for the reference itself and for its team.
    """
    members = _members(teams)
    chosen = rng.randrange(len(teams))
    others = [team for team in members if team != teams[chosen]]
    outcomes = yield [(rng.choice(members[team]), chosen) for team in others]
    pairs = [(team, teams[chosen]) for team in others]
    value = {teams[chosen]: 0.0}
    for team, outcome in zip(others, outcomes, strict=True):
        if outcome is not None and outcome.readable:
            value[team] = 2 * outcome.points - 1
    silent = _without_verdict(pairs, outcomes)
    best = max(value, key=lambda team: value[team])
    winner = chosen if best == teams[chosen] else rng.choice(members[best])
    return TournamentResult([None if team in silent else value[team] for team in teams], winner)


def anchor(teams: Sequence[int], rng: Random) -> Rounds:
    """ArenaRL's anchor-seeded single elimination: first every team meets a random anchor, then a seeded bracket.

    Seeding is by points against the anchor (0.5 for the anchor itself), ties broken at random; the best seeds get the
    byes and meet late. On a tie or a missing verdict the better seed advances. A match already judged for seeding is
    not judged again. With only one team every candidate gets 0.5.
    """
    members = _members(teams)
    anchored = rng.choice(list(teams))
    others = [team for team in members if team != anchored]
    outcomes = yield [_drawn(members, team, anchored, rng) for team in others]
    known = {(team, anchored): outcome for team, outcome in zip(others, outcomes, strict=True)}
    points = {team: outcome.points if outcome else 0.5 for (team, _), outcome in known.items()} | {anchored: 0.5}

    slots = sorted(members, key=lambda team: (-points[team], rng.random()))
    survived = dict.fromkeys(slots, 0)
    rounds = math.ceil(math.log2(len(slots)))
    for left in reversed(range(rounds)):
        # Slot s meets slot 2^(left+1) - 1 - s if that exists (else it has a bye); the winner takes the lower slot.
        pairs = [(2 ** (left + 1) - 1 - slot, slot) for slot in range(2**left, len(slots))]
        met = [(slots[low], slots[high]) for low, high in pairs]
        new = [pair for pair in met if pair not in known and pair[::-1] not in known]
        outcomes = yield [_drawn(members, *pair, rng) for pair in new]
        known.update(zip(new, outcomes, strict=True))
        for (low, high), pair in zip(pairs, met, strict=True):
            if _lost(known, pair):
                slots[low] = slots[high]
        slots = slots[: 2**left]
        for team in slots:
            survived[team] += 1
    silent = _without_verdict(list(known), list(known.values()))
    value = {team: (survived[team] + points[team]) / (rounds + 1) for team in members}
    return TournamentResult([None if team in silent else value[team] for team in teams], rng.choice(members[slots[0]]))


def knockout(teams: Sequence[int], rng: Random, credit: Literal["team", "own"] = "team") -> Rounds:
    """PairJudge RM's knockout: rounds of random pairs across teams until one candidate or one team is left.

    An odd candidate gets a bye. Members of one team meet only if there is nobody else to meet; a coin flip decides.
    Only a correct side advances: if both are equally correct, a random one; if both are incorrect, neither. A match
    without a verdict is decided by a coin flip. If a round eliminates everybody, the tournament ends and a random
    entrant of that round is the winner, without credit. The value is the share of the rounds played that a candidate
    survived; with `credit="team"`, that of the team member that got furthest, since a coin flip between two equal
    answers says nothing about either. With only one team, nobody is judged and every candidate gets 1.
    """
    alive = list(range(len(teams)))
    survived = [0] * len(teams)
    played = 0
    judged: list[Match] = []
    verdicts: list[Outcome | None] = []
    while len({teams[candidate] for candidate in alive}) > 1:
        bye, pairs = _pair_across_teams(alive, teams, rng)
        matches = [(a, b) for a, b in pairs if teams[a] != teams[b]]
        outcomes = yield matches
        judged, verdicts = judged + matches, verdicts + outcomes
        outcome_of = dict(zip(matches, outcomes, strict=True))
        through = bye + [winner for pair in pairs for winner in _through(pair, outcome_of.get(pair), rng)]
        played += 1
        if not through:
            alive = [rng.choice(alive)]
            break
        alive = through
        for candidate in alive:
            survived[candidate] += 1
    values = [rounds / played if played else 1.0 for rounds in survived]
    if credit == "team":
        values = [max(values[mate] for mate in mates) for mates in _mates(teams)]
    silent = _without_verdict([(teams[a], teams[b]) for a, b in judged], verdicts)
    return TournamentResult(
        [None if team in silent else value for team, value in zip(teams, values, strict=True)], rng.choice(alive)
    )


FORMATS: dict[str, Format] = {
    "round_robin": round_robin,
    "knockout": knockout,
    "anchor": anchor,
    "reference": reference,
}
"""The formats by their name in a config."""


def bound(name: str, candidates: int, both_orders: bool = False) -> int:
    """The maximum number of judgements in a tournament of this format."""
    n = candidates
    most = {"round_robin": n * (n - 1) // 2, "knockout": n - 1, "anchor": 2 * n - 2, "reference": n - 1}[name]
    return most * (2 if both_orders else 1)


def _members(teams: Sequence[int]) -> dict[int, list[int]]:
    """The candidates of every team; teams are in the order of their first candidate."""
    members: dict[int, list[int]] = {}
    for candidate, team in enumerate(teams):
        members.setdefault(team, []).append(candidate)
    return members


def _mates(teams: Sequence[int]) -> list[list[int]]:
    """The members of every candidate's team, including the candidate."""
    members = _members(teams)
    return [members[team] for team in teams]


def _drawn(members: dict[int, list[int]], first: int, second: int, rng: Random) -> Match:
    """A match between random members of two teams; the driver decides which is shown first."""
    return rng.choice(members[first]), rng.choice(members[second])


def _pair_across_teams(alive: Sequence[int], teams: Sequence[int], rng: Random) -> tuple[list[int], list[Match]]:
    """The bye (a list of zero or one candidates) and random pairs, with as many pairs across teams as possible.

    Sorted by team, largest team first, candidates i and i + n/2 are in one team only if that team has more than half of
    all candidates: then these members have nobody else to meet.
    """
    order = list(alive)
    rng.shuffle(order)
    bye = [order.pop()] if len(order) % 2 else []
    places = _members([teams[candidate] for candidate in order])
    line = [order[place] for block in sorted(places.values(), key=len, reverse=True) for place in block]
    half = len(line) // 2
    return bye, list(zip(line[:half], line[half:], strict=True))


def _through(pair: Match, outcome: Outcome | None, rng: Random) -> list[int]:
    """Who advances from a knockout match (zero or one); `outcome` is None for team-mates and for a missing verdict."""
    if outcome is None or (outcome.a == outcome.b > 0):
        return [rng.choice(pair)]
    if outcome.a == outcome.b:
        return []
    return [pair[0] if outcome.a > outcome.b else pair[1]]


def _lost(known: dict[tuple[int, int], Outcome | None], pair: tuple[int, int]) -> bool:
    """Whether the first team of `pair` lost their match; a tie or a missing verdict is not a loss."""
    if pair in known:
        outcome = known[pair]
        return outcome is not None and outcome.points < 0.5
    outcome = known[pair[::-1]]
    return outcome is not None and outcome.points > 0.5


def _without_verdict(pairs: Sequence[tuple[int, int]], outcomes: Sequence[Outcome | None]) -> set[int]:
    """The teams that met others but got no verdict in any match."""
    met = {team for pair in pairs for team in pair}
    known = [pair for pair, outcome in zip(pairs, outcomes, strict=True) if outcome is not None and outcome.readable]
    heard = {team for pair in known for team in pair}
    return met - heard
