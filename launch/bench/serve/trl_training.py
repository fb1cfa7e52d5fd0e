"""TRL's side of `launch.bench.serve trl`: `python -m launch.bench.serve.trl_training FOLDER`, with TRL on the path.

FOLDER/job.json names policy, prompts and the service. The output is steps.json, what TRL logged, and seen.jsonl, every
completion with its reward in the form that launch.score reads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewards.clients.trl import reward_function

RESPONSES = 8


def main(words: Sequence[str]) -> int:
    """Train as the job says."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    folder = Path(words[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    reward = reward_function(job["url"])
    seen: list[dict[str, Any]] = []

    def noted(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        found = reward(prompts, completions, **columns)
        for prompt, completion, answer, value in zip(prompts, completions, columns["answer"], found, strict=True):
            seen.append({"problem": prompt, "response": completion[0]["content"], "answer": answer, "reward": value})
        return found

    config = GRPOConfig(
        output_dir=str(folder / "trained"),
        model_init_kwargs={"dtype": "float32"},
        num_generations=RESPONSES,
        per_device_train_batch_size=16 * RESPONSES,
        gradient_accumulation_steps=1,
        max_completion_length=96,
        beta=0.0,
        learning_rate=5e-4,
        lr_scheduler_type="constant",
        max_steps=job["updates"],
        seed=job["seed"],
        temperature=1.0,
        top_k=0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = GRPOTrainer(job["policy"], noted, args=config, train_dataset=Dataset.from_list(job["prompts"]))
    trainer.train()
    steps = [row for row in trainer.state.log_history if "reward" in row and "loss" in row]
    (folder / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
    (folder / "seen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seen), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
