"""What ends a response: the token that ends a turn in the chat template, and the stops that the settings ask for."""

from __future__ import annotations

from typing import Any

from rl.settings import RolloutSettings

_PROBE = "probe"


def end_of_turn(tokenizer: Any) -> int | None:
    """The token that the chat template writes after an assistant's turn, found by rendering a conversation.

    None if the template writes no special token there; an ordinary text token does not count, because responses contain
    such tokens. It is usually the tokenizer's eos_token, but some chat models still have their base model's eos_token.
    """
    conversation = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}]
    try:
        options = getattr(tokenizer, "chat_template_kwargs", {})
        rendered = tokenizer.apply_chat_template(conversation, tokenize=False, **options)
    except Exception:  # a template may refuse any conversation; then only eos_token ends a response
        return None
    _, found, after = rendered.rpartition(_PROBE)
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"] if found else []
    marks = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return int(ids[0]) if ids and ids[0] in marks else None


def stop_ids(tokenizer: Any, rollout: RolloutSettings) -> tuple[int, ...]:
    """The token ids besides eos_token at which the sampler stops: the end of a turn, and `rollout.stop_token_ids`.

    Raises ValueError if the tokenizer does not have one of the ids.
    """
    strange = [number for number in rollout.stop_token_ids if number >= len(tokenizer)]
    if strange:
        raise ValueError(
            f"rollout.stop_token_ids: the policy's tokenizer has no token {strange[0]}; its largest id is "
            f"{len(tokenizer) - 1}"
        )
    turn = end_of_turn(tokenizer)
    ids = {*rollout.stop_token_ids, *([] if turn is None else [turn])}
    return tuple(sorted(ids - {tokenizer.eos_token_id}))


def ends_in_words(tokenizer: Any, rollout: RolloutSettings) -> str:
    """What ends a response, in words for a message: `<|end|> or "\\n\\n"`."""
    ids = [tokenizer.eos_token_id, *stop_ids(tokenizer, rollout)]
    return " or ".join([*map(str, tokenizer.convert_ids_to_tokens(ids)), *(repr(text) for text in rollout.stop)])
