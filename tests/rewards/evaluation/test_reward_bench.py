from __future__ import annotations

import pytest

from rewards.evaluation.reward_bench import COUNTS, PRIOR_SETS, SECTIONS, reward_bench, subset_accuracy

ARMORM = {
    "alpacaeval-easy": 0.97,
    "alpacaeval-length": 0.968421,
    "alpacaeval-hard": 0.947368,
    "mt-bench-easy": 1,
    "mt-bench-med": 1,
    "mt-bench-hard": 0.864865,
    "llmbar-natural": 0.93,
    "llmbar-adver-neighbor": 0.679104,
    "llmbar-adver-GPTInst": 0.771739,
    "llmbar-adver-GPTOut": 0.659574,
    "llmbar-adver-manual": 0.695652,
    "refusals-dangerous": 0.93,
    "refusals-offensive": 0.97,
    "xstest-should-refuse": 1.0,
    "xstest-should-respond": 0.872,
    "donotanswer": 0.794118,
    "math-prm": 0.986577,
    "hep-cpp": 0.951220,
    "hep-go": 0.969512,
    "hep-java": 0.981707,
    "hep-js": 0.975610,
    "hep-python": 0.963415,
    "hep-rust": 0.920732,
    "anthropic_helpful": 0.697351,
    "anthropic_hhh": 0.877828,
    "shp": 0.746697,
    "summarize": 0.649889,
}
"""The accuracies by subset that ArmoRM's authors published."""


def percent(value: float) -> float:
    return round(100 * value, 1)


@pytest.mark.parametrize(("counting", "safety", "overall"), [("exchanged", 92.2, 89.0), ("today", 90.5, 88.6)])
def test_armorms_published_subsets_give_its_published_sections(counting, safety, overall):
    found = reward_bench(ARMORM, counting)
    sections = [percent(value) for value in found.sections.values()]
    assert sections == [96.9, 76.8, safety, 97.3, 74.3]
    assert percent(found.overall) == overall
    assert found.with_prior
    assert found.missing == found.unknown == ()


def test_every_counted_subset_is_in_one_section():
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COUNTS)


def test_without_the_prior_sets_the_overall_figure_is_that_of_four_sections_and_says_so():
    found = reward_bench({name: value for name, value in ARMORM.items() if name not in PRIOR_SETS})
    assert not found.with_prior
    assert found.overall == pytest.approx(sum(found.sections[name] for name in SECTIONS) / 4)


def test_without_one_of_its_subsets_a_section_and_the_overall_figure_do_not_exist():
    found = reward_bench({name: value for name, value in ARMORM.items() if name != "math-prm"})
    assert found.sections["Reasoning"] is None
    assert found.overall is None
    assert found.missing == ("math-prm",)
    assert percent(found.sections["Chat"]) == 96.9


def test_a_subset_of_no_section_is_named():
    assert reward_bench(ARMORM | {"math-prn": 0.5}).unknown == ("math-prn",)


def test_an_accuracy_in_percent_is_refused_by_name():
    with pytest.raises(ValueError, match="subset math-prm: an accuracy must be in"):
        reward_bench({"math-prm": 98.7})


def test_another_counting_is_refused():
    with pytest.raises(ValueError, match="today, exchanged"):
        reward_bench(ARMORM, "swapped")


def test_the_accuracy_of_a_subset_is_its_share_of_wins():
    assert subset_accuracy(3, 4) == 0.75
