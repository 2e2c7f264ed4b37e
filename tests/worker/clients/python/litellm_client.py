"""LiteLLM as a client: through its OpenAI provider and through its Anthropic one."""

import json

import litellm
from pydantic import BaseModel

from stage import (
    CITY, EXHAUSTED_KEY, FAULTS, KEY, NOTE, PIXEL, TALKERS, UNKNOWN_KEY, URL,
    charged, comes_back, equal, for_each, greeting, once, raises, sent, signature,
)

litellm.telemetry = False
litellm.suppress_debug_info = True

TOOLS = [{"type": "function", "function": {"name": name, "description": name, "parameters": CITY}} for name in ("weather", "clock")]
# By provider: the base URL. The model is asked for as `provider/model`.
BASES = {"openai": f"{URL}/v1", "anthropic": URL}
ASKED = [f"{provider}/{model}" for provider in BASES for model in TALKERS]


class Note(BaseModel):
    said: str
    number: int


def create(asked, content="hello", key=KEY, **more):
    options = {"messages": [{"role": "user", "content": content}], "max_tokens": 200, "max_retries": 0, **more}
    return litellm.completion(model=asked, api_base=BASES[asked.split("/")[0]], api_key=key, **options)


def named(asked):
    return asked.split("/")[1]


def headers_of(answer):
    """The answer's own headers, which LiteLLM keeps under a prefix."""
    prefix = "llm_provider-"
    return {name.removeprefix(prefix): value for name, value in answer._hidden_params["additional_headers"].items() if name.startswith(prefix)}


@for_each(ASKED, "plain")
def _(asked):
    choice = create(asked, temperature=0.5).choices[0]
    equal((choice.message.content, choice.finish_reason), (greeting(named(asked)), "stop"))
    limited = create(asked, max_tokens=3).choices[0]
    equal((limited.message.content, limited.finish_reason), ('You said: "hello".', "length"))


@for_each(ASKED, "stream")
def _(asked):
    chunks = list(create(asked, stream=True, stream_options={"include_usage": True}))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), greeting(named(asked)))
    usage = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)][-1]
    equal((usage.prompt_tokens, usage.completion_tokens), (8, 16))


@for_each(ASKED, "stream helpers")
def _(asked):
    built = litellm.stream_chunk_builder(list(create(asked, "please use two tools", tools=TOOLS, stream=True)))
    calls = built.choices[0].message.tool_calls
    equal([(call.function.name, json.loads(call.function.arguments)) for call in calls], [(name, {"city": "please use two tools"}) for name in ("weather", "clock")])


@for_each(ASKED, "tools")
def _(asked):
    choice = create(asked, "please use the tool", tools=TOOLS).choices[0]
    equal(choice.finish_reason, "tool_calls")
    equal([(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls], [("weather", {"city": "please use the tool"})])


@for_each(ASKED, "parallel tools")
def _(asked):
    turns = [{"role": "user", "content": "please use two tools"}]
    message = create(asked, messages=turns, tools=TOOLS).choices[0].message
    equal([call.function.name for call in message.tool_calls], ["weather", "clock"])
    results = [{"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": f"{call.function.name} is fine"} for call in message.tool_calls]
    answer = create(asked, messages=[*turns, message.model_dump(), *results], tools=TOOLS)
    equal(answer.choices[0].message.content, f'The tool said: "weather is fine" and "clock is fine". {signature(named(asked))}')


@for_each(ASKED, "structured output")
def _(asked):
    equal(Note.model_validate_json(create(asked, response_format=Note).choices[0].message.content).model_dump(), NOTE)


@for_each(ASKED, "images in")
def _(asked):
    content = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    assert create(asked, content).choices[0].message.content.startswith('You said: "hello')
    assert PIXEL in sent(named(asked)), "the image went up as it came"


@for_each(ASKED, "usage and cost")
def _(asked):
    answer = create(asked)
    equal((answer.usage.prompt_tokens, answer.usage.completion_tokens), (8, 16))
    charged(headers_of(answer)["x-generation-id"], "0.00004", input=8, output=16)


@for_each(ASKED, "raw headers")
def _(asked):
    headers = headers_of(create(asked))
    assert headers["x-request-id"].startswith("gen-")
    equal([headers[f"x-tf-{name}"] for name in ("model", "upstream-model", "route", "attempts")], [named(asked), named(asked), "official", "1"])


@for_each([f"{provider}/{family}" for provider in BASES for family in ("gpt", "claude", "gemini")], "broken streams")
def _(asked):
    # Of Anthropic's streams LiteLLM reads no further than the reason why the model stopped, so it never sees that their end is missing.
    for fault in [fault for fault in FAULTS if asked.startswith("openai") or fault != "no-done"]:
        text = []

        def read():
            for chunk in create(f"{asked}-{fault}", stream=True):
                text.append(chunk.choices[0].delta.content or "" if chunk.choices else "")

        raises(Exception, read)
        assert "".join(text).startswith("You said:"), fault


@for_each(list(BASES), "typed errors")
def _(provider):
    cases = [
        (litellm.AuthenticationError, "gpt-sim", UNKNOWN_KEY),
        (litellm.NotFoundError, "gpt-smi", KEY),
        (litellm.ContextWindowExceededError, "gpt-fail-400", KEY),
        (litellm.ContextWindowExceededError, "claude-fail-400", KEY),
        (litellm.RateLimitError, "gemini-sim", EXHAUSTED_KEY),
    ]
    for kind, model, key in cases:
        raises(kind, lambda: create(f"{provider}/{model}", key=key))


@once("retries", "come back when they were told to")
def _():
    answer = comes_back(lambda: create("openai/busy", max_retries=2))
    equal(answer.choices[0].message.content, "Good day.")


@once("embeddings", "of two texts")
def _():
    answer = litellm.embedding(model="openai/embedding-sim", api_base=BASES["openai"], api_key=KEY, input=["hello world", "good day"], encoding_format="float")
    equal([len(one["embedding"]) for one in answer.data], [1536, 1536])
