from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.steps import splitter


def texts(name: str, text: str, **options) -> list[str]:
    return [text[start:end] for start, end in splitter(name, **options)(text)]


def test_lines_are_steps_and_empty_lines_are_not():
    assert texts("line", " a \n\nb\n c\n") == ["a", "b", "c"]


def test_blank_lines_part_steps_that_span_lines():
    assert texts("blank_line", "a\nb\n\n\n\nc") == ["a\nb", "c"]


@pytest.mark.parametrize("name", ["ки", "math_shepherd"])
def test_math_shepherd_cuts_at_its_marker_before_a_line_break_as_the_published_code_does(name):
    text = "Step 1: a ки\nStep 2: ки is said ки\nThe answer is: 1 ки"
    assert texts(name, text) == ["Step 1: a", "Step 2: ки is said", "The answer is: 1 ки"]


@pytest.mark.parametrize(("name", "separator"), [("math_shepherd", "ки\n"), ("blank_line", "\n\n"), ("line", "\n")])
@given(pieces=st.lists(st.sampled_from(["", " ", "a ", "\tb\n", "ки", "+"])))
def test_with_keep_empty_the_pieces_are_those_of_the_published_code(name, separator, pieces):
    text = separator.join(pieces)
    assert texts(name, text, keep_empty=True) == [piece.strip() for piece in text.split(separator)]
    assert texts(name, text, keep_empty=True, strip=False) == text.split(separator)
    assert texts(name, text, strip=False) == [piece for piece in text.split(separator) if piece.strip()]


def test_a_regular_expression_separates_steps():
    assert texts("regex", "Step 1: a Step 2: b", pattern=r"Step \d+:") == ["a", "b"]


@given(st.text(alphabet="a \n"))
def test_spans_are_ordered_disjoint_and_never_empty(text):
    spans = splitter("line")(text)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(set(edges))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("regex", {}, "needs pattern"),
        ("regex", {"pattern": "("}, "not a regular expression"),
        ("line", {"pattern": "x"}, "belongs to splitter=regex"),
        ("sentence", {}, "must be one of"),
    ],
)
def test_a_splitter_that_cannot_work_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        splitter(name, **options)
