"""A pairwise judge as a reward: the responses of a group play a tournament, and each is scored by how far it gets.

The formats and their cost in judgements are in `rewards.tournament_formats`; PairJudge RM (arXiv 2501.13007) uses the
knockout. All groups of a rollout are judged together, in one large batch per round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Literal

from rewards.conversation import question_of
from rewards.grading.announcements import extract_answer
from rewards.grading.classes import answer_classes
from rewards.options import require_read
from rewards.symbolic import SymbolicComparer, default_comparer
from rewards.tournament import Pairing, Played, Tournament, Unreadable, play
from rewards.tournament_formats import FORMATS, knockout
from rewards.types import Group, Reward, Score
from rewards.verdicts import Comparison, Judge, Verdict

Field = list[int]
"""Indices of the responses of a group that take part."""


class PairJudgeReward(Reward):
    """The result of a tournament among the responses to a problem.

    judge: who compares two responses (`rewards.judges.VllmJudge`, `rewards.judges.EndpointJudge`, or
    `rewards.judging.pairs.GenerativeJudge` for any other format).
    format: `round_robin`, `knockout`, `anchor` or `reference`. Values are in [0, 1], for `reference` in [-1, 1].
    both_orders: judge every pair a second time with the sides exchanged, at twice the cost. None: as the judge's format
    says (`swap`); a judge without a format is asked once. A format with `swap: agree` calls it a tie if the orders
    disagree; otherwise the mean counts.
    teams: which responses form a team. `answer`: those with the same final answer (compared as in `rewards.verifier`; a
    response without a final answer is its own team); members are not judged against each other and share a value.
    `text`: only identical texts.
    credit: in a knockout, `team` gives every member the value of the one that got furthest, `own` gives each its own.
    seed: seed of the bracket. The bracket depends on the seed, the problem and the responses, so that a group scored
    again gets the same bracket, whatever else is in the batch.
    unreadable: how to treat a response if the judge answered but its verdict on that response cannot be read.
    `incorrect` is the published rule: the other verdict still counts, and in a knockout both are out if neither can be
    read. `no_verdict` discards the whole verdict.
    timeout_s: time limit for comparing two final answers, in seconds; slower ones count as different.

    An empty response fails and does not play. A response also fails if it has no opponent, or if none of its team's
    matches got a verdict (the reason is then the judge's). Parts: `winner` (1 for the tournament's choice),
    `judgements` and `no_verdict` (counts for the whole group). `matches` of a score are the pairs that were judged.
    """

    has_steps = False
    has_matches = True
    compares_responses = True
    part_names = frozenset({"winner", "judgements", "no_verdict"})

    def __init__(
        self,
        judge: Judge,
        format: Literal["round_robin", "knockout", "anchor", "reference"] = "knockout",
        both_orders: bool | None = False,
        teams: Literal["answer", "text"] = "answer",
        credit: Literal["team", "own"] = "team",
        seed: int = 0,
        timeout_s: float = 5.0,
        unreadable: Unreadable = "incorrect",
    ) -> None:
        if format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
        if teams not in ("answer", "text"):
            raise ValueError(f"teams must be answer or text, not {teams!r}")
        if credit not in ("team", "own"):
            raise ValueError(f"credit must be team or own, not {credit!r}")
        if unreadable not in ("incorrect", "no_verdict"):
            raise ValueError(f"unreadable must be incorrect or no_verdict, not {unreadable!r}")
        if not hasattr(judge, "judge"):
            raise ValueError("judge must be a judge, such as _target_: rewards.judges.VllmJudge")
        self.judge = judge
        self.rounds = partial(knockout, credit=credit) if format == "knockout" else FORMATS[format]
        self.swap = getattr(judge, "swap", "random")
        self.both_orders = self.swap != "random" if both_orders is None else both_orders
        self.teams, self.seed = teams, seed
        self.unreadable: Unreadable = unreadable
        self.credit, self.timeout_s = credit, timeout_s
        require_read(self, "credit", format == "knockout", "format=knockout")
        sided = getattr(judge, "judges_sides", True)
        require_read(self, "unreadable", sided, "a judge whose verdicts are on each side, such as PairJudge's")
        require_read(self, "timeout_s", teams == "answer", "teams=answer")
        self.comparer = SymbolicComparer(timeout_s)

    def load(self) -> None:
        """Load the judge's weights, if it has any."""
        if hasattr(self.judge, "load"):
            self.judge.load()

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Play the tournaments of all groups together."""
        fields = [[place for place, one in enumerate(group.responses) if one.text.strip()] for group in groups]
        playing = [number for number, field in enumerate(fields) if len(field) > 1]
        tournaments = [self._tournament(groups[number], fields[number]) for number in playing]

        reads_turns = bool(getattr(self.judge, "reads_turns", False))

        def judge(pairings: list[Pairing]) -> list[Verdict]:
            return self.judge.judge(
                [_comparison(groups[playing[t]], fields[playing[t]], a, b, reads_turns) for t, a, b in pairings]
            )

        played = dict(zip(playing, self._play(tournaments, judge), strict=True))
        return [_scores(group, fields[number], played.get(number)) for number, group in enumerate(groups)]

    def _play(self, tournaments: list[Tournament], judge: Callable[[list[Pairing]], list[Verdict]]) -> list[Played]:
        return play(
            tournaments,
            judge,
            both_orders=self.both_orders,
            unreadable=self.unreadable,
            agree=self.swap == "agree",
        )

    def _tournament(self, group: Group, field: Field) -> Tournament:
        """The group's tournament, not yet started."""
        texts = [group.responses[place].text for place in field]
        first = {text: place for place, text in reversed(list(enumerate(texts)))}
        same = [first[text] for text in texts]
        teams = same if self.teams == "text" else teams_by_answer(texts, self.comparer)
        rng = Random(repr((self.seed, group.problem.id, texts)))
        return Tournament(self.rounds(teams, rng), same, rng)


