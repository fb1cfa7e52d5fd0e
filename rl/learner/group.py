"""The learner as the loop sees it: one handle for all DeepSpeed ranks.

It is algorithm-blind: a batch brings its advantages, or pairs, and the loss was chosen at the start. Rows go to ranks
by number of tokens; however they are cut into ranks and micro-batches, the optimizer step is the same.
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
    """The DeepSpeed ranks that train one policy, by a loss over tokens or over preference pairs.

    Making one starts the ranks and returns at once; the first call waits for them (or `wait`). `temperature` is the
    sampling temperature: `with_logprobs` and a loss over tokens use it, a loss over pairs at 1. `total_updates` is
    the length of the run in updates. `truncation` is the sampler's. `critic` adds a value model to a loss over tokens.
    Raises FileNotFoundError or ValueError before anything starts where a model's folder cannot work or the settings
    contradict each other.
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
        """Return once every rank has loaded its models. Raises RuntimeError in one line where one does not."""
        self.plain_because = self._finish(self._starting, "starting the learner")[0]

    def with_logprobs(self, batch: TrainBatch) -> TrainBatch:
        """The batch with what the models say of its tokens before an update, each (B, L) float32, 0 outside responses.

        `old_logprobs` are the policy's log-probabilities; `reference_logprobs` and `values` (the critic's, on the same
        positions) are there if the learner has a reference and a critic, otherwise None. So are `kept_logprobs` if the
        sampling is truncated.
        """
        self.wait()
        settings = self.setup.settings
        sizes = Sizes.of(batch, shared=self.plain_because is None)
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
        """Take `epochs` x `minibatches` optimizer steps on this batch; `seed` draws the minibatches.

        A batch without `old_logprobs`: a single step uses its own, detached (ratio 1); several steps have them computed
        first. In the critic's warm-up only the critic steps. There are at most as many minibatches as rows (or pairs).

        Metrics of both kinds: loss; kl (k3 to the reference, mean a token); grad_norm, learning_rate, tokens (response
        tokens seen), steps, seconds. Of a loss over tokens: policy_loss, kl_loss; kl_old (k1 to the policy before the
        update); entropy (mean surprise -log p of the sampled tokens); clip_fraction, ratio_max; with a critic
        value_loss, value_grad_norm, explained_variance (of the values before the update). Of a loss over pairs:
        preference_loss, nll, accuracy (share of pairs with a positive margin), margin, chosen_reward, rejected_reward
        (beta times the log-ratio to the reference), pairs.

        Raises ValueError for a batch that lacks something, RuntimeError for a loss or a gradient that is not finite,
        with the batch saved beside the logs.
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
        """Let the reference be the policy as it is now. Raises ValueError where the learner has no reference."""
        require(self.setup.with_reference, "there is no reference to refresh: the learner was started without one")
        self._call([rank.refresh_reference.remote() for rank in self.ranks], "refreshing the reference")

    def weights(self, bucket_bytes: int = BUCKET_BYTES) -> list[Any]:
        """The present weights, adapters merged, as references to `rl.weights.Bucket`s in Ray's object store."""
        return self._call([rank.weights.remote(bucket_bytes) for rank in self.ranks], "gathering the weights")[0]

    def save_policy(self, folder: Path, *, ema: bool = False) -> None:
        """Write the policy as a Hugging Face folder (safetensors, tokenizer) that transformers and vLLM load.

        With `ema` its moving average is written too, into `<folder>_ema` beside it. Raises ValueError where none is
        kept.
        """
        require(not ema or self.setup.settings.ema_decay is not None, "learner.ema_decay is null: no average is kept")
        average = folder.with_name(f"{folder.name}_ema") if ema else None
        for each in (folder, average):
            if each is not None:
                each.mkdir(parents=True, exist_ok=True)
        names = str(folder), None if average is None else str(average)
        self._call([rank.save_policy.remote(*names) for rank in self.ranks], "saving the policy")

    def save_checkpoint(self, folder: Path) -> None:
        """Write all that training needs to go on bit for bit: weights, optimizers, schedules, reference, average."""
        folder.mkdir(parents=True, exist_ok=True)
        self._call([rank.save_checkpoint.remote(str(folder)) for rank in self.ranks], "saving the checkpoint")
        (folder / _MARK).write_text(json.dumps(self._layout() | {"updates": self.updates}) + "\n")

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote, with the same ranks, ZeRO stage, dtype and kinds of model.

        Raises ValueError where they differ, FileNotFoundError where the folder holds no finished checkpoint.
        """
        mark = folder / _MARK
        if not mark.is_file():
            raise FileNotFoundError(f"there is no finished learner checkpoint in {folder}")
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
        """The data with all that the loss needs, its steps, and what else a rank's update is told."""
        settings, critic = self.setup.settings, self.setup.critic
        pairs = isinstance(self.setup.loss, PreferenceLossSettings)
        require(
            isinstance(data, Preferences) == pairs,
            f"the loss is over {'pairs' if pairs else 'tokens'}, but the algorithm prepared {type(data).__name__}",
        )
        self.wait()
        shared = self.plain_because is None
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
        """Every rank's answers on its micro-batches, in one list."""
        refs = [ask(rank, micros) for rank, micros in zip(self.ranks, plan, strict=True)]
        return [part for answer in self._call(refs, what) for part in answer]

    def _call(self, refs: list[Any], what: str) -> list[Any]:
        self.wait()
        return self._finish(refs, what)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"learner-{rank}" for rank in range(len(refs))]
        return call(refs, self.timeout, what, names=names, log_folder=self.log_folder)


def _assemble(parts: list[tuple[Micro, Any]], batch: TrainBatch) -> Tensor:
    """Micro-batches' (b, l) arrays as one (B, L) tensor."""
    whole = torch.zeros(batch.input_ids.shape, dtype=torch.float32)
    for rows, values in parts:
        whole[torch.as_tensor(rows), : values.shape[1]] = torch.as_tensor(values.copy())
    return whole
