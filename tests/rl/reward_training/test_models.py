"""What a trained model's folder says is what was trained."""

from __future__ import annotations

import json

import pytest
import torch

from rewards.chat import ChatTemplate, load_tokenizer
from rewards.scalar import ScalarReward
from rewards.training.examples import mark_signs, pair_ids
from rewards.training.row_formats import Signs, parse_preference
from rewards.types import Group, Problem, Response
from rl.learner.strategy import DeviceStrategy
from rl.reward_training.models import LabelTrainee, ScalarTrainee
from rl.reward_training.settings import TrainingSettings
from tests.tiny import make_llama, make_tokenizer

QUESTION = "Tom buys 3 bags of 4 apples. How many apples are there?"
SETTINGS = TrainingSettings(1e-3, batch_sequences=1, zero_stage=0, dtype="fp32")
TEXTS = ("3 * 4 = 12\nThe answer is: 12", "The answer is: 7 apples", " 12\n")


@pytest.mark.parametrize("softmax", ["vocabulary", "labels"])
def test_the_loss_of_soft_targets_is_the_cross_entropy_of_both_signs_with_the_share(tmp_path, softmax):
    source = str(make_llama(tmp_path / "model", make_tokenizer()))
    template, labels = ChatTemplate(load_tokenizer(source)), ("+", "-")
    rows = [Signs(("2 + 2?", "4"), ("+", "-"), None, (0.75, 0.0)), Signs((QUESTION,), ("-",), None, (0.125,))]
    strategy = DeviceStrategy(SETTINGS.learner(1), "fp32", "cpu", 0)
    both = template.label_ids(labels)
    trainee = LabelTrainee(source, "fp32", strategy, tuple(both) if softmax == "labels" else None)
    items = mark_signs(template, rows, labels, None, "labels")
    plus, minus = (0, 1) if softmax == "labels" else both
    expected, correct = 0.0, 0
    with torch.no_grad():
        for row, item in zip(rows, items, strict=True):
            whole = trainee.model(torch.tensor(item.ids[None]).long()).logits[0].double()
            for position, share in zip(item.positions, row.shares, strict=True):
                logits = whole[position][list(both)] if softmax == "labels" else whole[position]
                chances = logits.exp() / logits.exp().sum()
                expected -= share * float(chances[plus].log()) + (1 - share) * float(chances[minus].log())
                correct += int(logits.argmax()) == (plus if share > 0.5 else minus)
        for layout in ("balanced", "packed"):
            loss, right = trainee.losses(trainee.module, items, layout, "cpu")
            assert float(loss) == pytest.approx(expected, rel=1e-5) and int(right) == correct


@pytest.mark.parametrize("pads_with_end", [False, True])
@pytest.mark.parametrize("kind", ["simple", "llama31", "plain"])
def test_a_saved_scalar_model_gives_the_scores_it_was_trained_for(tmp_path, kind, pads_with_end):
    tokenizer = make_tokenizer(kind)
    if pads_with_end:
        tokenizer.pad_token = tokenizer.eos_token
    source = str(make_llama(tmp_path / "start", tokenizer))
    file = tmp_path / "start" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mean": 1.0, "std": 2.0, "normalize_reward": True}))
    strategy = DeviceStrategy(SETTINGS.learner(1), "fp32", "cpu", 0)
    trainee = ScalarTrainee(source, "fp32", strategy, seed=1)
    with torch.no_grad():
        trainee.model.score.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(2))  # scores near 1
    trainee.write(trainee.model.state_dict(), source, tmp_path / "written")
    reward = ScalarReward(str(tmp_path / "written"), device="cpu")
    [scores] = reward.score([Group(Problem("1", QUESTION), tuple(Response(text) for text in TEXTS))])
    row = {"prompt": QUESTION, "rejected": "No."}
    pairs = pair_ids(reward.template, [parse_preference(row | {"chosen": text}) for text in TEXTS])
    for score, pair in zip(scores, pairs, strict=True):
        ids = torch.tensor(pair.chosen[None]).long()
        with torch.no_grad():
            own = trainee.module.eval()(ids, attention_mask=torch.ones_like(ids))
        assert score.value == pytest.approx(float(own), abs=1e-5)
