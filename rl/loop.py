"""The training loop: sample, score, learn, sync, and report honestly.

    problems -> sampler -> responses -> reward -> scores -> algorithm -> advantages -> learner -> weights -> sampler

The policy is trained on the reward; the task's verifier decides what is correct. Every update reports both. An update
with nothing to learn from is skipped, counted and reported. A run in which every update is skipped ends with an error.
"""

from __future__ import annotations

from collections.abc import Callable

from rl.alignment import pad_rollout, place_steps
from rl.checks import check
from rl.cluster import start_cluster, stop_cluster
from rl.collect import Rollout
from rl.evaluation import evaluate
from rl.hacking.signs import HackingWatch
from rl.metrics import Metrics, Stopwatch, rollout_metrics, throughput
from rl.parts import Parts
from rl.progress import Display, Evaluation, Summary
from rl.rollout_warnings import report_cut, report_trust
from rl.run.checkpoint import Checkpoints, LoopState
from rl.run.folder import RunFolder
from rl.run_settings import RunSettings
from rl.scoring import describe, report_failures, usable
from rl.source import Source, check_age, source_for
from rl.sync import check_gap, sync
from rl.types import Preferences, Scored

MAX_UPDATES_WITHOUT_SCORE = 3
"""Stop the run after this many consecutive updates without a usable score: the reward is broken."""


def train(settings: RunSettings, run: RunFolder, display: Display) -> Summary:
    """Run the whole loop and return its summary. The trained policy is then in `run.policy`.

    Raises RuntimeError, ValueError or OSError with a one-line message; whatever was written stays in the run's folder.
    Contradictory settings (`rl.checks`) are refused before anything starts.
    """
    check(settings)
    run.tell = display.event
    watch = Stopwatch(display)
    parts = None
    try:
        with watch.stage("start"):
            start_cluster(settings.cluster, run.logs)
            parts = Parts.start(settings, run, display, watch)
        return rounds(parts)
    finally:
        if parts is not None:
            parts.shutdown()
        stop_cluster()


def rounds(parts: Parts, make_source: Callable[[Parts, LoopState], Source] = source_for) -> Summary:
    """Evaluate, then take a rollout from the source, learn and sync, until all updates are done."""
    settings, run, display, watch = parts.settings, parts.run, parts.display, parts.watch
    loop = settings.loop
    held_out = settings.task.held_out_problems(loop.evaluate_problems)
    checkpoints = Checkpoints(run.path, settings)

    def evaluation(update: int) -> Evaluation:
        best = max((row["accuracy/held_out"] for row in run.rows() if "accuracy/held_out" in row), default=-1.0)
        with watch.stage("evaluate"):
            found = evaluate(update, held_out, parts)
        if (loop.keep_best or loop.stop_when) and found.accuracy is not None and found.accuracy > best:
            with watch.stage("save"):
                parts.learner.save_policy(run.best_policy)
        return found

    if run.resumed:
        with watch.stage("resume"):
            state = checkpoints.restore(parts.learner, watch)
            sync(parts, state.update, held_out)
    else:
        state = LoopState.at_start(evaluation(0))
    hacking = HackingWatch(row for row in run.rows() if "accuracy/rollout" in row or "reward/mean" in row)
    stopped: str | None = None
    counted, reported_cut = 0, False
    source = make_source(parts, state)
    for drawn in source:
        update = drawn.update
        state.failed.update(drawn.reasons)
        report_failures(drawn.reasons, loop.failed_scores, display)
        reported_cut = reported_cut or report_cut(parts, drawn)
        if update == 1:
            report_trust(drawn.groups, display)
        with watch.stage("learn"):
            learned = learn(parts, drawn, source.max_age)
        source.rest()
        with watch.stage("sync"):
            learned |= sync(parts, update, held_out)
        lap = watch.lap()
        metrics = rollout_metrics(drawn.groups) | drawn.metrics | learned
        metrics["reward/replaced"] = float(parts.reward.replaced - counted)
        counted = parts.reward.replaced
        metrics |= throughput(drawn.groups, drawn.sampling_seconds) | lap
        run.log_metrics(update, metrics, drawn.reasons)
        display.update(update, metrics)
        count_skipped(state, learned, drawn)
        for sign in hacking.see({"update": update, **metrics}):
            display.event(f"update {update}: the reward may be exploited ({sign.name}): {sign.text}")
            if sign.name in loop.stop_when:
                stopped = f"{sign.name} at update {update}: {sign.text}"
        due = loop.evaluate_every and update % loop.evaluate_every == 0
        if due or stopped or update == loop.updates:
            state.last = evaluation(update)
        state.update, state.problems = update, drawn.problems
        if checkpoints.due(update):
            with watch.stage("checkpoint"):
                checkpoints.save(state, parts.learner, watch)
        if stopped:
            display.event(f"stop_when ends the run: {stopped}")
            break
    with watch.stage("save"):
        parts.learner.save_policy(run.policy, ema=settings.learner.ema_decay is not None)
    if state.skipped == state.update:
        raise RuntimeError(f"nothing was learned: {state.update} of {state.update} updates were skipped; {why(state)}")
    return Summary(
        state.before,
        state.last,
        state.update,
        watch.seconds,
        watch.totals,
        run.path,
        state.failed,
        state.skipped,
        stopped,
    )


