r"""Rewrite answers in one notation, whether they are LaTeX or plain text, Unicode or ASCII.

`\dfrac{1}{2}`, `\tfrac12` and `½` all become fractions, `−3` and `-3` the same number, `\text{5 cm}` becomes `5 cm`.
Nothing is evaluated here.
"""

# ruff: noqa: RUF001, RUF002 - look-alike characters are what this file is about
from __future__ import annotations

import re

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–—‐‑‒﹣－", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000\t\r\n", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u200e\u200f", ""),
        **dict.fromkeys("‘’′ʹ", "'"),
        **dict.fromkeys("“”", '"'),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        **{
            "，": ",",
            "．": ".",
            "：": ":",
            "；": ";",
            "（": "(",
            "）": ")",
            "＝": "=",
            "％": "%",
            "＋": "+",
            "。": ".",
        },
        **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∗": "*", "÷": r"\div ", "⁄": "/", "∕": "/"},
        **{"π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "θ": r"\theta ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}"},
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∪": r"\cup ", "∈": r"\in "},
        **{"½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 ", "⅓": " 1/3 ", "⅔": " 2/3 ", "⅕": " 1/5 ", "⅛": " 1/8 "},
        **{"°": r"^\circ ", "º": r"^\circ ", "℃": r"^\circ C", "℉": r"^\circ F", "¢": " cents "},
    }
)
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_TOKENS = re.compile(r"<\|[^|>]*\|>|</?s>|<(?:eos|end_of_turn|pad)>")
_WORDS = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|textup|mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|mbox|hbox"
    r"|operatorname|boldsymbol|bm|emph|underline|large|Large)\*?\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
)
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_REWRITES = [
    (re.compile(pattern), with_)
    for pattern, with_ in [
        (r"\\(?:displaystyle|textstyle|limits|rm|bf|it|bigl|bigr|Bigl|Bigr|big|Big)(?![A-Za-z])", ""),
        (r"\\(?:left|right)(?![A-Za-z])\.?", ""),
        (r"\\!\s*", ""),
        (r"\{,\}", ","),
        (r"\\[,;:> ]|~|\\(?:q?quad|thinspace|enspace|space)(?![A-Za-z])", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"\\frac\s*(\{[^{}]*\})\s*(\d|[a-zA-Z])", r"\\frac\1{\2}"),
        (r"\\sqrt\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\(?:leqslant|leqq|leq|le)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geqslant|geqq|geq|ge)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:neq|not\s*=)(?![A-Za-z])|!=", r"\\ne "),
        (r"\\(?:l|r)vert(?![A-Za-z])", "|"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset "),
        (
            r"\\(sin|cos|tan|cot|sec|csc)\s*\(?\s*(\d[\d.]*)\s*\^\s*\{?\s*\\(?:circ|degree)\s*\}?\s*\)?",
            r"\\\1(\\frac{\2\\pi}{180})",
        ),
        (r"(?<![\d_])(\d{1,3})_(\d{3})(?:_(\d{3}))?(?:_(\d{3}))?(?![\d_])", r"\1\2\3\4"),
        (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![A-Za-z])", " degrees "),
        (r"\^\s*\{\s*(?:st|nd|rd|th)\s*\}", ""),
        (r"(?<=\d)(?:st|nd|rd|th)\b", ""),
        (r"\\mp(?![A-Za-z])|\+/-|\+-", r"\\pm "),
        (r"(?<![\\A-Za-z])(pi|infinity|infty)(?![A-Za-z])", r"\\\1 "),
        (r"\\infinity(?![A-Za-z])", r"\\infty "),
        (r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<![\\A-Za-z])(sin|cos|tan|log|ln|exp)(?=\s*\()", r"\\\1"),
        (r"(?<=[\w)}])\*\*(?=[-\w({])", "^"),
        (r"(?<=\d)\s*[xX]\s*(?=10\^)", r"\\times "),
        (r"\\log_\{?e\}?(?![A-Za-z])", r"\\ln "),
        (r"\^\s*\(([^()]*)\)", r"^{\1}"),
        (r"\^\s*([+-]?\d+)", r"^{\1}"),
        (r"_\s*(\d+)", r"_{\1}"),
        (r"_\s*\(([^()]*)\)", r"_{\1}"),
        (r"\b([ap])\.\s?m\b\.?", r"\1m"),
        (r"\b([AP])\.\s?M\b\.?", r"\1M"),
        (r"\\%", "%"),
        (r"(?<!\\)\{\s+", "{"),
        (r"(?<!\\)\s+\}", "}"),
    ]
]
_APPROXIMATELY = re.compile(
    r"^(?:\\approx|\\sim|~|approximately|approx\.?|about|roughly|around|exactly|simply|just|only|equals?|equal to|=|:)"
    r"(?![A-Za-z])\s*",
    re.IGNORECASE,
)
_PREFACE = re.compile(
    r"^(?:so |thus |therefore |hence )?(?:the )?(?:final |correct )?answer\s*(?:is|=|:)\s*:?\s*", re.IGNORECASE
)
DOLLAR = "¤"
NEW_ROW = "␤"


def notation(text: str) -> str:
    r"""The answer in one notation, without surrounding marks: `$\dfrac12$.` becomes `\frac{1}{2}`.

    A dollar sign of money becomes `¤`, so that `$` around mathematics can be removed; a row break `\\` becomes `␤`.
    """
    if text.isascii() and text.isdigit():
        return text
    text = _TOKENS.sub("", text)
    if not text.isascii():
        text = _SUPERSCRIPTS.sub(lambda found: f"^{{{found[0].translate(_SUPERSCRIPT)}}}", text)
        text = text.translate(_CHARACTERS)
    text = text.replace("\t", " ").replace("\r", " ").replace("\n", " ")
    text = text.replace("**$", "$").replace("$**", "$")
    if "\\" in text:
        text = text.replace("\\\\", NEW_ROW).replace(r"\$", DOLLAR)
        text = text.replace(r"\(", "").replace(r"\)", "").replace(r"\[", "").replace(r"\]", "")
        for pattern in (_BOX, _WORDS):
            for _ in range(6):
                text, count = pattern.subn(r" \1 ", text)
                if not count:
                    break
    if "$" in text:
        text = _without_math_marks(text)
    for pattern, with_ in _REWRITES:
        text = pattern.sub(with_, text)
    return _bare(re.sub(r"\s+", " ", text))


def _without_math_marks(text: str) -> str:
    """Remove the `$` around mathematics; a `$` of money becomes `¤`."""
    text = re.sub(r"\$\$", "", text)
    while True:
        pair = re.search(r"\$([^$]*)\$", text)
        if pair is None:
            return text.replace("$", DOLLAR)
        money = re.match(r"\s*\d", pair[1]) and re.search(r"[\s(,-]$", pair[1]) and not pair[1].startswith(" ")
        text = text[: pair.start()] + (f"{DOLLAR}{pair[1]}$" if money else f" {pair[1]} ") + text[pair.end() :]


def _bare(text: str) -> str:
    """Remove surrounding spaces, quotes and bold marks, a final full stop, and a leading `approximately`."""
    while True:
        before = text
        text = text.strip(" `\"'").removesuffix("_")
        for mark in ("**", "__", "*", "_"):
            if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
                text = text[len(mark) : -len(mark)]
        text = text.removeprefix("**").removesuffix("**")
        text = _PREFACE.sub("", _APPROXIMATELY.sub("", text))
        if text.endswith((".", ";", ",", ":")):
            text = text[:-1]
        if text.startswith("{") and text.endswith("}") and _closes(text) and "," not in text:
            text = text[1:-1]
        if text == before:
            return text


def _closes(text: str) -> bool:
    """Whether the first brace closes at the very end."""
    depth = 0
    for place, sign in enumerate(text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return place == len(text) - 1
    return False
