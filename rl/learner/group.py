"""The learner as the loop sees it: one handle for all DeepSpeed ranks.

It is algorithm-blind: a batch brings its advantages, and the loss was chosen at the start. Rows go to ranks by number
of tokens; however they are cut into ranks and micro-batches, the optimizer step is the same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from torch import Tensor

from rl.cluster import actor_options, call, check_placement, end
from rl.learner.batching import plan_pass, plan_update
from rl.learner.losses import LossNotFinite, PolicyLossSettings
from rl.learner.rank import LearnerRank
from rl.policy import check_policy, load_tokenizer
from rl.settings import ClusterSettings, LearnerSettings, PolicySettings, require
from rl.types import LogProbs, TrainBatch, UpdateReport
from rl.weights import BUCKET_BYTES

_MARK = "learner.json"


class LearnerGroup:
    """The DeepSpeed ranks that train one policy.

    Making one starts the ranks and returns at once; the first call waits for them (or `wait`). `temperature` is the
    sampling temperature: all log-probabilities are taken at it. `total_updates` is the length of the run in updates.
    Raises FileNotFoundError or ValueError before anything starts where the policy's folder cannot work.
    """

    def __init__(
        self,
        policy: PolicySettings,
        settings: LearnerSettings,
        cluster: ClusterSettings,
        *,
        loss: PolicyLossSettings,
        temperature: float,
        total_updates: int,
        seed: int,
        log_folder: Path,
        with_reference: bool,
    ) -> None:
        check_policy(policy.path)
        load_tokenizer(policy.path)
        check_placement(cluster, ranks=settings.ranks)
        steps = total_updates * settings.epochs * settings.minibatches
        require(
            settings.warmup_updates <= steps,
            f"learner.warmup_updates is {settings.warmup_updates}, but the run has only {steps} optimizer steps",
        )
        require(loss.kl == 0 or with_reference, "loss.kl is above 0, but no reference policy was asked for")
        self.policy, self.settings, self.loss = policy, settings, loss
        self.with_reference = with_reference
        self.timeout = cluster.timeout_s
        self.log_folder = log_folder
        actor: Any = ray.remote(LearnerRank).options(**actor_options(cluster, "learner", model_path=policy.path))
        self.ranks = [actor.remote(rank, str(log_folder)) for rank in range(settings.ranks)]
        address = self.ranks[0].address.remote()
        options = {"temperature": temperature, "with_reference": with_reference}
        self._starting = [
            rank.start.remote(address, policy, settings, cluster.device, loss, options, seed) for rank in self.ranks
        ]

    def wait(self) -> None:
        """Return once every rank has loaded the policy. Raises RuntimeError in one line where one does not."""
        self._finish(self._starting, "starting the learner")

    def logprobs(self, batch: TrainBatch, *, reference: bool = True) -> LogProbs:
        """The policy's log-probabilities of the sampled tokens, and the reference's if there is one: (B, L) float32."""
        lengths = batch.attention_mask.sum(dim=1)
        plan = plan_pass(lengths, list(range(len(batch))), self.settings.ranks, self.settings.micro_batch_tokens)
        shared = ray.put(batch)
        answers = self._call(
            [rank.logprobs.remote(shared, micros) for rank, micros in zip(self.ranks, plan, strict=True)],
            "log-probabilities",
        )
        parts = [part for answer in answers for part in answer]
        policy = _assemble([(rows, values) for rows, values, _ in parts], batch)
        if not (reference and self.with_reference):
            return LogProbs(policy)
        return LogProbs(policy, _assemble([(rows, values) for rows, _, values in parts], batch))

    def update(self, batch: TrainBatch, seed: int) -> UpdateReport:
        """Take `epochs` x `minibatches` optimizer steps on this batch; `seed` draws the minibatches.

        Where the batch has no `old_logprobs`: a single step uses its own, detached (ratio 1); several steps have them
        computed first. Metrics: loss, policy_loss, kl_loss; kl (k3 to the reference, mean a token); kl_old (k1 to the
        policy before the update); entropy (mean surprise -log p of the sampled tokens); clip_fraction, ratio_max,
        grad_norm, learning_rate, tokens (response tokens seen), steps, seconds. Raises RuntimeError for a loss or a
        gradient that is not finite, with the batch saved beside the logs.
        """
        self._check(batch)
        settings = self.settings
        plan = plan_update(batch.attention_mask.sum(dim=1), batch.response_mask.sum(dim=1), settings, seed)
        if batch.old_logprobs is None and len(plan) > 1:
            batch = replace(batch, old_logprobs=self.logprobs(batch, reference=False).policy)
        shared = ray.put(batch)
        try:
            reports = self._call([rank.update.remote(shared, plan) for rank in self.ranks], "learner update")
        except RuntimeError as error:
            if not isinstance(getattr(error.__cause__, "cause", None), LossNotFinite):
                raise
            kept = self._save_batch(batch)
            raise RuntimeError(f"{error}; the batch is saved in {kept}") from error
        return UpdateReport(reports[0])

    def weights(self, bucket_bytes: int = BUCKET_BYTES) -> list[Any]:
        """The present weights as references to `rl.weights.Bucket`s in Ray's object store."""
        return self._call([rank.weights.remote(bucket_bytes) for rank in self.ranks], "gathering the weights")[0]

    def save_policy(self, folder: Path) -> None:
        """Write the policy as a Hugging Face folder (safetensors, tokenizer) that transformers and vLLM load."""
        folder.mkdir(parents=True, exist_ok=True)
        self._call([rank.save_policy.remote(str(folder)) for rank in self.ranks], "saving the policy")

    def save_checkpoint(self, folder: Path) -> None:
        """Write all that training needs to go on bit for bit: weights, optimizer, schedule."""
        folder.mkdir(parents=True, exist_ok=True)
        self._call([rank.save_checkpoint.remote(str(folder)) for rank in self.ranks], "saving the checkpoint")
        (folder / _MARK).write_text(json.dumps(self._layout()) + "\n")

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote, with the same ranks, ZeRO stage and dtype; else raises ValueError.

        Raises FileNotFoundError where the folder holds no finished checkpoint.
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

    def shutdown(self) -> None:
        """End the ranks' processes."""
        end(self.ranks)
        self.ranks = []

    def _layout(self) -> dict[str, Any]:
        return {
            "learner.ranks": self.settings.ranks,
            "learner.zero_stage": self.settings.zero_stage,
            "policy.dtype": self.policy.dtype,
        }

    def _check(self, batch: TrainBatch) -> None:
        require(len(batch) > 0, "the batch has no rows")
        require(batch.advantages is not None, "the batch has no advantages")
        require(
            self.loss.kl == 0 or batch.reference_logprobs is not None,
            "loss.kl is above 0, but the batch has no reference log-probabilities",
        )

    def _save_batch(self, batch: TrainBatch) -> Path:
        path = self.log_folder.parent / "bad_batch.pt"
        torch.save(vars(batch), path)
        return path

    def _call(self, refs: list[Any], what: str) -> list[Any]:
        self.wait()
        return self._finish(refs, what)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"learner-{rank}" for rank in range(len(refs))]
        return call(refs, self.timeout, what, names=names, log_folder=self.log_folder)


def _assemble(parts: list[tuple[list[int], Any]], batch: TrainBatch) -> Tensor:
    """Micro-batches' (b, l) arrays as one (B, L) tensor."""
    whole = torch.zeros(batch.input_ids.shape, dtype=torch.float32)
    for rows, values in parts:
        whole[torch.as_tensor(rows), : values.shape[1]] = torch.as_tensor(values.copy())
    return whole
