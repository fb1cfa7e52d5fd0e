"""All settings of the loop, with units and ranges. Algorithms, rewards and tasks have their own.

A Hydra group file names one of these classes in `_target_`; its keys are checked against the fields here, by name and
by type, before Ray starts. A combination that cannot work raises ValueError in `__post_init__`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

from rl.run.trackers import Tracker
from rl.truncation import Truncation

Precision = Literal["fp32", "bf16"]
FailedScores = Literal["drop_sample", "drop_group", "stop"]


LOWEST_TEMPERATURE = 0.01
"""vLLM raises lower temperatures to this (`vllm.sampling_params._MAX_TEMP`), or decodes greedily."""


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class PolicySettings:
    """The model to train: a Hugging Face folder (or hub name) with tokenizer and chat template."""

    path: str
    dtype: Precision = "fp32"
    chat_template_kwargs: dict[str, Any] | None = None  # options of the chat template, for every prompt


@dataclass(frozen=True)
class RolloutSettings:
    """How responses are drawn. What top_p, top_k and min_p mean for log-probabilities: see rl/truncation.py."""

    problems: int = 32  # problems per rollout
    responses: int = 8  # responses per problem (n, the group size)
    temperature: float = 1.0
    top_p: float = 1.0  # draw from the fewest likeliest tokens that have this probability together; 1: from all
    top_k: int = 0  # draw from the k likeliest tokens; 0: from all
    min_p: float = 0.0  # draw from tokens with at least this share of the likeliest one's probability; 0: from all
    stop: tuple[str, ...] = ()  # texts that end a response, which keeps them
    stop_token_ids: tuple[int, ...] = ()  # tokens that end a response, besides eos_token and the template's end of turn
    max_new_tokens: int = 128
    max_model_len: int = 512  # prompt and response together, in tokens
    ahead: int = 0  # 1: the next rollout is drawn while the learner trains, with weights one sync older
    max_num_seqs: int = 256  # sequences in flight in the engine
    engines: int = 1  # vLLM engines, one Ray actor each
    kv_cache_gib: int = 1  # CPU only: memory for the KV cache, whole GiB
    gpu_memory_utilization: float = 0.45  # GPU only: vLLM's share of one GPU's memory
    cuda_graphs: bool = True  # GPU only: replay decoding steps as CUDA graphs; starts slower, then samples faster
    engine_options: dict[str, Any] | None = None  # further arguments of vLLM's engine, by their names there

    def __post_init__(self) -> None:
        require(self.problems >= 1, f"problems must be at least 1, not {self.problems}")
        require(self.responses >= 1, f"responses must be at least 1, not {self.responses}")
        check_sampling(self.temperature, self.top_p, self.top_k, self.min_p)
        require(all(self.stop), "stop has an empty text, which would end every response at once")
        negative = [number for number in self.stop_token_ids if number < 0]
        require(not negative, f"stop_token_ids must not be negative, not {negative}")
        require(self.max_new_tokens >= 1, f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        require(
            self.max_new_tokens < self.max_model_len,
            f"max_new_tokens ({self.max_new_tokens}) leaves no room for a prompt in "
            f"max_model_len ({self.max_model_len})",
        )
        require(self.ahead in (0, 1), f"ahead must be 0 or 1, not {self.ahead}")
        require(self.engines >= 1, f"engines must be at least 1, not {self.engines}")
        require(self.max_num_seqs >= 1, f"max_num_seqs must be at least 1, not {self.max_num_seqs}")
        require(self.kv_cache_gib >= 1, f"kv_cache_gib must be at least 1, not {self.kv_cache_gib}")

    @property
    def truncation(self) -> Truncation:
        """Which tokens are kept at each position."""
        return Truncation(self.top_k, self.top_p, self.min_p)

    @property
    def sampling(self) -> dict[str, Any]:
        """The distribution that responses are drawn from, as keyword arguments of the sampler."""
        return {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}


def check_sampling(temperature: float, top_p: float, top_k: int, min_p: float) -> None:
    """Raise ValueError, naming the option, for a distribution that the engine does not draw from as asked."""
    require(
        temperature >= LOWEST_TEMPERATURE,
        f"temperature must be at least {LOWEST_TEMPERATURE}, the lowest that vLLM samples at, not {temperature}",
    )
    require(0 < top_p <= 1, f"top_p must be in (0, 1], not {top_p}")
    require(top_k >= 0, f"top_k must be 0 (all tokens) or more, not {top_k}")
    require(0 <= min_p <= 1, f"min_p must be in [0, 1], not {min_p}")


@dataclass(frozen=True)
class EvaluationSettings:
    """How responses to held-out problems are drawn. None means the value in `rollout`, whose stops always apply."""

    responses: int = 1  # responses per problem; from 2 on with pass@k
    temperature: float | None = None  # 0 decodes greedily
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        require(self.responses >= 1, f"responses must be at least 1, not {self.responses}")
        require(
            self.max_new_tokens is None or self.max_new_tokens >= 1,
            f"max_new_tokens must be at least 1, not {self.max_new_tokens}",
        )
        if self.temperature != 0:
            defaults = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
            check_sampling(**{key: _either(getattr(self, key), other) for key, other in defaults.items()})
            return
        require(
            self.responses == 1,
            f"temperature=0 decodes greedily: all {self.responses} responses would be equal; set "
            "responses=1, or a temperature above 0",
        )
        require(
            (self.top_p, self.top_k, self.min_p) == (None, None, None),
            "temperature=0 decodes greedily: leave out top_p, top_k and min_p",
        )

    def sampling(self, rollout: RolloutSettings) -> dict[str, Any]:
        """How the sampler is asked, with what these settings leave to `rollout`."""
        length = {"max_new_tokens": _either(self.max_new_tokens, rollout.max_new_tokens)}
        if self.temperature == 0:
            return length | {"greedy": True}
        return length | {key: _either(getattr(self, key), value) for key, value in rollout.sampling.items()}


def _either(value: Any, other: Any) -> Any:
    return other if value is None else value


@dataclass(frozen=True)
class LoraSettings:
    """Train low-rank adapters on top of frozen weights, through peft (LoRA, arXiv:2106.09685).

    The sampler gets merged weights, `save_policy` writes merged weights, and the frozen reference shares the policy's
    weights. A critic is still trained in full.
    """

    rank: int = 16
    alpha: int = 32  # the adapters' output is scaled by alpha / rank
    dropout: float = 0.0  # on the adapters' input, during training only
    target_modules: str | tuple[str, ...] = "all-linear"  # layers: all except the output head, or suffixes of names

    def __post_init__(self) -> None:
        require(self.rank >= 1, f"rank must be at least 1, not {self.rank}")
        require(self.alpha >= 1, f"alpha must be at least 1, not {self.alpha}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), not {self.dropout}")
        require(bool(self.target_modules), "target_modules names no layer: try all-linear")


@dataclass(frozen=True)
class CriticSettings:
    """The value model of PPO, trained in the policy's processes with the same ZeRO stage and schedule.

    It reads the policy's tokens, so a model at `path` must have the policy's vocabulary.
    """

    path: str | None = None  # a model folder, such as a reward model's; None: start from the policy
    learning_rate: float = 1e-3
    value_clip: float | None = 0.2  # largest change of a value in one update; None: no limit
    warmup_updates: int = 0  # number of first updates in which only the critic learns

    def __post_init__(self) -> None:
        require(self.learning_rate >= 0, f"learning_rate must not be negative, not {self.learning_rate}")
        require(self.value_clip is None or self.value_clip > 0, f"value_clip must be above 0: {self.value_clip}")
        require(self.warmup_updates >= 0, f"warmup_updates must not be negative, not {self.warmup_updates}")


@dataclass(frozen=True)
class LearnerSettings:
    """How the policy is updated: DeepSpeed ranks, optimizer, batch arithmetic."""

    ranks: int = 1  # DeepSpeed processes, one Ray actor each; rows are split by tokens and need not divide evenly
    zero_stage: Literal[0, 2, 3] = 2
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = 1.0
    warmup_updates: int = 0  # linear warm-up of the learning rate, in optimizer steps
    lr_schedule: Literal["constant", "cosine"] = "constant"  # after the warm-up; cosine falls to 0 at the run's end
    micro_batch_tokens: int = 4096  # tokens (padding included) in one forward pass of one rank
    epochs: int = 1  # passes over one rollout
    minibatches: int = 1  # optimizer steps per epoch, each on an equal share of rows (within one); at most one per row
    share_prompts: bool = True  # compute a prompt once for all its responses in a pass; False: once per response
    gradient_checkpointing: bool = False  # recompute activations in the backward pass: less memory, a third slower
    lora: LoraSettings | None = None  # None trains all weights
    ema_decay: float | None = None  # moving average of the policy: decay * old + (1 - decay) * new per update

    def __post_init__(self) -> None:
        require(self.ranks >= 1, f"ranks must be at least 1, not {self.ranks}")
        require(self.learning_rate >= 0, f"learning_rate must not be negative, not {self.learning_rate}")
        require(self.max_grad_norm > 0, f"max_grad_norm must be above 0, not {self.max_grad_norm}")
        require(self.epochs >= 1, f"epochs must be at least 1, not {self.epochs}")
        require(self.minibatches >= 1, f"minibatches must be at least 1, not {self.minibatches}")
        require(self.micro_batch_tokens >= 1, "micro_batch_tokens must be at least 1")
        require(
            self.lora is None or isinstance(self.lora, LoraSettings),
            "lora must be null or a rl.settings.LoraSettings: choose learner=lora and change its keys",
        )
        require(
            self.ema_decay is None or 0 < self.ema_decay < 1,
            f"ema_decay must be in (0, 1), not {self.ema_decay}; null keeps no average",
        )


@dataclass(frozen=True)
class ClusterSettings:
    """Where the actors run: one small machine, or a Ray cluster with GPUs."""

    device: Literal["cpu", "cuda"] = "cpu"
    address: str | None = None  # address of a running Ray cluster; None starts Ray here
    num_cpus: int | None = 2  # CPUs Ray may allocate; None: all of this machine's
    threads: int | None = None  # OMP threads of each CPU actor; None divides num_cpus among the actors of a kind
    gpus_per_learner: float = 0.5
    gpus_per_engine: float = 0.4
    gpus_per_reward: float = 0.1
    timeout_s: float = 1800.0  # seconds a remote call may take before the run stops with an error

    def threads_of(self, actors: int) -> int:
        """Threads of each of so many actors of a kind. The kinds take turns, so each may use all processors."""
        return self.threads or max(1, (self.num_cpus or os.cpu_count() or 1) // actors)


@dataclass(frozen=True)
class LoggerSettings:
    """What is written in addition to metrics.jsonl, which is always written."""

    tensorboard: bool = True
    samples: Literal["all", "some", "none"] = "all"  # samples.jsonl: every response, the first group, nothing
    progress: Literal["auto", "live", "plain", "none"] = "auto"  # auto: live on a terminal, else plain lines
    tracker: Tracker | None = None  # a service that gets the numbers and samples too


@dataclass(frozen=True)
class LoopSettings:
    """The keys at the root of the config: length of training, evaluation, checkpoints and failures."""

    updates: int = 20  # rounds of sample, score, learn, sync
    seed: int = 1  # problems, sampling and initialisation of heads
    evaluate_every: int = 5  # updates between evaluations on held-out problems; 0: only before and after
    evaluate_problems: int = 400  # held-out problems per evaluation; `evaluate` says how they are answered
    checkpoint_every: int = 10  # updates between checkpoints, from which a stopped run resumes; 0: none
    checkpoints_kept: int = 2  # older ones are removed
    failed_scores: FailedScores = "drop_sample"  # when a score fails; see also rl.loop.MAX_UPDATES_WITHOUT_SCORE
    stop_when: tuple[str, ...] = ()  # signs of an exploited reward that end the run (rl/hacking/signs.py); () for none
    keep_best: bool = False  # keep the policy of the best held-out accuracy in best_policy/; stop_when implies it
    reward_replicas: int = 1  # actors that score, each with its own copy of the reward
    # Mean |sampler - learner| log-probability above which the run stops. Rounding alone, measured on tiny Llamas on a
    # CPU: fp32 5e-7 (trained) to 4e-6 (random, wide); bf16 1e-4 to 2e-3 (trained), 8e-3 (random), 7e-2 (random, with
    # weights ten times wider).
    logprob_gap_fp32: float = 1e-4
    logprob_gap_bf16: float = 3e-2

    def __post_init__(self) -> None:
        require(self.updates >= 1, f"updates must be at least 1, not {self.updates}")
        require(self.seed >= 0, f"seed must not be negative, not {self.seed}")
        require(self.evaluate_every >= 0, f"evaluate_every must not be negative, not {self.evaluate_every}")
        require(self.evaluate_problems >= 1, f"evaluate_problems must be at least 1, not {self.evaluate_problems}")
        require(self.checkpoint_every >= 0, f"checkpoint_every must not be negative, not {self.checkpoint_every}")
        require(self.checkpoints_kept >= 1, f"checkpoints_kept must be at least 1, not {self.checkpoints_kept}")
        require(self.reward_replicas >= 1, f"reward_replicas must be at least 1, not {self.reward_replicas}")
        require(self.logprob_gap_fp32 > 0, f"logprob_gap_fp32 must be above 0, not {self.logprob_gap_fp32}")
        require(self.logprob_gap_bf16 > 0, f"logprob_gap_bf16 must be above 0, not {self.logprob_gap_bf16}")

    def logprob_gap(self, precision: Precision) -> float:
        """The tolerated gap between the sampler's and the learner's log-probabilities in this precision."""
        return self.logprob_gap_fp32 if precision == "fp32" else self.logprob_gap_bf16
