r"""Find the final answer of a response, by the rule of docs/grading.md.

1. Only what follows the last `</think>` counts; a thought that is still open has no answer.
2. A box (`\boxed`, `\fbox`) or a `####` that contains an answer takes precedence over announcements in words; the last
   one counts. Boxes joined by a comma, "and" or "or" are one answer.
3. Otherwise, the last announcement in words ("The answer is: X", "A: X", a heading "Answer") counts that is followed by
   something that can be an answer.
"""

# ruff: noqa: RUF001 - look-alike characters are what this file is about
from __future__ import annotations

import re
from collections.abc import Iterator

from rewards.grading.vocabulary import NOT_ANSWERS

_THOUGHT = re.compile(r"<(/?)(?:seed:)?(?:think|thinking|thought|reasoning)>|\[(/?)THINK\]", re.IGNORECASE)
_TOKENS = re.compile(r"<\|[^|>]*\|>|</?s>|<(?:eos|end_of_turn|pad)>")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*")
_EMPTY_COMMAND = re.compile(r"\\[A-Za-z]+\s*\{\s*\}|\\(?:text|quad|mathrm)(?![A-Za-z])")
_SINGLE = re.compile(r"-?[\w.,]*\w|\\[A-Za-z]+(?:\{[^{}]*\})*")
_MARK = re.compile(r"####(?!#)[ \t]*")
_ANNOUNCEMENT = re.compile(
    r"""
    (?:
        \banswers?\b
        (?:[ \t]+(?:to|for|of|in|from)[ \t]+(?:[\w'-]+[ \t]+){1,8}?(?=is\b|are\b|was\b|equals\b|:))?
        [ \t]*(?:\*\*|__|\*)?[ \t]*
        (?P<link>
            (?:
                (?:
                    is|are|was|equals|(?:must|should|would|will)[ \t]+be
                    |comes[ \t]+(?:out[ \t]+)?to|turns[ \t]+out[ \t]+to[ \t]+be
                )\b
                |[:=：]|[-–—](?=[ \t]*[\d$\\])
            )
            |(?=[ \t]*\n)
        )
        | ^[ \t]*(?:\*\*)?A(?P<line>:)
        | 答案\s*(?P<chinese>是|为|[:：])
    )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_FILLER = re.compile(
    r"(?:[\s:：*_=,]*\n[ \t]*[-*•][ \t]+)?[\s:：*_=,]*(?:(?:therefore|thus|then|hence|so|simply|just|indeed|clearly"
    r"|obviously|exactly|only|equal[ \t]+to|equals|given[ \t]+by|is|approximately|about|roughly|also|again|now|finally"
    r"|(?:found|going)[ \t]+to[ \t]+be|as[ \t]+follows)\b[,:]?"
    r"|[:：=,]|(?:\*\*|__)(?=\S|\s))*[ \t]*",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[ \t]*:?[ \t]*(?:\*\*)?[ \t]*(-?\$?\d+(?:\.\d+)?(?: [a-z]{3,20})?)(?:\*\*)?\.?(?:\n|\Z)")
_MATHS = [("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"), ("$", "$")]
_SENTENCE_END = re.compile(r"[.?!;](?=\s|$|\*\*|[\"')\]](?:\s|$))|[.](?=[A-Z][a-z])|(?<=\w)[.](?=\$?$)")
_CLAUSE = re.compile(
    r"[,;]?\s+(?:because|since|which|so|as|where|when|while|but|hence|thus|therefore|for|after|from|by|using|i\.e\.|that|who"
    r"|in order|according|assuming|given|due|based|making|meaning)\b.*"
    r"|\s+(?:--|[–—]|-(?=\s+[a-z]{3}))\s+[a-z]{2}.*|,?\s+and\s+(?:the|this|that|it|we|so|I|thus|therefore|hence|our|my|all|he|she|they)\b.*"
    r"|\s*[([](?:since|because|as|i\.e|see|approx|rounded|about|which|where|in)\b.*",
    re.IGNORECASE | re.DOTALL,
)
_JOINED = re.compile(
    r"(?:[\s$,;&*]|\\[()\[\],;:! ]|\\q?quad|\\text\s*\{|\}|\band\b|\bor\b|\b[A-Za-z]\s*=)*", re.IGNORECASE
)
_JOINT = re.compile(r"[,;&]|\band\b|\bor\b", re.IGNORECASE)
_STARTS = re.compile(r"[-+−–±~≈]?\s*(?:[$£€¥₹\d.(\[{|√π∞½¼¾]|\\)|.*\d|[-+]?[A-Za-z](?:[\s^*/+=<>≤≥_(,)-]|$)", re.DOTALL)
_SENTENCE = re.compile(r"(?:[A-Za-z][A-Za-z']* ){1,10}(?:is|are|was|equals|has|gets|=) +(.+)", re.DOTALL)
_HEADING_NUMBER = re.compile(r"\d+[.):]\s+[A-Za-z]|(?:step|part|case|section|check)\s*\d*\b", re.IGNORECASE)
_KNOWN_WORDS = re.compile(
    r"\W*(?:yes|no|true|false|none|undefined|infinite|[A-J]|\([A-J]\))\W*$|(?:yes|no|true|false)[,.]", re.IGNORECASE
)


def extract_answer(text: str) -> str | None:
    """The final answer that a response announces, as written; None if it announces none."""
    said = after_thoughts(text) if "<" in text or "[" in text else text
    if said is None:
        return None
    marked = _last_marked(said)
    return marked if marked is not None else _last_announced(_TOKENS.sub("", said))


def after_thoughts(text: str) -> str | None:
    """The text after the last closed thought; None if a thought is still open."""
    last = None
    for last in _THOUGHT.finditer(text):  # noqa: B007 - the last match is wanted
        pass
    if last is None:
        return text
    return text[last.end() :] if "/" in last[0] else None


def _last_marked(text: str) -> str | None:
    """The answer in the last box or after the last `####`; joined boxes are one answer."""
    if "####" not in text and "\\" not in text:
        return None
    boxes = list(_boxes(text))
    hashes = [(start, answer) for start, answer in _hashes(text) if not any(b[0] <= start < b[1] for b in boxes)]
    last_hash = hashes[-1] if hashes else None
    if not boxes or (last_hash is not None and last_hash[0] > boxes[-1][0]):
        return last_hash[1] if last_hash else None
    joined = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box[1] : joined[0][0]]
        if len(between) > 60 or not _JOINED.fullmatch(between) or not _JOINT.search(between):
            break
        joined.insert(0, box)
    return ", ".join(dict.fromkeys(answer for _, _, answer in joined))


def _boxes(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of every outermost box that is not empty, in order."""
    end = 0
    for found in _BOX.finditer(text):
        if found.start() < end:
            continue
        if text[found.end() : found.end() + 1] == "{":
            inner = braced(text, found.end())
            if inner is None:
                continue
            end, content = found.end() + len(inner) + 2, inner
        else:
            single = _SINGLE.match(text, found.end())
            if single is None:
                continue
            end, content = single.end(), single[0]
        if re.search(r"\w|[∅∞]|\\(?:emptyset|varnothing|infty)|\\\{", _EMPTY_COMMAND.sub("", content)):
            yield found.start(), end, content.strip()


def braced(text: str, start: int) -> str | None:
    """The text between the brace at `start` and its partner; None if there is no partner. Escaped braces are text."""
    depth = 0
    for found in re.finditer(r"\\.|[{}]", text[start:], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return text[start + 1 : start + found.start()]
    return None


def _hashes(text: str) -> Iterator[tuple[int, str]]:
    """Position and answer of every `####` that is not a heading."""
    for found in _MARK.finditer(text):
        line, _, rest = text[found.end() :].partition("\n")
        heading = found.start() == 0 or text[found.start() - 1] == "\n"
        last = not rest.strip()
        line = _TOKENS.sub("", line)
        bare = line.strip().strip("*:").strip()
        if _ANNOUNCEMENT.match(bare) or bare.casefold().endswith("answer"):
            continue  # a heading above an answer, which counts as an announcement in words
        if heading and not last and _HEADING_NUMBER.match(bare):
            continue
        answer = _said(line)
        if answer and (_STARTS.match(answer) or _KNOWN_WORDS.match(answer) or last):
            yield found.start(), answer


def _last_announced(text: str) -> str | None:
    """The last answer announced in words; one in lower-case words ("the answer is even") only if there is no other."""
    loose = None
    for found in _announcements(text):
        plain = _PLAIN.match(text, found.end())
        if plain is not None:
            return plain[1]
        answer, firm = _announced(text, found)
        named = answer is not None and firm and answer[:1].isupper()
        if answer is not None and (named or _STARTS.match(answer) or _KNOWN_WORDS.match(answer)):
            return answer
        loose = loose or answer
    return loose


def _announcements(text: str) -> Iterator[re.Match[str]]:
    """The announcements in words, last one first. Searches only near their key words, which is much faster."""
    small = text.lower()
    if len(small) != len(text):  # the lower case of a few letters is longer
        yield from reversed(list(_ANNOUNCEMENT.finditer(text)))
        return
    starts = set()
    for word in ("answer", "a:", "答案"):
        place = small.find(word)
        while place >= 0:
            starts.add(text.rfind("\n", 0, place) + 1 if word == "a:" else place)
            place = small.find(word, place + 1)
    for start in sorted(starts, reverse=True):
        found = _ANNOUNCEMENT.match(text, start)
        if found is not None:
            yield found


def _announced(text: str, found: re.Match[str]) -> tuple[str | None, bool]:
    """The text after an announcement if it can be an answer, and whether a colon or a line break precedes it."""
    start = _FILLER.match(text, found.end()).end()  # type: ignore[union-attr]  # it also matches the empty string
    firm = "\n" in text[found.end() : start] or any(sign in text[found.start() : start] for sign in ":：=")
    answer = _said(text[start:])
    sentence = _SENTENCE.fullmatch(answer)
    if sentence and _STARTS.match(sentence[1]):
        answer = sentence[1]
    return (answer if answer and _can_be_answer(answer, firm) else None), firm


def _said(text: str) -> str:
    """The statement at the start of `text`: a whole piece of mathematics, or up to the end of the sentence or line."""
    text = text.strip()
    lead = re.match(r"(?:\*\*|__|\*)?\s*[-−–]?(?=\$\$|\\\[|\\\(|\$)", text)
    offset = lead.end() if lead else 0
    for opened, closed in _MATHS if lead else []:
        if text.startswith(opened, offset):
            end = text.find(closed, offset + len(opened))
            inside = text[offset + len(opened) : end]
            if end < 0 or not inside.strip() or (opened == "$" and _is_money(inside)):
                break
            end += len(closed)
            tail = _first_sentence(text[end:]) if opened in ("$", r"\(") else ""
            return _unmarked(text[:end] + _CLAUSE.sub("", tail, count=1))
    return _clause(_first_sentence(text))


def _is_money(inside: str) -> bool:
    """Whether a `$` starts an amount of money rather than mathematics: `$5 and $6`, or text with a line break."""
    return "\n" in inside or bool(re.match(r"\d", inside) and re.search(r"[\s(,-]$", inside))


def _first_sentence(text: str) -> str:
    said = text.partition("\n")[0]
    for end in _SENTENCE_END.finditer(said):
        if not re.search(r"\b(?:[ap]\.m|[ap]|approx|vs|Mr|Mrs|Dr|St|No)$", said[: end.start()], re.IGNORECASE):
            return said[: end.start()]
    return said


def _clause(said: str) -> str:
    """Remove an explanatory clause: `42, because 6 * 7 = 42` becomes `42`."""
    said = said.strip()
    bare = _CLAUSE.sub("", said, count=1).strip() if not said.startswith("\\text") else said
    return _unmarked(bare or said)


def _unmarked(said: str) -> str:
    """Remove surrounding bold marks and backticks."""
    said = said.replace("ки", "").strip(" \t\r\n,;")
    for mark in ("**", "__"):
        if said.count(mark) == 1 and not re.search(rf"\w{re.escape(mark)}[\w(]", said):
            said = said.replace(mark, "").strip()
    if said.startswith("**") and said.endswith("**"):
        said = said[2:-2].strip()
    return said.strip("`").strip()


def _can_be_answer(answer: str, firm: bool) -> bool:
    """Whether the text after an announcement can be an answer: mathematics, or a few words that are not a remark."""
    bare = answer.strip("*_` \t$")
    if not re.search(r"\w|[∅∞]|\\", bare):
        return False
    first = re.match(r"(?:[A-Za-z']+-)*([A-Za-z']*)", bare)
    word = first[1] if first else ""
    if re.match(r"[Aa]t (?:most|least) |[Tt]he [A-Z]", bare) and len(bare.split()) <= 5:
        return True
    if word.casefold() in NOT_ANSWERS and not (
        len(word) == 1 and (bare == word or not bare[1:2].isspace() or word == "A")
    ):
        return False
    if not word or _STARTS.match(bare):
        return True
    words = bare.split()
    if len(words) == 1 or firm:
        return len(words) <= 8
    participle = re.search(r"(?:ed|ing|ly|ent|ble)$", word) and word.islower() and len(words) > 1
    return len(words) <= 4 and not participle
