"""Makes chat_templates.json beside this file: templates in the shapes of the known families, and small ones, with what Jinja makes of them
under the settings of Transformers' apply_chat_template.

Needs the package jinja2, once: the file is in the repository. Each case is a template, its variables, and the text; null where Jinja refuses."""
import json
import pathlib

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent


class Generation(Extension):
    """{% generation %}: marks what the assistant wrote; prints its body."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception

# Shapes of families; the words are ours.
CHATML = """{%- if messages[0]['role'] == 'system' -%}{%- set rest = messages[1:] -%}{%- else -%}{%- set rest = messages -%}{%- endif -%}
{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
"""
SMOL = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe helpful<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system message comes first, apart. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "You have these functions:" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' + arg_val + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
                {%- endfor %}
            {{- ")" }}
        {%- else  %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
            {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""
GEMMA = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
         "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
         "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
         "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}")
GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""
DEEPSEEK = ("{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, "
            "is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}"
            "{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}"
            "{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}"
            "{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{% set content = message['content'] %}"
            "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- endfor -%}"
            "{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|><think>\\n'}}{% endif %}")
MACROS = """{%- macro json_to_python_type(json_spec) %}
{%- set basic = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic[json_spec.type] is defined %}
    {{- basic[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "list[" +  json_to_python_type(json_spec|items|list|selectattr(0, 'equalto', 'items')|map(attribute=1)|first) + "]" }}
{%- elif json_spec.type == "object" %}
    {{- "dict" }}
{%- elif json_spec.type is iterable %}
    {{- "Union[" }}
    {%- for t in json_spec.type %}
      {{- json_to_python_type({"type": t}) }}
      {%- if not loop.last %}{{- "," }}{%- endif %}
    {%- endfor %}
    {{- "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- macro wrapped(title, sep='|') %}<{{ title }}{{ sep }}{{ caller('x') if caller is defined else '-' }}>{% endmacro %}
{%- for tool in tools %}
    {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
    {{- tool.name + "(" }}
    {%- for name, spec in tool.parameters.properties|items %}
        {{- name + ": " + json_to_python_type(spec) }}{{ ", " if not loop.last }}
    {%- endfor %}
    {{- ") required=" ~ tool.parameters.required|default([])|join('+') }}
{% endfor %}
{% call(item) wrapped('t') %}in {{ item }}{% endcall %}{{ wrapped('u', sep=':') }}{{ wrapped() }}
"""
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather \u00e9 <now> & 'then'", "parameters": {"type": "object", "properties": {
    "place": {"type": "string"}, "days": {"type": "integer", "minimum": 1.5}, "all": {"type": "array", "items": {"type": "number"}}, "either": {"type": ["string", "boolean"]}},
    "required": ["place"]}, "return": {"type": "string"}}}]
SYSTEM, HELLO, ANSWER = {"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hello \u4e16\u754c\n"}, {"role": "assistant", "content": " <think>\nhm\n</think>\n\nHi! "}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "function": {"name": "weather", "arguments": {"place": "Bonn", "days": 2, "deep": [1, None, True, {"a": 1e-7}]}}}]}
RESULT = {"role": "tool", "content": "sunny", "tool_call_id": "abcdefghi"}
PARTS = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " look "}]}
CHATS = [[HELLO], [SYSTEM, HELLO], [SYSTEM, HELLO, ANSWER, HELLO], [HELLO, ANSWER], [HELLO, CALL, RESULT], [HELLO, CALL, RESULT, ANSWER, HELLO], [ANSWER], [PARTS, ANSWER], [HELLO, HELLO], [SYSTEM]]

VARIABLES = {"n": None, "t": True, "i": 7, "f": 2.5, "s": "Hello, W\u00f6rld", "l": [3, 1, 2], "w": ["b", "A", "c", "a"], "d": {"b": 1, "a": [1, "x'y"], "items2": 3},
             "people": [{"name": "Bo", "age": 3}, {"name": "al", "age": 5}, {"name": "Cy"}]}
SMALL = r"""{{ n }}|{{ t }}|{{ i }}|{{ f }}|{{ s }}|{{ l }}|{{ d }}|{{ missing }}|{{ (1,) }}|{{ (1, 'a') }}
{{ missing.x }}
{{ d.nothing.x }}
{{ d.nothing }}{{ d['b'] }}{{ d.get('b') }}{{ d.get('z', 4) }}{{ d.get('z') }}{{ d.items() | list }}{{ d.keys() | list }}{{ d.values() | list }}
{{ 1 + 2 * 3 ** 2 // 4 % 3 - -1 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1_000 }}
{{ 'a' ~ 1 ~ none ~ true }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }} {{ 'a' + 'b' 'c' }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' in 'cat' }} {{ 4 not in l }} {{ not 1 }} {{ 1 and 0 or 'x' }} {{ 'b' in d }} {{ missing == missing2 }}
{{ 'yes' if t else 'no' }} {{ 'yes' if not t }} {{ 'a' if n else 'b' if f else 'c' }}
{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[::-1] }}{{ s[:-2] }}{{ s[100] }}{{ s[7:100] }}{{ l[1:] }}{{ l[::-2] }}{{ l[-2] }}{{ l[5:1:-1] }}{{ l.0 }}{{ s[1:4:2] }}
{{ s | upper }} {{ s | lower }} {{ s | title }} {{ s | capitalize }} {{ s | length }} {{ s | reverse }} {{ s | first }} {{ s | last }} {{ 'x y' | replace('x', 'z') }} {{ '  x ' | trim }}. {{ 'xxaxx' | trim('x') }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ w | sort }} {{ w | sort(case_sensitive=true) }} {{ w | unique | list }} {{ l | sum }} {{ l | max }} {{ l | min }} {{ l | join('-') }} {{ l | reverse | list }}
{{ people | map(attribute='name') | join(',') }} {{ people | selectattr('age') | list | length }} {{ people | selectattr('age', 'defined') | selectattr('age', 'gt', 3) | map(attribute='name') | list }} {{ people | rejectattr('age', 'defined') | list }}
{{ l | select('odd') | list }} {{ l | reject('equalto', 2) | list }} {{ w | map('upper') | list }} {{ people | map(attribute='age', default=0) | list }} {{ people | sort(attribute='name') | map(attribute='name') | list }}
{{ people | sum(attribute='nope') }}
{{ missing | default('d') }} {{ '' | default('d') }} {{ '' | default('d', true) }} {{ n | d('x') }} {{ '12' | int + 1 }} {{ 'x' | int }} {{ ' 3.9 ' | int }} {{ '2.5' | float }} {{ 3.7 | int }} {{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ -3 | abs }} {{ 5 | string + '6' }}
{{ 'a\nb\n\nc' | indent }} {{ 'a\nb' | indent(2, true) }} {{ 'a\n\nb' | indent(width=2, blank=true) }} {{ '<a href="x">&\'' | escape }} {{ '<a>' | safe }}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ [] | tojson(indent=2) }} {{ d | tojson(separators=(',', ':')) }} {{ d | tojson(sort_keys=true) }} {{ s | tojson }} {{ s | tojson(ensure_ascii=true) }} {{ '\x07\x7f\t"\\\u2028\U0001f600' | tojson }} {{ [1.0, 1e22, 1e-7, none] | tojson }}
{{ missing | tojson }}
{{ d | dictsort }} {{ d | items | list }} {{ {'z': 1, 'B': 2, 'a': 0} | dictsort(by='value') }} {{ {'a': 1, 'a': 2} }} {{ {} | tojson }} {{ {1: 'x'}[1] }}
{{ '  a  b '.split() }} {{ 'a,b,,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.split(none, 1) }} {{ 'a\nb\r\nc\n'.splitlines() }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }}
{{ 'xax'.strip('x') }} {{ ' x'.lstrip() }} {{ 'x '.rstrip() }}. {{ 'abc'.startswith('ab') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('bc') }} {{ 'abcabc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abcabc'.rfind('c') }} {{ 'aXb'.lower() }} {{ '-'.join(['a', 'b']) }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'abca'.count('a') }}
{{ '12'.isdigit() }} {{ 'ab1'.isalpha() }} {{ 'ab'.isalnum() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'Ab'.islower() }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ ''.isdigit() }}
{{ missing is defined }} {{ n is none }} {{ s is string }} {{ l is string }} {{ i is number }} {{ t is number }} {{ t is integer }} {{ f is float }} {{ d is mapping }} {{ l is sequence }} {{ s is iterable }} {{ i is iterable }} {{ t is boolean }} {{ t is true }} {{ i is odd }} {{ i is divisibleby 7 }} {{ i is eq 7 }} {{ 'a' is in 'abc' }} {{ missing is not defined }} {{ n is not none }} {{ range is callable }} {{ 'ab' is lower }} {{ missing is iterable }} {{ t is sameas true }} {{ 1 is sameas true }}
{% for x in l %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{{ loop.first }}{{ loop.revindex0 }}{{ loop.cycle('o', 'e') }}{{ loop.previtem is defined }}{{ loop.nextitem }} {% endfor %}
{% for x in [] %}x{% else %}none{% endfor %} {% for x in missing %}x{% else %}nothing{% endfor %} {% for k in d %}{{ k }}{% endfor %} {% for c in 'ab\u00e9' %}[{{ c }}]{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for (a, b) in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %} {% for x in l if x > 1 %}{{ loop.index }}{{ x }}{% endfor %}
{% for a, b in [[1]] %}{% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %} {{ range(3) | list }} {{ range(1, 10, 4) | list }} {{ range(5, 0, -2) | list }}
{% for x in [[1, [2, [3]]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}
{% set x = 1 %}{% for y in l %}{{ x }}{% set x = y %}{{ x }}{% endfor %}{{ x }} {% if t %}{% set z = 5 %}{% endif %}{{ z }} {% set a, b = 1, 2 %}{{ a }}{{ b }} {% set c = 1, 2 %}{{ c }}
{% set ns = namespace(x=1) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}{{ ns.y }} {% set q %}block {{ 1 + 1 }}{% endset %}{{ q | upper }} {% set q | upper | trim %} up {% endset %}[{{ q }}] {% filter upper %}abc{% endfilter %} {% with a = 9, b = 8 %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% set l.x = 1 %}
{{ l.append(4) }}
{% macro m(a, b=2) %}{{ a }}-{{ b }};{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}{{ m() }}{{ m(b=1, a=0) }}{{ m | string | length > 0 if false }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% raw %}{{ raw }} {% if %}{% endraw %} {# comment #}x{#- c -#} y {%- raw -%} z {%- endraw -%} w
{{ "a\tb\\n\'\"\u0041\x41\101\q" }} {{ 'it\'s' }} {{ "}}" }} {{ '%}' }} {{ {'a': {'b': 1}}['a']['b'] }} {{ {'a': {'b': 1}} }}
{% generation %}gen{% endgeneration %} {{ dict(a=1, b='x') }} {{ "%}" }}{% if true %} x{% endif %}
{{ 1 / 0 }}
{{ 'a' + 1 }}
{{ 'a' < 1 }}
{{ missing + 1 }}
{{ missing() }}
{{ none() }}
{{ l | nofilter }}
{% if l is notest %}{% endif %}
{{ raise_exception('no') }}
{{ l | sort(attribute='x') | list }}
{{ n.x }}{{ i.x }}{{ s.nomethod }}{{ l.x }}{{ 'a'['b'] }}
{{ n | length }}
{{ n | trim }}{{ i | upper }}{{ missing | trim }}{{ missing | length }}{{ missing | list }}{{ missing | join(',') }}{{ [1, missing] | join('+') }}
{{ 'a' if missing else 'b' }}{{ not missing }}{{ missing or 'x' }}{{ (missing or {}).a }}
{{- ' a' -}}   b   {{- 'c' }}   d
{{ l | length * 2 }}
{{ -l | length }}
{{ (l | length) * 2 }} {{ -(l | length) }} {{ -2 | abs }} {{ 2 - 1 | int }} {{ not l is defined }} {{ i is defined and s is defined }} {{ i is odd and not i is even }} {{ s is string or x }} {{ 'x' if i is odd else 'y' }}
{% if i > 5 and (s.startswith('Hello') or n) %}A{% elif n %}B{% else %}C{% endif %}{% if not (n or not t) %}D{% endif %}{% if l[0] == 3 == 3.0 %}E{% endif %}"""
WHITE = ["a\n  {% if t %}  \n  b\n  {% endif %}\nc\n", "a {% if t %} b {% endif %} c", "  {%- if t -%}  x  {%- endif -%}  y", "x\n\n  {%+ if t +%}\n y{% endif %}\n\n", "{% if t %}\n\n\nx{% endif %}\n\n",
         "a\n  {# c #}  \n  b {# c #}\nd\n", "{{ i }}\n{{ i }}  \n  {{- i }}\n\n", "\n\n  {% if t %}x{% endif %}", "a\r\n{% if t %}\r\nb\r\n{% endif %}\r\n", "{% if t -%}\n  {% if t %}q{% endif %}\n{%- endif %}\n", "a{{ '\n' }}\n  {% set x = 1 %}\n  {{ x }}\n",
         "{% for x in l %}\n  - {{ x }}\n{% endfor %}\nend", "{{ i -}}\n  {% if t %}z{% endif %}", "\t{% if t %}tab{% endif %}", "x {%- set y = 1 %}\n\n{{ y }}", "{%- for x in l %}\n\n{{ x }}\n{%- endfor %}\n", "{#- a -#}  b {#+ c +#}\nd"]
BROKEN = ["{% if x %}", "{{ x", "{% endif %}", "{% foo %}", "{{ 1 + }}", "{% for x %}{% endfor %}", "{{ 'abc }}", "{% set %}", "{{ (1 }}", "{# c", "{{ a b }}", "{% break %}", "{{ x | }}", "{% raw %}x", "{{ ] }}", "{% macro %}{% endmacro %}"]


def render(source, variables):
    try:
        return ENVIRONMENT.from_string(source).render(**variables)
    except Exception:
        return None


def chat(source, messages, tools, prompt, extra):
    names = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", **extra}
    return {"template": source, "messages": messages, "tools": tools, "prompt": prompt, "extra": extra, "text": render(source, names)}


def small(source):
    return {"template": source, "text": render(source, VARIABLES)}


if __name__ == "__main__":
    families = {"chatml": CHATML, "smol": SMOL, "llama3": LLAMA3, "qwen3": QWEN3, "mistral": MISTRAL, "gemma": GEMMA, "gemma3": GEMMA3, "deepseek": DEEPSEEK, "macros": MACROS}
    cases = {"variables": VARIABLES, "families": families, "chats": [], "small": [small(source) for source in SMALL.split("\n") + WHITE + BROKEN]}
    for name, source in families.items():
        for messages in CHATS:
            variants = ((None, True, {}), (TOOLS, False, {"enable_thinking": False}), (TOOLS, True, {"tools_in_user_message": False, "builtin_tools": ["weather", "code_interpreter"]}))
            for tools, prompt, extra in variants if len(messages) == 3 else variants[len(messages) % 3:][:1]:
                case = chat(source, messages, tools, prompt, extra)
                cases["chats"].append({**case, "template": name, "messages": CHATS.index(messages), "tools": tools is not None})
    cases["messages"], cases["tools"] = CHATS, TOOLS
    (HERE / "chat_templates.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    print(sum(one["text"] is None for one in cases["small"]), "of", len(cases["small"]), "are refused;", sum(one["text"] is None for one in cases["chats"]), "of", len(cases["chats"]), "chats")
