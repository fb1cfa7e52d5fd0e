"""The learner as the loop sees it: one handle for all DeepSpeed ranks.

It knows nothing of the algorithm: a batch has its advantages, or its pairs, and the loss is chosen at the start. Rows
are distributed over the ranks by number of tokens. The optimizer step does not depend on how rows are split into ranks
and micro-batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
import torch
from torch import Tensor

from rl.cluster import actor_options, call, check_placement, end
from rl.learner.batching import Micro, Sizes, Step, plan_pairs, plan_pass, plan_update
from rl.learner.losses import LossNotFinite, LossSettings, PreferenceLossSettings
from rl.learner.rank import LearnerRank
from rl.learner.setup import LearnerSetup, check_critic
from rl.policy import check_policy, load_tokenizer
from rl.settings import ClusterSettings, CriticSettings, LearnerSettings, PolicySettings, require
from rl.truncation import ALL_TOKENS, Truncation
from rl.types import Preferences, TrainBatch
from rl.weights import BUCKET_BYTES

_MARK = "learner.json"


class LearnerGroup:
    """The DeepSpeed ranks that train one policy, with a loss over tokens or over preference pairs.

    The constructor starts the ranks and returns immediately; `wait`, or the first other call, waits until they are
    ready. `temperature` is the sampling temperature, used by `with_logprobs` and by a loss over tokens; a loss over
    pairs always uses 1. `total_updates` is the length of the run in updates. `truncation` is the sampler's. `critic`
    adds a value model to a loss over tokens. Raises FileNotFoundError or ValueError before anything starts if a model's
    folder cannot be used or the settings contradict each other.
    """

    def __init__(
        self,
        policy: PolicySettings,
        settings: LearnerSettings,
        cluster: ClusterSettings,
        *,
        loss: LossSettings,
        temperature: float,
        total_updates: int,
        seed: int,
        log_folder: Path,
        with_reference: bool,
        critic: CriticSettings | None = None,
        truncation: Truncation = ALL_TOKENS,
    ) -> None:
        check_policy(policy.path)
        load_tokenizer(policy.path, policy.chat_template_kwargs)
        check_placement(cluster, ranks=settings.ranks)
        self.setup = LearnerSetup(
            policy, settings, loss, cluster.device, temperature, with_reference, total_updates, seed, critic, truncation
        )
        if critic is not None:
            check_critic(critic, policy)
        self.timeout = cluster.timeout_s
        self.log_folder = log_folder
        self.updates = 0
        options = actor_options(cluster, "learner", actors=settings.ranks, model_path=policy.path)
        actor: Any = ray.remote(LearnerRank).options(**options)
        self.ranks = [actor.remote(rank, str(log_folder)) for rank in range(settings.ranks)]
        address = self.ranks[0].address.remote()
        self._starting = [rank.start.remote(address, self.setup) for rank in self.ranks]

    def wait(self) -> None:
        """Wait until every rank has loaded its models. Raises RuntimeError, in one line, if a rank fails to."""
        self.not_shared_because = self._finish(self._starting, "starting the learner")[0]

    def with_logprobs(self, batch: TrainBatch) -> TrainBatch:
        """The batch plus the models' outputs for its tokens before the update: (B, L) float32, 0 outside responses.

        `old_logprobs` are the policy's log-probabilities. The others are None unless they apply: `reference_logprobs`
        if the learner has a reference, `values` (aligned with the log-probabilities) if it has a critic, and
        `kept_logprobs` if sampling is truncated.
        """
        self.wait()
        settings = self.setup.settings
        sizes = Sizes.of(batch, shared=self.not_shared_because is None)
        plan = plan_pass(sizes, list(range(len(batch))), settings.ranks, settings.micro_batch_tokens)
        shared = ray.put(batch)
        parts = self._shares("log-probabilities", lambda rank, micros: rank.logprobs.remote(shared, micros), plan)
        reference, values, kept = None, None, None
        if self.setup.with_reference:
            reference = _assemble([(rows, found) for rows, _, found, _ in parts], batch)
        if self.setup.truncation.active:
            kept = _assemble([(rows, found) for rows, *_, found in parts], batch)
        if self.setup.critic is not None:
            found = self._shares("values", lambda rank, micros: rank.values.remote(shared, micros), plan)
            values = _assemble(found, batch)
        policy = _assemble([(rows, found) for rows, found, *_ in parts], batch)
        return replace(batch, old_logprobs=policy, reference_logprobs=reference, values=values, kept_logprobs=kept)

    def update(self, data: TrainBatch | Preferences, seed: int) -> dict[str, float]:
        """Take `epochs` x `minibatches` optimizer steps on this batch. `seed` determines the minibatches.

        If the batch has no `old_logprobs`, a single step uses its own log-probabilities, detached (ratio 1); for
        several steps they are computed first. During the critic's warm-up, only the critic is trained. There are never
        more minibatches than rows (or pairs).

        Metrics of both kinds of loss: loss; kl (k3 to the reference, mean per token); grad_norm; learning_rate; tokens
        (response tokens seen); steps; seconds. Only for a loss over tokens: policy_loss; kl_loss; kl_old (k1 to the
        policy before the update); entropy (mean of -log p of the sampled tokens); clip_fraction; ratio_max; with a
        critic, value_loss, value_grad_norm and explained_variance (of the values before the update). Only for a loss
        over pairs: preference_loss; nll; accuracy (share of pairs with a positive margin); margin; chosen_reward and
        rejected_reward (beta times the log-ratio to the reference); pairs.

        Raises ValueError if the batch is incomplete. Raises RuntimeError if a loss or a gradient norm is not finite,
        and saves the batch next to the log folder.
        """
        data, plan, options = self._plan(data, seed)
        shared = ray.put(data)
        try:
            reports = self._call(
                [rank.update.remote(shared, plan, seed, **options) for rank in self.ranks], "learner update"
            )
        except RuntimeError as error:
            if not isinstance(getattr(error.__cause__, "cause", None), LossNotFinite):
                raise
            kept = self._save_batch(data)
            raise RuntimeError(f"{error}; the batch is saved in {kept}") from error
        self.updates += 1
        return dict(reports[0])

    def refresh_reference(self) -> None:
        """Copy the current policy into the reference. Raises ValueError if the learner has no reference."""
        require(self.setup.with_reference, "there is no reference to refresh: the learner was started without one")
        self._call([rank.refresh_reference.remote() for rank in self.ranks], "refreshing the reference")

    def weights(self, bucket_bytes: int = BUCKET_BYTES) -> list[Any]:
        """The current weights, adapters merged, as references to `rl.weights.Bucket`s in Ray's object store."""
        return self._call([rank.weights.remote(bucket_bytes) for rank in self.ranks], "gathering the weights")[0]

    def save_policy(self, folder: Path, *, ema: bool = False) -> None:
        """Write the policy as a Hugging Face folder (safetensors, tokenizer) that transformers and vLLM can load.

        With `ema`, its moving average is also written, to `<folder>_ema`. Raises ValueError if there is no average.
        """
        require(not ema or self.setup.settings.ema_decay is not None, "learner.ema_decay is null: no average is kept")
        average = folder.with_name(f"{folder.name}_ema") if ema else None
        for each in (folder, average):
            if each is not None:
                each.mkdir(parents=True, exist_ok=True)
        names = str(folder), None if average is None else str(average)
        self._call([rank.save_policy.remote(*names) for rank in self.ranks], "saving the policy")

    def save_checkpoint(self, folder: Path) -> None:
        """Write everything needed to resume training bit for bit: weights, optimizers, schedules, reference, EMA."""
        folder.mkdir(parents=True, exist_ok=True)
        self._call([rank.save_checkpoint.remote(str(folder)) for rank in self.ranks], "saving the checkpoint")
        (folder / _MARK).write_text(json.dumps(self._layout() | {"updates": self.updates}) + "\n")

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote.

        Raises ValueError if the number of ranks, the ZeRO stage, the dtype or the kinds of models differ, and
        FileNotFoundError if the folder has no complete checkpoint.
        """
        mark = folder / _MARK
        if not mark.is_file():
            raise FileNotFoundError(f"there is no complete learner checkpoint in {folder}")
        written = json.loads(mark.read_text())
        for key, value in self._layout().items():
            require(
                written.get(key) == value,
                f"the checkpoint in {folder} was written with {key}={written.get(key)}, this run has {value}: "
                "use the same",
            )
        self._call([rank.load_checkpoint.remote(str(folder)) for rank in self.ranks], "loading the checkpoint")
        self.updates = written["updates"]

    def shutdown(self) -> None:
        """End the ranks' processes."""
        end(self.ranks)
        self.ranks = []

    def _plan(self, data: TrainBatch | Preferences, seed: int) -> tuple[Any, list[Step], dict[str, bool]]:
        """The data with everything the loss needs, the optimizer steps, and other arguments for a rank's `update`."""
        settings, critic = self.setup.settings, self.setup.critic
        pairs = isinstance(self.setup.loss, PreferenceLossSettings)
        require(
            isinstance(data, Preferences) == pairs,
            f"the loss is over {'pairs' if pairs else 'tokens'}, but the algorithm prepared {type(data).__name__}",
        )
        self.wait()
        shared = self.not_shared_because is None
        if isinstance(data, Preferences):
            return data, plan_pairs(data, settings, seed, shared=shared), {}
        self._check(data)
        plan = plan_update(data, settings, seed, shared=shared)
        if data.old_logprobs is None and len(plan) > 1:
            before = self.with_logprobs(data)
            data = replace(data, old_logprobs=before.old_logprobs, reference_logprobs=before.reference_logprobs)
        return data, plan, {"policy_learns": critic is None or self.updates >= critic.warmup_updates}

    def _layout(self) -> dict[str, Any]:
        setup = self.setup
        settings = setup.settings
        layout = {
            "learner.ranks": settings.ranks,
            "learner.zero_stage": settings.zero_stage,
            "policy.dtype": setup.policy.dtype,
            "learner.lora": None if settings.lora is None else asdict(settings.lora),
            "learner.ema_decay": settings.ema_decay,
            "critic": None if setup.critic is None else asdict(setup.critic),
            "a reference": setup.with_reference,
        }
        return json.loads(json.dumps(layout))

    def _check(self, batch: TrainBatch) -> None:
        require(len(batch) > 0, "the batch has no rows")
        require(batch.advantages is not None, "the batch has no advantages")
        require(
            self.setup.critic is None or (batch.values is not None and batch.returns is not None),
            "there is a critic, but the batch has no values or no returns for it",
        )

    def _save_batch(self, data: TrainBatch | Preferences) -> Path:
        path = self.log_folder.parent / "bad_batch.pt"
        sides = vars(data)
        torch.save({name: vars(side) if isinstance(side, TrainBatch) else side for name, side in sides.items()}, path)
        return path

    def _shares(self, what: str, ask: Callable[[Any, list[Micro]], Any], plan: list[list[Micro]]) -> list[Any]:
        """Every rank's results for its micro-batches, in one list."""
        refs = [ask(rank, micros) for rank, micros in zip(self.ranks, plan, strict=True)]
        return [part for answer in self._call(refs, what) for part in answer]

    def _call(self, refs: list[Any], what: str) -> list[Any]:
        self.wait()
        return self._finish(refs, what)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"learner-{rank}" for rank in range(len(refs))]
        return call(refs, self.timeout, what, names=names, log_folder=self.log_folder)


def _assemble(parts: list[tuple[Micro, Any]], batch: TrainBatch) -> Tensor:
    """The micro-batches' (b, l) arrays as one (B, L) tensor."""
    whole = torch.zeros(batch.input_ids.shape, dtype=torch.float32)
    for rows, values in parts:
        whole[torch.as_tensor(rows), : values.shape[1]] = torch.as_tensor(values.copy())
    return whole
