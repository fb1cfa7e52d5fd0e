"""Build objects from configuration nodes: `_target_` names the class, and its keys are checked by name and type.

Every key is a keyword argument of that class, so its signature alone defines what may be set. Checks are strict: text
is not a number and a number is not text, but an integer is accepted as a float and a list as a tuple.

The command line and the Ray actors build with this same code, so what was checked is what runs. A constructor that
refuses a value raises ValueError in one line that begins with the option's bare name ("labels must be two texts"); the
builder puts the node's path in front ("reward.terms.orm.labels must be two texts").
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from rewards.types import Reward

Settings = TypeVar("Settings")


class ConfigurationError(ValueError):
    """A configuration that cannot work. The message is one line that names the key and says what to do."""


def verify(node: Mapping[str, Any], key: str, source: str = "") -> None:
    """Check a node and the nodes inside it without building anything.

    `node` is plain data (mappings, lists, scalars) with `_target_`, the dotted name of a class or function. `key` is
    the node's path in the configuration, `source` the file it comes from; both appear in messages. Raises
    ConfigurationError for a target that cannot be found, an unknown key, a missing key and a value of the wrong type.
    """
    target = find(node, key, source)
    given = _given(node)
    parameters, hints = _signature(target, key)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in given:
            if name not in parameters:
                raise ConfigurationError(unknown_key(name, key, parameters, source))
    for name, parameter in parameters.items():
        optional = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if name not in given and parameter.default is parameter.empty and not optional:
            raise ConfigurationError(f"{key}.{name} is missing{_in(source)}: {node['_target_']} needs it")
    for name, value in given.items():
        nested = list(_nodes_inside(value, f"{key}.{name}"))
        for inner_key, inner in nested:
            verify(inner, inner_key, source)
        if not nested:
            checked(value, hints.get(name, Any), f"{key}.{name}", source)


def build(node: Mapping[str, Any], key: str, source: str = "") -> Any:
    """Verify a node and build the object it describes, nested nodes first.

    Raises ConfigurationError as `verify` does. The target's own ValueError, TypeError or OSError (a missing file) also
    becomes a ConfigurationError, with the node's path in front of the message.
    """
    verify(node, key, source)
    return _built(node, key, source)


def build_reward(node: Mapping[str, Any], key: str = "reward", source: str = "") -> Reward:
    """Build the reward a node describes. Raises ConfigurationError as `build` does, and if it is not a Reward."""
    reward = build(node, key, source)
    if not isinstance(reward, Reward):
        raise ConfigurationError(
            f"{key}._target_ {node['_target_']} does not derive from rewards.types.Reward{_in(source)}"
        )
    return reward


def _built(node: Mapping[str, Any], key: str, source: str) -> Any:
    """Build an already verified node."""
    target = find(node, key, source)
    parameters, hints = _signature(target, key)
    arguments = {
        name: _argument(value, hints.get(name, Any), f"{key}.{name}", source) for name, value in _given(node).items()
    }
    try:
        return target(**arguments)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigurationError(placed(one_line(error), key, parameters)) from error


def build_root(kind: type[Settings], config: Mapping[str, Any], others: Collection[str], source: str) -> Settings:
    """Build the dataclass `kind` from the keys at the root of a configuration.

    `others` are root keys that belong to something else (the groups). Raises ConfigurationError for an unknown key, a
    value of the wrong type, and anything the dataclass itself refuses.
    """
    hints = typing.get_type_hints(kind)
    for key in config:
        if key not in hints and key not in others:
            raise ConfigurationError(unknown_key(key, "", [*hints, *others]))
    given = {key: checked(config[key], hints[key], key, source) for key in hints if key in config}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name not in given and parameter.default is parameter.empty:
            raise ConfigurationError(f"{name} is missing{_in(source)}")
    try:
        return kind(**given)
    except ValueError as error:
        raise ConfigurationError(one_line(error)) from error


def find(node: Mapping[str, Any], key: str, source: str = "") -> Callable[..., Any]:
    """The class or function that the node's `_target_` names. Raises ConfigurationError if there is none."""
    name = node.get("_target_")
    if not isinstance(name, str) or "." not in name:
        raise ConfigurationError(
            f"{key}._target_ must name a class, as package.module.Class{_in(source)}, not {name!r}"
        )
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(f"{key}._target_ {name} cannot be imported{_in(source)}: {one_line(error)}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [public for public in vars(module) if not public.startswith("_")]
        raise ConfigurationError(
            f"{key}._target_: {module_name} has no {attribute}{_in(source)}{nearest(attribute, public)}"
        )
    return typing.cast(Callable[..., Any], found)


def checked(value: Any, annotation: Any, key: str, source: str = "") -> Any:
    """Check plain data against a type annotation and return it (a list becomes a tuple if the type says so).

    Raises ConfigurationError with the key, the expected type and the value given.
    """
    wrong = f"{key}: expected {described(annotation)}, got {value!r}{_in(source)}"
    try:
        # JSON's strictness is what we want: "1" is not a number, true is not a number, [1, 2] may be a tuple.
        return _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        options = [str(option) for option in _options(annotation)]
        hint = nearest(value, options) if isinstance(value, str) else ""
        raise ConfigurationError(wrong + hint) from error
    except TypeError as error:
        raise ConfigurationError(wrong) from error


def described(annotation: Any) -> str:
    """A type in words: `float`, `int or null`, `one of k1, k2`."""
    if annotation is None or annotation is type(None):
        return "null"
    if annotation is inspect.Parameter.empty or annotation is Any:
        return "anything"
    origin = get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in get_args(annotation))
    if origin is typing.Annotated:
        return described(get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(described(option) for option in get_args(annotation))
    if origin is not None and isinstance(origin, type) and not issubclass(origin, Callable):  # type: ignore[arg-type]
        inner = ", ".join("..." if option is ... else described(option) for option in get_args(annotation))
        return f"{origin.__name__.lower()} of {inner}"
    return getattr(annotation, "__name__", str(annotation))


def unknown_key(name: str, key: str, known: Collection[str], source: str = "") -> str:
    """The message for an unknown key: where it is, and which key was probably meant."""
    place = f"{key}.{name}" if key else name
    hint = elsewhere(place) or nearest(name, known)
    return f"unknown key {place}{_in(source)}{hint or '; valid keys: ' + ', '.join(known)}"


ELSEWHERE = {
    "algorithm.critic": "only algorithm=ppo learns with a critic",
    "learner.lora": "learner=lora has adapters",
}
"""Keys that exist only under another option of their group."""


def elsewhere(place: str) -> str:
    """The end of a message naming the option that has this key, or "" if none has."""
    return next((f"; {hint}" for key, hint in ELSEWHERE.items() if f"{place}.".startswith(f"{key}.")), "")


def nearest(word: str, known: Collection[str]) -> str:
    """`; did you mean X?`, or "" if no known word is similar."""
    matches = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.55)
    return f"; did you mean {matches[0]}?" if matches else ""


