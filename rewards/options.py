"""Refusing options that nothing would read: one that is set and has no effect is a mistake in the configuration."""

from __future__ import annotations

import inspect
from typing import Any


def require_read(options: Any, name: str, read: bool, needs: str) -> None:
    """Raise ValueError where an option of an object differs from its default, but nothing reads it.

    `options` is an object whose attribute `name` holds its constructor's argument of that name, as every dataclass is;
    `read` says whether the option is read, and `needs` what that takes, as in "correction=token".
    """
    default, value = inspect.signature(type(options)).parameters[name].default, getattr(options, name)
    if not read and value != default:
        raise ValueError(
            f"{name}={_shown(value)} has no effect: it needs {needs}; leave it at {_shown(default)} otherwise"
        )


def _shown(value: Any) -> Any:
    """A value as YAML writes it."""
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else value
