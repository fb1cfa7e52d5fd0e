"""TRL's side of `launch.bench.loop`: `python -m launch.bench.trl_loop JOB.json SECONDS.json`, with TRL on the path.

The job has the policy, the prompts with their reference answers, and the sizes. The output is a list of each update's
seconds: sampling, grading and learning together. TRL samples with transformers and grades with this project's verifier.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from rewards.types import Group, Problem, Response
from rewards.verifier import VerifierReward


def main(words: Sequence[str]) -> int:
    """Train as the job says and write each update's seconds."""
    job, output = json.loads(Path(words[0]).read_text(encoding="utf-8")), Path(words[1])
    torch.set_num_threads(job["threads"])
    trainer = {"grpo": grpo, "dpo": dpo}[job["algorithm"]](job, str(output.with_suffix("")))
    times = timed(trainer)
    trainer.train()
    output.write_text(json.dumps([after - before for before, after in pairwise(times)]))
    return 0


def grpo(job: Mapping[str, Any], folder: str) -> Any:
    """TRL's GRPOTrainer for this job. It takes one optimizer step after each generation for all prompts."""
    from trl import GRPOConfig, GRPOTrainer

    rows = job["problems"] * job["responses"]
    config = GRPOConfig(
        **common(job, folder, rows),
        num_generations=job["responses"],
        max_completion_length=job["max_new_tokens"],
        beta=job["kl"],
        temperature=1.0,
        top_k=0,
        shuffle_dataset=False,
    )
    return GRPOTrainer(job["policy"], correct, args=config, train_dataset=prompts(job))


def dpo(job: Mapping[str, Any], folder: str) -> Any:
    """TRL's OnlineDPOTrainer for this job. It draws two responses per prompt."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    config = OnlineDPOConfig(
        **common(job, folder, job["problems"]),
        max_new_tokens=job["max_new_tokens"],
        max_length=job["max_model_len"],
        beta=0.1,
        temperature=1.0,
        top_k=0,
    )
    tokenizer = AutoTokenizer.from_pretrained(job["policy"], padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(job["policy"], dtype=torch.float32)
    return OnlineDPOTrainer(
        model, reward_funcs=correct, args=config, train_dataset=prompts(job), processing_class=tokenizer
    )


def common(job: Mapping[str, Any], folder: str, rows: int) -> dict[str, Any]:
    """The options that both configurations share. An update has `rows` rows, in micro-batches of the job's size."""
    model = {} if job["algorithm"] == "dpo" else {"model_init_kwargs": {"dtype": "float32"}}
    return model | {
        "output_dir": folder,
        "per_device_train_batch_size": job["micro_batch"],
        "gradient_accumulation_steps": rows // job["micro_batch"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant",
        "max_steps": job["updates"],
        "seed": job["seed"],
        "bf16": job["bf16"],
        "gradient_checkpointing": False,
        "use_cpu": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


def prompts(job: Mapping[str, Any]) -> Any:
    """The job's problems as a dataset of conversations."""
    from datasets import Dataset

    return Dataset.from_list([{"prompt": row["messages"], "answer": row["answer"]} for row in job["prompts"]])


def correct(prompts: Sequence[Any], completions: Sequence[Any], answer: Sequence[str], **ignored: Any) -> list[float]:
    """This project's verifier as TRL's reward function."""
    texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
    groups = [
        Group(Problem(str(number), "?", right), (Response(text),))
        for number, (text, right) in enumerate(zip(texts, answer, strict=True))
    ]
    return [score.value if score.ok else 0.0 for [score] in VerifierReward().score(groups)]


def timed(trainer: Any) -> list[float]:
    """A list to which the trainer appends the time at the start of training and after every update."""
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):
        """Records times."""

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            """See TrainerCallback."""
            times.append(time.perf_counter())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            """See TrainerCallback."""
            times.append(time.perf_counter())

    trainer.add_callback(Clock())
    return times


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
