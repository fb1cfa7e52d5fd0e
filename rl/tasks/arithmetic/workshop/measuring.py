"""Measure the arithmetic world's models on held-out problems. vLLM samples, and the rewards score."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from rewards.armorm import ArmoRMReward
from rewards.judges import VllmJudge
from rewards.outcome import OutcomeReward
from rewards.pairjudge import PairJudgeReward
from rewards.process import ProcessReward
from rewards.types import Group
from rl.sample_file import sampler_alone
from rl.settings import ClusterSettings, PolicySettings, RolloutSettings
from rl.tasks.arithmetic import ArithmeticTask
from rl.tasks.arithmetic.workshop import judge_quality, quality

SAMPLING_SEED = 3


def measure(folder: Path, problems: int, responses: int, console: Console) -> dict[str, dict[str, float]]:
    """The quality of the models in `folder`, by model and measure. All are in [0, 1] except counts."""
    task = ArithmeticTask()
    console.print(f"sampling {responses} responses to each of {problems} held-out problems (seed {SAMPLING_SEED})")
    groups = draw(folder / "policy", task, problems, responses)
    found = {"policy": quality.policy_quality(task, groups)}
    console.print("scoring the steps")
    found["prm"] = quality.step_quality(task, groups, ProcessReward(str(folder / "prm")).score(groups))
    console.print("scoring the outcomes")
    found["orm"] = quality.outcome_quality(task, groups, OutcomeReward(str(folder / "orm")).score(groups))
    console.print("scoring the objectives")
    armorm = ArmoRMReward(str(folder / "armorm"), dtype="fp32", max_tokens=None, batch_tokens=4096)
    found["armorm"] = quality.outcome_quality(task, groups, armorm.score(groups))
    console.print("judging in pairs")
    judge = open_judge(str(folder / "judge"))
    verdicts = judge.judge(judge_quality.comparisons(groups))
    found["judge"] = judge_quality.verdict_quality(task, groups, verdicts)
    found["judge"] |= judge_quality.tournament_quality(task, groups, PairJudgeReward(judge).score(groups))
    return found


def open_judge(folder: str) -> VllmJudge:
    """The arithmetic world's judge, with the prompt file next to its weights."""
    return VllmJudge(
        folder,
        template=f"{folder}/compare.md",
        system=None,
        max_new_tokens=192,
        context_tokens=1024,
        reserve_tokens=0,
        dtype="fp32",
    )


def draw(policy: Path, task: ArithmeticTask, problems: int, responses: int) -> list[Group]:
    """Sample the policy at temperature 1 on the first held-out problems."""
    logs = Path(tempfile.mkdtemp(prefix="rewardloop-"))
    with sampler_alone(PolicySettings(str(policy)), RolloutSettings(), ClusterSettings(), logs) as sampler:
        held_out = task.held_out_problems(problems)
        drawn = sampler.sample(held_out, responses, temperature=1.0, seed=SAMPLING_SEED)
        return [group.for_reward() for group in drawn]
