"""What must hold of grading whatever the number, its notation and its announcement."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.grading.classes import answer_classes
from rewards.grading.comparison import compare
from rewards.grading.notation import notation
from rewards.grading.reading import _read, read_answer
from rewards.symbolic import SymbolicComparer, default_comparer
from rewards.verifier import equal_answers, extract_answer, grade

ANNOUNCEMENTS = [
    "The answer is: {}",
    "The answer is {}.",
    "The answer is therefore {}",
    "**Final Answer**: {}",
    "**Final Answer:**\n{}",
    "### Answer\n\n{}",
    "Answer: **{}**",
    "The final answer is \\({}\\).",
    "The answer is:\n\\[\n{}\n\\]",
    "The answer is:\n$$ {} $$",
    "The answer is ${}$, since nothing else fits.",
    "#### {}",
    "#### {}\nNote: this answer is in apples.",
    "A: {}",
    "\\boxed{{{}}}",
    "So $\\boxed{{{}}}$. This answer is consistent with the estimate.",
    "\\fbox{{{}}}",
    "<think>The answer is: 8675309</think>The answer is: {}",
    "The answer is: {}\nThe answer: verified.",
    "\\boxed{{\\text{{{}}}}}",
]


def grouped(digits: str, mark: str) -> str:
    whole, point, part = digits.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return sign + f"{int(whole.lstrip('-')):,}".replace(",", mark) + point + part


def renderings(value: Fraction) -> list[str]:
    """How people and models write a decimal number."""
    decimal = f"{float(value):.6f}".rstrip("0").rstrip(".")
    assert Fraction(decimal) == value
    found = [
        decimal,
        decimal + ("0" if "." in decimal else ".0"),
        decimal.replace("-", "−"),  # noqa: RUF001 - the sign in question
        grouped(decimal, ","),
        grouped(decimal, "{,}"),
        grouped(decimal, "\\,"),
        grouped(decimal, "\u2009"),
        grouped(decimal, "\u202f"),
        f"{value.numerator}/{value.denominator}" if value.denominator > 1 else decimal,
        f"\\frac{{{value.numerator}}}{{{value.denominator}}}",
        f"\\dfrac{{{value.numerator}}}{{{value.denominator}}}",
        f"{'-' if value < 0 else ''}{float(abs(value)):.12e}",
        f"{decimal} apples",
    ]
    whole, rest = divmod(abs(value), 1)
    if whole and rest:
        sign = "-" if value < 0 else ""
        found.append(f"{sign}{whole} {rest.numerator}/{rest.denominator}")
        found.append(f"{sign}{whole}\\frac{{{rest.numerator}}}{{{rest.denominator}}}")
    return found


numbers = st.one_of(
    st.integers(-(10**7), 10**7).map(Fraction),
    st.builds(lambda n, places: Fraction(n, 10**places), st.integers(-(10**7), 10**7), st.integers(0, 5)),
)


@settings(max_examples=400, deadline=None)
@given(numbers, st.sampled_from(ANNOUNCEMENTS), st.data())
def test_every_rendering_of_a_number_in_every_announcement_is_right(value, announcement, data):
    answer = data.draw(st.sampled_from(renderings(value)))
    reference = data.draw(st.sampled_from(renderings(value)))
    assert grade(announcement.format(answer), reference)


@settings(max_examples=400, deadline=None)
@given(numbers, numbers, st.sampled_from(ANNOUNCEMENTS), st.data())
def test_two_different_numbers_are_never_equal(value, other, announcement, data):
    if value != other:
        answer = data.draw(st.sampled_from(renderings(value)))
        reference = data.draw(st.sampled_from(renderings(other)))
        assert not grade(announcement.format(answer), reference)


@settings(max_examples=200, deadline=None)
@given(numbers, st.integers(6, 300))
def test_numbers_that_are_near_are_not_equal(value, places):
    near = value + Fraction(1, 10**places)
    assert not equal_answers(f"\\frac{{{near.numerator}}}{{{near.denominator}}}", str(value))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_a_json_number_as_reference_equals_its_own_digits(value):
    exact = Fraction(repr(value))
    assert equal_answers(f"\\frac{{{exact.numerator}}}{{{exact.denominator}}}", str(value))


PLAIN = [
    r"5",
    r"5.0",
    r"\frac{10}{2}",
    r"5cm",
    r"500cm",
    r"x=5",
    r"y=5",
    r"5%",
    r"0.05",
    r"50%",
    r"0.5",
    r"\{1,2\}",
    r"(1,2)",
    r"1,2",
    r"2,1",
    r"[1,2)",
    r"12:30",
    r"7pm",
    r"19:00",
    r"yes",
    r"No",
    r"B",
    r"(b)",
    r"\pi",
    r"2\pi",
    r"6.28",
    r"\sqrt{2}",
    r"1.41421356237",
    r"x^2",
    r"(x)^2",
    r"x+1",
    r"1+x",
    r"1011_2",
    r"11",
    r"\emptyset",
    r"\infty",
    r"x>3",
    r"(3,\infty)",
    r"nonsense{",
    "5 apples",
    "5 pears",
    "5 cm",
    "5 or more",
    "5 million",
    "5 or 6",
    "7 am",
    "June 20",
    "at most 5",
]
pieces = st.one_of(st.sampled_from(PLAIN), st.text(max_size=12), numbers.map(str))


@pytest.fixture(scope="module")
def comparer():
    return default_comparer()


@settings(max_examples=300, deadline=None)
@given(pieces, pieces)
def test_comparison_is_reflexive_and_symmetric(one, other):
    left, right = read_answer(one), read_answer(other)
    ask = lambda a, b: "same" if a == b else "alike"  # noqa: E731 - stands for algebra, symmetric itself
    assert compare(left, left, ask) == "same"
    assert compare(left, right, ask) == compare(right, left, ask)


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_classes_of_votes_do_not_depend_on_the_order(comparer, answers, random):
    order = random.sample(range(len(answers)), len(answers))
    before = answer_classes(answers, comparer)
    after = answer_classes([answers[place] for place in order], comparer)
    together = {(i, j) for i, one in enumerate(before) for j, two in enumerate(before) if one == two}
    assert together == {
        (order[i], order[j]) for i, one in enumerate(after) for j, two in enumerate(after) if one == two
    }


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=8), st.data())
def test_numbers_vote_together_exactly_if_they_are_equal(values, data):
    answers = [data.draw(st.sampled_from(renderings(value))) for value in values]
    classes = answer_classes(answers, SymbolicComparer())
    assert all((classes[i] == classes[j]) == (a == b) for i, a in enumerate(values) for j, b in enumerate(values))


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text):
    extract_answer(text)
    extract_answer(f"The answer is: {text}")
    extract_answer(f"\\boxed{{{text}}}")
    read_answer(text)


words = st.sampled_from(
    ["apples", "hours", "million", "percent", "may", "march", "cos", "noon", "squared", "feet", "cents"]
)


@settings(max_examples=500, deadline=None)
@given(numbers, st.sampled_from(["", "$"]), st.one_of(st.just(""), words.map(" {}".format)), st.sampled_from(["", "."]))
def test_the_quick_reading_of_plain_numbers_is_the_thorough_one(value, dollar, word, stop):
    digits = renderings(abs(value))[0]
    for written in (digits, grouped(digits, ",")):
        text = f"{'-' if value < 0 else ''}{dollar}{written}{word}{stop}"
        assert read_answer(text) == _read(notation(text))
