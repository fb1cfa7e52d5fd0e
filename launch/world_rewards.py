"""Train the arithmetic world's reward models: the published recipes, from the world's base models, on its own rows.

The same can be done by hand: `launch.world_rows` writes the rows, and `launch.train_reward recipe=prm_tiny
recipe.model=build/world/process_base data=...` trains the model. Its weights are then rounded to float16.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launch.train_reward.__main__ import main as train_reward
from rewards.chat import load_tokenizer
from rewards.engines.armorm_model import load_armorm, save_armorm
from rl.tasks.arithmetic.workshop.building import Workshop, load, save
from rl.tasks.arithmetic.workshop.judging import TEMPLATE, TEMPLATE_FILE
from rl.tasks.arithmetic.workshop.training_rows import draw_rows

GENTLY = ("recipe.training.learning_rate=1e-4", "recipe.training.epochs=1")
"""The base models can already do most of it. The tiny recipes' learning rate, set for a policy, would undo a part."""


@dataclass(frozen=True)
class Model:
    """One reward model: its base model, its recipe, and the kind and number of rows for each of the recipe's files."""

    base: str
    recipe: str
    files: dict[str, tuple[str, int]]
    options: tuple[str, ...] = ()


REWARD_MODELS = {
    "orm": Model("outcome_base", "orm_tiny", {"data": ("orm", 20000)}, GENTLY),
    "armorm": Model("objectives_base", "armorm_tiny", {"data": ("objectives", 20000), "pairs": ("pairs", 6000)}),
    "prm": Model("process_base", "prm_tiny", {"data": ("prm", 20000)}, GENTLY),
    "judge": Model("judge_base", "pairjudge_tiny", {"data": ("judgements", 4000)}, GENTLY),
}
"""The shipped reward models, by the name of their folder."""


def make(name: str, workshop: Workshop) -> float:
    """Train `name` with its recipe. Returns its loss in nats: on held-out rows or, for ArmoRM, its gate's on the pairs.

    Raises RuntimeError if the training fails. Its messages are on the terminal and in the log in its folder.
    """
    model, folder = REWARD_MODELS[name], workshop.folder / "recipes" / name
    words = [f"recipe={model.recipe}", f"recipe.model={workshop.folder / model.base}", *model.options]
    words += [f"folder={folder}", f"seed={workshop.seed}"]
    if name == "judge":
        words.append(f"recipe.template_file={workshop.folder / model.base / TEMPLATE_FILE}")
    for key, (kind, count) in model.files.items():
        rows = draw_rows(kind, max(int(count * workshop.scale), 64), workshop.seed)
        file = workshop.folder / "recipes" / f"{name}_{key}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        words.append(f"{key}={file}")
    workshop.report(f"{name}: python -m launch.train_reward {' '.join(words)}")
    code = train_reward(words)
    if code:
        raise RuntimeError(f"launch.train_reward {' '.join(words)} ended with exit code {code}")
    FINISH.get(name, round_decoder)(folder / "model", workshop.folder / name)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return float(summary["gate_loss"] if name == "armorm" else summary["after"]["loss"])


def round_decoder(trained: Path, folder: Path) -> None:
    """Save a causal language model in float16."""
    save(load(trained), folder)


def round_judge(trained: Path, folder: Path) -> None:
    """Save the judge in float16, with its prompt."""
    round_decoder(trained, folder)
    (folder / TEMPLATE_FILE).write_text(TEMPLATE, encoding="utf-8")


def round_armorm(trained: Path, folder: Path) -> None:
    """Save ArmoRM with its decoder in float16, because its heads were fitted to that, and its heads in float32."""
    model = load_armorm(str(trained))
    model.model.half()
    save_armorm(model, load_tokenizer(str(trained)), folder)


FINISH: dict[str, Callable[[Path, Path], None]] = {"judge": round_judge, "armorm": round_armorm}
