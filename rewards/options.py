"""Refuse options that have no effect: setting one is a mistake in the configuration."""

from __future__ import annotations

import inspect
from typing import Any


def require_read(options: Any, name: str, read: bool, needs: str) -> None:
    """Raise ValueError if an option differs from its default but is not read.

    `options` stores its constructor's argument `name` in an attribute of the same name, as every dataclass does.
    `read` says whether the option is read, and `needs` what must be set for that, such as "correction=token".
    """
    default, value = inspect.signature(type(options)).parameters[name].default, getattr(options, name)
    if not read and value != default:
        raise ValueError(
            f"{name}={_shown(value)} has no effect: it needs {needs}; leave it at {_shown(default)} otherwise"
        )


def _shown(value: Any) -> Any:
    """A value in YAML's notation."""
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else value