def one_line(error: BaseException) -> str:
    """The first non-empty line of an error's message, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def placed(message: str, key: str, options: Collection[str]) -> str:
    """A constructor's message with the node's path in front.

    `key.option ...` if the message begins with the name of one of the constructor's `options`, else `key: ...`.
    """
    if message.startswith(f"{key.split('.')[0]}."):
        return message  # it already has its path
    word = re.match(r"\w+", message)
    return f"{key}.{message}" if word is not None and word.group() in options else f"{key}: {message}"


def _given(node: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a node."""
    return {name: value for name, value in node.items() if name != "_target_"}


def _argument(value: Any, annotation: Any, key: str, source: str) -> Any:
    """One keyword argument: nested nodes are built, plain data is converted to its annotated type."""
    if not any(_nodes_inside(value, key)):
        return checked(value, annotation, key, source)
    built = _build_inside(value, key, source)
    if isinstance(annotation, type) and not _matches(built, annotation):
        raise ConfigurationError(f"{key}: expected {described(annotation)}, got a {type(built).__name__}{_in(source)}")
    return built


def _nodes_inside(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The outermost nodes in a value, with their keys."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield key, value
        else:
            for name, item in value.items():
                yield from _nodes_inside(item, f"{key}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nodes_inside(item, f"{key}[{index}]")


def _build_inside(value: Any, key: str, source: str) -> Any:
    """The value with every node in it built."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _built(value, key, source)
        return {name: _build_inside(item, f"{key}.{name}", source) for name, item in value.items()}
    if isinstance(value, list):
        return [_build_inside(item, f"{key}[{index}]", source) for index, item in enumerate(value)]
    return value


def _matches(built: Any, annotation: type) -> bool:
    try:
        return isinstance(built, annotation)
    except TypeError:  # a protocol that is not runtime-checkable
        return True


def _signature(target: Callable[..., Any], key: str) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """The parameters of a class or function by name, and their resolved annotations."""
    described_by = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        parameters = dict(inspect.signature(target).parameters)
        hints = typing.get_type_hints(described_by, include_extras=True)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{key}: the arguments of {target} cannot be read: {one_line(error)}") from error
    return parameters, hints


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError as error:
        if isinstance(error, PydanticSchemaGenerationError):
            raise
        return TypeAdapter(annotation)  # a dataclass or TypedDict, which has its own configuration


def _options(annotation: Any) -> list[Any]:
    """The values a Literal allows, including a Literal inside a union."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [option for inner in get_args(annotation) for option in _options(inner)]


def _in(source: str) -> str:
    return f" ({source})" if source else ""
