"""Judge formats: YAML files that say what a judge is asked and how its verdict is read.

The formats that come with the project are in `rewards/judging/formats`, and are named without folder and `.yaml`; any
other file is named by its path. docs/judges.md explains every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from rewards.builder import ConfigurationError, build, nearest
from rewards.chat import Turn
from rewards.conversation import Message

FOLDER = Path(__file__).parent / "formats"
SUFFIX = ".yaml"

CONVERSATION = "conversation"
"""The role that stands for the problem's own turns, each with its own role."""

Swap = Literal["random", "mean", "agree"]
"""How a judge's preference for a place is met: show each pair in one random order; judge both orders and take the mean;
or judge both orders and call it a tie unless the same side wins in both."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class TurnTemplate:
    """A turn of the judge's prompt: a role, and its text or the name of a file next to the format that holds the text.

    The role `conversation` has no text: the problem's own turns are put in its place. Raises ValueError for anything
    else, and FileNotFoundError for a missing file.
    """

    role: str
    content: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if self.role == CONVERSATION:
            if self.content is not None or self.file is not None:
                raise ValueError(f"role {CONVERSATION} stands for the problem's own turns and takes no content or file")
        elif (self.content is None) == (self.file is None):
            raise ValueError(f"content or file must be given for the role {self.role}, and only one of them")
        if self.file is not None:
            if not Path(self.file).is_file():
                raise FileNotFoundError(f"file: no such file: {self.file}")
            object.__setattr__(self, "content", Path(self.file).read_text(encoding="utf-8"))

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """The names in braces in the text."""
        return frozenset(_PLACEHOLDER.findall(self.content or ""))


@dataclass(frozen=True)
class Template:
    """The turns of a judge's prompt. `known` are the placeholders that are filled in; other braces stay as they are."""

    turns: tuple[TurnTemplate, ...]
    known: frozenset[str]

    @cached_property
    def used(self) -> frozenset[str]:
        """The known placeholders that the turns have; `conversation` counts as one."""
        named = frozenset().union(*(turn.placeholders for turn in self.turns)) & self.known
        return named | ({CONVERSATION} if any(turn.role == CONVERSATION for turn in self.turns) else frozenset())

    def fill(self, texts: Mapping[str, str | None], conversation: Iterable[Message] = ()) -> list[Turn]:
        """The turns with their placeholders filled in, all in one pass, so that braces in a text stay text.

        A turn with a placeholder whose text is None is left out.
        """
        turns: list[Turn] = []
        for template in self.turns:
            if template.role == CONVERSATION:
                turns += [Turn(message["role"], message["content"]) for message in conversation]
            elif all(texts.get(name, "") is not None for name in template.placeholders & self.known):
                turns.append(Turn(template.role, self._filled(template.content or "", texts)))
        return turns

    def _filled(self, content: str, texts: Mapping[str, str | None]) -> str:
        def text_of(match: re.Match[str]) -> str:
            found = texts.get(match[1]) if match[1] in self.known else None
            return match[0] if found is None else found

        return _PLACEHOLDER.sub(text_of, content)

    def require(self, needed: Sequence[str | tuple[str, ...]]) -> None:
        """Raise ValueError if a placeholder is missing; a tuple names some of which one is enough."""
        for names in needed:
            choices = (names,) if isinstance(names, str) else names
            if not self.used & set(choices):
                ways = [f"the role {name}" if name == CONVERSATION else f"{{{name}}}" for name in choices]
                raise ValueError(f"turns must have {' or '.join(ways)}")


def spoken(text: str, thoughts: str | None) -> str:
    """What a judge says after its thoughts: the text after the last `thoughts`, such as `</think>`, if it is there."""
    return text if thoughts is None else text.rpartition(thoughts)[2]


def path_of(name: str) -> Path:
    """The file of a format. Raises ValueError if there is none."""
    if not name.endswith(SUFFIX):
        names = shipped()
        if name not in names:
            raise ValueError(
                f"format must be the path of a {SUFFIX} file or one of {', '.join(names)}, not {name!r}"
                f"{nearest(name, names)}"
            )
        return FOLDER / f"{name}{SUFFIX}"
    if not Path(name).is_file():
        raise ValueError(f"format: no such file: {name}")
    return Path(name)


def shipped() -> list[str]:
    """The names of the formats that come with the project."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def load(name: str, kind: type, kinds: Mapping[str, type]) -> Any:
    """The format in a file, built as `kind`; `kinds` are the kinds of verdict by name.

    Raises ValueError in one line, with the file and the key, for anything that is not such a format.
    """
    path = path_of(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"format {path.name}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"format {path.name}: must be a mapping of keys, not {type(content).__name__}")
    node = _with_targets(content, path, kind, kinds)
    try:
        return build(node, "format")
    except ConfigurationError as error:
        raise ValueError(f"format {path.name}: {str(error).replace('format.', '').removeprefix('format: ')}") from error


def _with_targets(content: Mapping[str, Any], path: Path, kind: type, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The file's content as a configuration node: each part names its class."""
    node = {"_target_": _name(kind), **_with_text_keys(content, path)}
    turns = node.get("turns")
    if isinstance(turns, list):
        node["turns"] = [_turn(turn, path) if isinstance(turn, Mapping) else turn for turn in turns]
    verdict = node.get("verdict")
    if isinstance(verdict, Mapping):
        verdict = dict(verdict)
        word = verdict.pop("kind", None)
        if word not in kinds:
            raise ValueError(
                f"format {path.name}: verdict.kind must be one of {', '.join(kinds)}, not {word!r}; "
                "other kinds belong to judges of another sort"
            )
        node["verdict"] = {"_target_": _name(kinds[word]), **verdict}
    return node


def _turn(turn: Mapping[str, Any], path: Path) -> dict[str, Any]:
    file = {"file": str(path.parent / turn["file"])} if isinstance(turn.get("file"), str) else {}
    return {"_target_": _name(TurnTemplate), **turn, **file}


def _with_text_keys(value: Any, path: Path) -> Any:
    """The same value. Raises ValueError for a key that YAML does not read as text, such as yes or 1."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"format {path.name}: put the key {key!r} in quotes: YAML does not read it as text")
        return {key: _with_text_keys(item, path) for key, item in value.items()}
    return [_with_text_keys(item, path) for item in value] if isinstance(value, list) else value


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
