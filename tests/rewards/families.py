"""Chat templates with the features of published ones, in words of our own: only what a text conversation reaches.

Each is named after the family whose features it has. What they have in common: contents are treated by what they say.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """A template, its BOS token, and an option that it reads, with a value that is not the default."""

    template: str
    bos: str = "<|bos|>"
    option: tuple[str, object] | None = None


_LOOP = "{%- for m in messages %}"
_END = "{%- endfor %}"
_CHATML = "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
_CHATML_ASK = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"

# The last user turn that is not a tool's answer, as Qwen3 finds it.
_LAST_QUERY = """{%- set ns = namespace(last=-1) %}
{%- for m in messages %}
    {%- if m.role == 'user' and not (m.content.startswith('<tool_response>')
        and m.content.endswith('</tool_response>')) %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}"""

# A content cut into thought and answer at the tags, newlines stripped at the cuts only.
_CUT = """{%- set answer = m.content %}{%- set thought = '' %}
{%- if '</think>' in answer %}
    {%- set thought = answer.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- set answer = answer.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}"""

FAMILIES = {
    # No BOS, although bos_token is the token that begins every turn; a system turn of its own where there is none.
    "smollm2": Family(
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}"
        f"{_LOOP}{_CHATML}{_END}{_CHATML_ASK}",
        bos="<|im_start|>",
    ),
    # The default system turn is left out where the row brings one.
    "qwen2.5": Family(
        "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
        "{%- else %}{{- '<|im_start|>system\\nYou are made for tests.<|im_end|>\\n' }}{%- endif %}"
        f"{_LOOP}{{%- if m.role != 'system' %}}{_CHATML}{{%- endif %}}{_END}{_CHATML_ASK}"
    ),
    # Thoughts of earlier turns are dropped; the last turn gets an empty one where it has none.
    "qwen3": Family(
        f"{_LAST_QUERY}{_LOOP}{{%- if m.role == 'assistant' %}}{_CUT}"
        "{%- if loop.index0 > ns.last and (loop.last or thought) %}{{- '<|im_start|>assistant\\n<think>\\n' }}"
        "{{- thought.strip('\\n') + '\\n</think>\\n\\n' + answer.lstrip('\\n') + '<|im_end|>\\n' }}"
        "{%- else %}{{- '<|im_start|>assistant\\n' + answer + '<|im_end|>\\n' }}{%- endif %}"
        f"{{%- else %}}{_CHATML}{{%- endif %}}{_END}{_CHATML_ASK}"
        "{%- if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}",
        option=("enable_thinking", False),
    ),
    # Everything is trimmed; a conversation without a query is refused; the prompt opens a thought.
    "qwen3.5": Family(
        f"{_LAST_QUERY}{{%- if ns.last < 0 %}}{{{{- raise_exception('No user query found.') }}}}{{%- endif %}}"
        f"{_LOOP}{{%- if m.role == 'assistant' %}}{_CUT}"
        "{{- '<|im_start|>assistant\\n' }}{%- if loop.index0 > ns.last %}"
        "{{- '<think>\\n' + thought | trim + '\\n</think>\\n\\n' }}{%- endif %}{{- answer | trim + '<|im_end|>\\n' }}"
        "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}{%- endif %}"
        f"{_END}{_CHATML_ASK}{{%- if add_generation_prompt %}}"
        "{{- '<think>\\n' if enable_thinking | default(true) else '<think>\\n\\n</think>\\n\\n' }}{%- endif %}",
        option=("enable_thinking", False),
    ),
    # Roles are tokens; every answer gets a thought, an empty one if need be; a switch is added to a question once.
    "glm4-moe": Family(
        "[gMASK]<sop>{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}"
        f"{{%- set ns.last = loop.index0 %}}{{%- endif %}}{_END}"
        f"{_LOOP}{{%- if m.role == 'assistant' %}}{_CUT}{{{{- '<|assistant|>' }}}}"
        "{{- '\\n<think>' + (thought.strip() if loop.index0 > ns.last else '') + '</think>' }}"
        "{%- if answer.strip() %}{{- '\\n' + answer.strip() }}{%- endif %}"
        "{%- else %}{{- '<|' + m.role + '|>\\n' + m.content }}{%- if m.role == 'user' and enable_thinking is defined "
        "and not enable_thinking and not m.content.endswith('/nothink') %}{{- '/nothink' }}{%- endif %}{%- endif %}"
        f"{_END}{{%- if add_generation_prompt %}}{{{{- '<|assistant|>' }}}}{{%- endif %}}",
        option=("enable_thinking", False),
    ),
    # System turns come first, joined; of an answer with a thought only what follows the thought is left.
    "deepseek-r1": Family(
        "{%- set ns = namespace(head='') %}{%- for m in messages %}{%- if m.role == 'system' %}"
        f"{{%- set ns.head = ns.head + m.content %}}{{%- endif %}}{_END}{{{{- bos_token + ns.head }}}}"
        f"{_LOOP}{{%- if m.role == 'user' %}}{{{{- '<\uff5cUser\uff5c>' + m.content }}}}"
        "{%- elif m.role == 'assistant' %}{{- '<\uff5cAssistant\uff5c>' + m.content.split('</think>')[-1] }}"
        f"{{{{- '<\uff5cend▁of▁sentence\uff5c>' }}}}{{%- endif %}}{_END}"
        "{%- if add_generation_prompt %}{{- '<\uff5cAssistant\uff5c><think>\\n' }}{%- endif %}",
        bos="<\uff5cbegin▁of▁sentence\uff5c>",
    ),
    # Thoughts stay in the last turn, whole; earlier ones are cut to an empty block unless an option says otherwise.
    "nemotron-3": Family(
        "{%- set keep = not truncate_history_thinking | default(true) %}{%- set ns = namespace(last=-1) %}"
        "{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
        f"{_LOOP}{{%- if m.role == 'assistant' %}}{{%- set c = m.content %}}"
        "{%- if '<think>' not in c and '</think>' not in c %}{%- set c = '<think></think>' + c %}{%- endif %}"
        "{%- if loop.index0 < ns.last and not keep %}{%- set c = '<think></think>' + c.split('</think>')[-1] %}"
        "{%- endif %}{{- '<|im_start|>assistant\\n' + c | trim + '<|im_end|>\\n' }}"
        f"{{%- else %}}{_CHATML}{{%- endif %}}{_END}{_CHATML_ASK}",
        option=("truncate_history_thinking", False),
    ),
    # A flag in the system turn turns thinking off and is taken out of it.
    "smollm3": Family(
        "{%- set head = messages[0].content if messages[0].role == 'system' else '' %}"
        "{%- if enable_thinking is not defined %}{%- set enable_thinking = true %}{%- endif %}"
        "{%- set mode = '/think' if enable_thinking and '/no_think' not in head else '/no_think' %}"
        "{{- '<|im_start|>system\\nReasoning: ' + mode + '\\n\\n' + head.replace('/no_think', '').rstrip()"
        " + '<|im_end|>\\n' }}"
        f"{_LOOP}{{%- if m.role == 'assistant' and mode == '/no_think' %}}"
        "{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' + m.content.lstrip('\\n') + '<|im_end|>\\n' }}"
        f"{{%- elif m.role != 'system' %}}{_CHATML}{{%- endif %}}{_END}{_CHATML_ASK}",
        option=("enable_thinking", False),
    ),
    # One BOS, headers of two tokens, contents trimmed, a date that can be set.
    "llama3.1": Family(
        "{{- bos_token }}{%- if date_string is not defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
        "{%- set head = messages[0].content | trim if messages[0].role == 'system' else '' %}"
        "{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + date_string }}"
        "{{- '\\n\\n' + head + '<|eot_id|>' }}"
        f"{_LOOP}{{%- if m.role != 'system' %}}{{{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}}}"
        f"{{{{- m.content | trim + '<|eot_id|>' }}}}{{%- endif %}}{_END}"
        "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}",
        bos="<|begin_of_text|>",
        option=("date_string", "1 Jan 2026"),
    ),
    # BOS before every question; the system text is inside the first one.
    "llama2": Family(
        "{%- set head = messages[0].content if messages[0].role == 'system' else '' %}"
        f"{_LOOP}{{%- if m.role == 'user' %}}{{{{- bos_token + '[INST] ' }}}}"
        "{%- if head and loop.index0 == 1 %}{{- '<<SYS>>\\n' + head + '\\n<</SYS>>\\n\\n' }}{%- endif %}"
        "{{- m.content.strip() + ' [/INST]' }}{%- elif m.role == 'assistant' %}"
        f"{{{{- ' ' + m.content.strip() + ' </s>' }}}}{{%- endif %}}{_END}",
        bos="<s>",
    ),
    # Turns must alternate; an answer ends with the end of the sequence.
    "mistral": Family(
        f"{{{{- bos_token }}}}{_LOOP}{{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}}"
        "{{- raise_exception('Roles must alternate user/assistant.') }}{%- endif %}"
        "{{- '[INST]' + m.content + '[/INST]' if m.role == 'user' else m.content + '</s>' }}"
        f"{_END}",
        bos="<s>",
    ),
    # No system role; the assistant is called model.
    "gemma": Family(
        "{{- bos_token }}{%- if messages[0].role == 'system' %}{{- raise_exception('System role not supported') }}"
        f"{{%- endif %}}{_LOOP}{{%- set role = 'model' if m.role == 'assistant' else m.role %}}"
        f"{{{{- '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}}}{_END}"
        "{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}",
        bos="<s>",
    ),
    # The system text goes before the first question, in its turn.
    "gemma3": Family(
        "{{- bos_token }}{%- set head = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}"
        "{%- set turns = messages[1:] if head else messages %}{%- for m in turns %}"
        "{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
        "{{- head if loop.first else '' }}"
        f"{{{{- m.content | trim + '<end_of_turn>\\n' }}}}{_END}"
        "{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}",
        bos="<s>",
    ),
    # Thoughts between tokens of their own are cut out of a content and the rest is joined.
    "gemma4": Family(
        "{{- bos_token }}{%- for m in messages %}{{- '<|turn>' + m.role + '\\n' }}{%- set ns = namespace(left='') %}"
        "{%- for part in m.content.split('<channel|>') %}{%- set ns.left = ns.left + part.split('<|channel>')[0] %}"
        f"{{%- endfor %}}{{{{- ns.left | trim + '<turn|>\\n' }}}}{_END}"
        "{%- if add_generation_prompt %}{{- '<|turn>model\\n' }}{%- endif %}",
    ),
    # A system turn without text is left out; the end of the sequence ends the conversation.
    "phi3.5": Family(
        f"{_LOOP}{{%- if m.content or m.role != 'system' %}}"
        f"{{{{- '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}}}{{%- endif %}}{_END}"
        "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- else %}{{- eos_token }}{%- endif %}"
    ),
    # Roles are tokens; the first system text, and those that are equal to it, are in the preamble.
    "cohere2": Family(
        "{{- bos_token }}{%- set ns = namespace(head='') %}{%- for m in messages %}{%- if m.role == 'system' %}"
        "{%- set ns.head = m.content %}{%- break %}{%- endif %}{%- endfor %}"
        "{{- '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|># Preamble' }}{%- if ns.head %}{{- '\\n' + ns.head }}{%- endif %}"
        f"{{{{- '<|END_OF_TURN_TOKEN|>' }}}}{_LOOP}{{%- if m.role == 'system' and ns.head and m.content == ns.head %}}"
        "{%- continue %}{%- endif %}{{- '<|START_OF_TURN_TOKEN|>' }}"
        "{{- '<|CHATBOT_TOKEN|>' if m.role == 'assistant' else '<|USER_TOKEN|>' }}"
        f"{{{{- m.content + '<|END_OF_TURN_TOKEN|>' }}}}{_END}"
        "{%- if add_generation_prompt %}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif %}",
    ),
    # Channels; a response that brings channel tokens of its own is refused by the template.
    "gpt-oss": Family(
        "{{- '<|start|>system<|message|>Reasoning: ' + reasoning_effort | default('medium') + '<|end|>' }}"
        f"{_LOOP}{{%- if m.role == 'assistant' %}}{{%- if '<|channel|>' in m.content %}}"
        "{{- raise_exception('Pass thoughts in a field of their own.') }}{%- endif %}"
        "{{- '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
        "{{- '<|return|>' if loop.last else '<|end|>' }}"
        f"{{%- else %}}{{{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}}}{{%- endif %}}{_END}"
        "{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}",
        option=("reasoning_effort", "low"),
    ),
    # TRL's training templates mark what the assistant wrote.
    "training": Family(
        f"{_LOOP}{{%- if m.role == 'assistant' %}}{{{{- '<|im_start|>assistant\\n' }}}}"
        "{% generation %}{{- m.content + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}"
        f"{{%- else %}}{_CHATML}{{%- endif %}}{_END}{_CHATML_ASK}"
    ),
}
