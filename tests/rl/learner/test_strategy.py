import pytest

from rl.learner.strategy import DeviceStrategy
from rl.settings import LearnerSettings


def sequential(device: str, train: bool) -> bool:
    strategy = DeviceStrategy(LearnerSettings(zero_stage=3), "bf16", device, seed=0)
    config = strategy.get_ds_train_config() if train else strategy.get_ds_eval_config()
    return config["zero_optimization"].get("stage3_allgather_sequential", False)


@pytest.mark.parametrize("train", [True, False])
def test_weights_are_gathered_one_at_a_time_if_the_backend_does_not_keep_order(train: bool) -> None:
    # DeepSpeed waits for the last of many gathers only; gloo finishes them in any order (one round in 300 was torn).
    assert sequential("cpu", train)
    assert not sequential("cuda", train)
