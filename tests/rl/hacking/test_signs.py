import pytest

from rl.hacking.signs import SIGNS, WINDOW, HackingWatch


def run(updates: int = 20, **curves: tuple[float, float]) -> list[dict[str, float]]:
    """Rows in which each metric moves linearly from its first to its second value; `__` stands for a slash."""
    rows = []
    for update in range(updates):
        share = update / (updates - 1)
        numbers = {name.replace("__", "/"): start + share * (end - start) for name, (start, end) in curves.items()}
        rows.append({"update": float(update + 1), "response/groups": 32.0, "reward/std": 0.4, **numbers})
    return rows


def seen(rows: list[dict[str, float]]) -> dict[str, int]:
    return {name: sign.update for name, sign in HackingWatch(rows).seen.items()}


HEALTHY = {
    "accuracy__rollout": (0.4, 0.9),
    "reward__mean": (0.4, 0.9),
    "reward__auc": (0.9, 0.85),
    "reward__length_correlation": (0.1, -0.2),
    "reward__flat_groups": (0.1, 0.7),
    "response__tokens": (50.0, 60.0),
    "response__repetition": (0.05, 0.06),
    "watch__orm__agreement": (0.6, 0.5),
}

BROKEN = {
    "truth_falls": {"accuracy__rollout": (0.8, 0.1)},
    "reward_is_blind": {"reward__auc": (0.9, 0.5)},
    "length_drives": {"reward__length_correlation": (0.8, 0.8), "response__tokens": (50.0, 120.0)},
    "text_repeats": {"response__repetition": (0.05, 0.8)},
    "reward_is_saturated": {"reward__flat_groups": (0.9, 1.0), "accuracy__rollout": (0.5, 0.5)},
    "others_disagree": {"watch__orm__agreement": (0.6, 0.0)},
}


def test_a_healthy_run_shows_no_sign() -> None:
    assert seen(run(**HEALTHY)) == {}


@pytest.mark.parametrize("name", SIGNS)
def test_each_sign_appears_alone_when_only_its_cause_is_there(name: str) -> None:
    assert list(seen(run(**HEALTHY | BROKEN[name]))) == [name]


@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_is_announced_once_and_says_what_happened(name: str) -> None:
    watch = HackingWatch()
    found = [sign for row in run(**HEALTHY | BROKEN[name]) for sign in watch.see(row)]
    assert [sign.name for sign in found] == [name]
    assert found[0].text and "nan" not in found[0].text


def test_no_sign_before_two_windows() -> None:
    everything = {name: curve for curves in BROKEN.values() for name, curve in curves.items()}
    assert seen(run(2 * WINDOW - 1, **HEALTHY | everything)) == {}


def test_truth_and_reward_that_fall_together_are_not_an_exploited_reward() -> None:
    assert "truth_falls" not in seen(run(**HEALTHY | {"accuracy__rollout": (0.8, 0.1), "reward__mean": (0.8, 0.1)}))


def test_noise_of_few_groups_is_not_a_fall() -> None:
    rows = run(**HEALTHY | {"accuracy__rollout": (0.55, 0.45), "reward__mean": (0.5, 0.5)})
    assert "truth_falls" not in seen([row | {"response/groups": 4.0} for row in rows])


def test_rows_without_numbers_show_no_sign() -> None:
    assert seen([{"update": float(update)} for update in range(30)]) == {}
