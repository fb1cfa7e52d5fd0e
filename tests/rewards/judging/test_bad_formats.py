"""Format files that cannot work are refused in one line that names the file and the key."""

from __future__ import annotations

import pytest

from rewards.judging.pairs import GenerativeJudge, load_pair_format

GOOD = """\
turns:
  - {role: user, content: "{question} A: {response_a} B: {response_b}"}
verdict:
  kind: preference
  patterns: ['Winner: (\\w+)']
  values: {first: 1, second: 0}
"""


class Silent:
    """A generator that is never asked."""

    def write(self, requests):
        raise AssertionError

    def plain(self, text):
        return text


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_a_format_of_ones_own_is_a_yaml_file(write):
    found = load_pair_format(write(GOOD))
    assert (found.read("Winner: Second").a, found.read("Winner: FIRST.").a) == (0.0, 1.0)
    assert not found.read("Winner: both").given


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{response_b}", "{respone_b}", r"format own.yaml: turns must have \{response_b\}"),
        ("{question} ", "", r"turns must have \{question\} or the role conversation"),
        ("role: user", "rolle: user", r"unknown key turns\[0\].rolle; did you mean role"),
        ('content: "', 'file: "', "file: no such file"),
        (
            "kind: preference",
            "kind: scores",
            "verdict.kind must be one of preference, sides, json_scores, not 'scores'",
        ),
        ("kind: preference", "kind: json_scores", "unknown key verdict.patterns"),
        ("(\\w+)", "(\\w+", "verdict.patterns: .* is not a valid regular expression"),
        ("(\\w+)", "\\w+", r"must have exactly one group \(...\), not 0"),
        ("first: 1, second: 0", "first: 1", "verdict.values must name at least two verdicts"),
        ("first: 1", "first: 2", r"verdict.values.first must be in \[0, 1\], not 2"),
        ("first: 1, second: 0", "yes: 1, no: 0", "put the key True in quotes"),
        ("first: 1, second: 0", "a: 1, A: 0", "values names 'A' twice"),
        (
            "  values",
            "  pick: any\n  values",
            "verdict.pick must be first, last, listed or only, not 'any'|pick: expected",
        ),
        ("verdict:", "swap: both\nverdict:", "swap must be random, mean or agree|swap: expected one of"),
        ("verdict:", "defuse: ['(']\nverdict:", "defuse: .* is not a valid regular expression"),
        ("turns:", "turms:", "unknown key turms; did you mean turns|turns is missing"),
        ("verdict:", "verdict: [", "not valid YAML"),
    ],
)
def test_a_fault_in_a_format_is_named_with_its_file_and_key(write, old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message) as refused:
        load_pair_format(write(GOOD.replace(old, new, 1)))
    assert "\n" not in str(refused.value) and str(refused.value).startswith("format own.yaml: ")


@pytest.mark.parametrize("text", ["", "- 1", "just text", "5"])
def test_a_file_that_is_no_mapping_is_refused(write, text):
    with pytest.raises(ValueError, match="must be a mapping of keys"):
        load_pair_format(write(text))


def test_an_unknown_format_names_those_that_there_are():
    with pytest.raises(ValueError, match=r"one of arena_hard, .*, not 'nemotron'; did you mean nemotron_genrm\?"):
        load_pair_format("nemotron")
    with pytest.raises(ValueError, match=r"format: no such file: /nowhere/own.yaml"):
        load_pair_format("/nowhere/own.yaml")


def test_scales_and_names_of_json_scores_are_checked(write):
    turns = GOOD[: GOOD.index("verdict")]
    for keys, message in [
        ("a: x, b: y, scale: [1, 1]", "scale must be the worst and the best number"),
        ("a: x, b: x, scale: [1, 5]", "a, b and ranking must be different names"),
        ("a: x, b: y, scale: [1, 5], ranking: r", "ranking and ranking_scale must be given together"),
        ("a: x, b: y, scale: [1, 5], missing: 9", r"missing must be on the scale \[1.0, 5.0\], not 9"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_pair_format(write(f"{turns}verdict: {{kind: json_scores, {keys}}}\n"))


def test_a_principle_that_the_format_does_not_show_is_refused():
    with pytest.raises(ValueError, match=r"principle has no effect: the format rewardbench has no \{principle\}"):
        GenerativeJudge("rewardbench", Silent(), principle="Be brief.")
    GenerativeJudge("nemotron_genrm", Silent(), principle="Be brief.")


def test_what_is_no_generator_is_refused():
    with pytest.raises(ValueError, match="generator must be one, such as"):
        GenerativeJudge("rewardbench", object())  # type: ignore[arg-type]