def count_skipped(state: LoopState, learned: Metrics, drawn: Rollout) -> None:
    """Count an update that learned nothing.

    Raises RuntimeError after `MAX_UPDATES_WITHOUT_SCORE` consecutive updates without a usable score.
    """
    state.skipped += int(learned["learner/skipped"])
    state.scoreless = 0 if learned["reward/usable"] else state.scoreless + 1
    if state.scoreless >= MAX_UPDATES_WITHOUT_SCORE:
        raise RuntimeError(
            f"no usable score in {state.scoreless} updates in a row; in the last one, {describe(drawn.reasons)}"
        )


def why(state: LoopState) -> str:
    """Why a run skipped all its updates."""
    return describe(state.failed) if state.failed else "no group ever preferred one response to another"


def learn(parts: Parts, drawn: Rollout, max_age: int = 0) -> Metrics:
    """Update the learner once from scored responses, after checking that they are not too old (`check_age`).

    `reward/usable` counts the usable scores. `learner/skipped` is 1 if there was nothing to learn from, else 0.
    `learner/minibatches_left_out` counts the minibatches dropped for lack of rows (or pairs). The gap between the
    sampler's and the learner's log-probabilities is `sync/gap_...` for samples of the current weights, and
    `rollout/gap_...` for older ones. Raises RuntimeError for samples that are too old, and WeightsDidNotArrive if
    samples of the current weights have too large a gap.
    """
    settings, display, update = parts.settings, parts.display, drawn.update
    present = check_age(drawn.kept, update, max_age)
    groups = usable(drawn.kept, settings.loop.failed_scores)
    algorithm, learner = settings.algorithm, parts.learner
    refresh = algorithm.refresh_every if algorithm.needs_reference else 0
    if refresh and update > 1 and (update - 1) % refresh == 0:
        learner.refresh_reference()
    counted = {
        "reward/usable": float(sum(score.ok for group in groups for score in group.scores)),
        "learner/skipped": 1.0,
    }
    if not counted["reward/usable"]:
        display.event(f"skipped update {update}: none of its scores is usable")
        return counted
    batch = pad_rollout(groups, pad_id=0)
    if algorithm.needs_old_logprobs:
        batch = learner.with_logprobs(batch)
    steps = place_steps(groups, parts.sampler.tokenizer) if algorithm.needs_steps else None
    prepared = algorithm.prepare(Scored(groups, batch, steps))
    rows = len(prepared.data)
    metrics = counted | {
        "learner/rows": float(rows),
        **{f"credit/{name}": value for name, value in prepared.metrics.items()},
    }
    if not rows:
        cut = prepared.metrics.get("cut_left_out", 0.0)
        also = f" ({cut:.0f} responses cut at the length limit are left out)" if cut else ""
        display.event(f"skipped update {update}: no group prefers one response to another{also}")
        return metrics
    asked = settings.learner.minibatches
    if rows < asked:
        what = "preference pairs" if isinstance(prepared.data, Preferences) else "responses"
        display.event(f"update {update} has {rows} {what} to learn from: {rows} minibatches, not {asked}")
    metrics |= {"learner/skipped": 0.0, "learner/minibatches_left_out": float(max(0, asked - rows))}
    report = learner.update(prepared.data, seed=settings.loop.seed * 1_000_003 + update)
    gap = {name: report.pop(f"gap_{name}") for name in ("mean", "max") if f"gap_{name}" in report}
    metrics |= {f"{'sync' if present else 'rollout'}/gap_{name}": value for name, value in gap.items()}
    if present and gap:
        check_gap(gap, settings.policy.dtype, settings.loop.logprob_gap(settings.policy.dtype))
    learned = {f"learner/{name}": value for name, value in report.items()}
    if algorithm.refresh_every and "learner/kl" in learned:  # measured against a moving reference: not the same number
        learned["learner/kl_of_iteration"] = learned.pop("learner/kl")
    return metrics | learned