def teams_by_answer(texts: Sequence[str], comparer: SymbolicComparer | None = None) -> list[int]:
    """A team number per text, equal for equal final answers; texts without an answer share one only if identical."""
    classes = answer_classes([extract_answer(text) for text in texts], comparer or default_comparer())
    members = [text if number is None else number for text, number in zip(texts, classes, strict=True)]
    first = {member: place for place, member in reversed(list(enumerate(members)))}
    return [first[member] for member in members]


def _comparison(group: Group, field: Field, a: int, b: int, reads_turns: bool) -> Comparison:
    """The comparison for the judge: with the problem's turns if it reads them, else a dialogue as a transcript."""
    first, second = (group.responses[field[place]].text for place in (a, b))
    if reads_turns:
        turns = tuple(message for message in group.problem.messages if message["role"] != "system")
        return Comparison(group.problem.text, first, second, turns)
    return Comparison(question_of(group.problem.messages, "the judge's prompt"), first, second)


def _scores(group: Group, field: Field, played: Played | None) -> list[Score]:
    """The scores of a group; `played` is None if fewer than two responses could play."""
    scores = [Score.failed("the response is empty")] * len(group.responses)
    for place, index in enumerate(field):
        scores[index] = _alone() if played is None else _score(played, place, field)
    return scores


def _alone() -> Score:
    return Score.failed("a pairwise reward needs at least two responses that are not empty (rollout.responses)")


def _score(played: Played, place: int, field: Field) -> Score:
    value = played.result.values[place]
    if value is None:
        reason = Counter(played.unanswered).most_common(1)[0][0]
        return Score.failed(f"none of its matches got a verdict: {reason}")
    parts = {
        "winner": float(played.result.winner == place),
        "judgements": float(played.judgements),
        "no_verdict": float(len(played.unanswered)),
    }
    matches = {field[b]: outcome.points for (a, b), outcome in played.outcomes.items() if a == place}
    matches |= {field[a]: 1 - outcome.points for (a, b), outcome in played.outcomes.items() if b == place}
    return Score.of(value, parts=parts, matches=matches)
