"""The Python SDK of Anthropic."""

import anthropic
from anthropic import Anthropic, beta_tool
from pydantic import BaseModel

from stage import (
    CITY, EXHAUSTED_KEY, FAULTS, KEY, NOTE, PIXEL, TALKERS, UNKNOWN_KEY, URL,
    charged, comes_back, equal, for_each, greeting, once, raises, sent, signature, truncated,
)

TOOLS = [{"name": name, "description": name, "input_schema": CITY} for name in ("weather", "clock")]


class Note(BaseModel):
    said: str
    number: int


def client(key=KEY, **options):
    return Anthropic(base_url=URL, api_key=key, **{"max_retries": 0, **options})


def ask(model, content="hello", **more):
    return {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": content}], **more}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


@for_each(TALKERS, "plain")
def _(model):
    message = client().messages.create(**ask(model, system="Be brief."))
    equal((text_of(message), message.stop_reason), (greeting(model), "end_turn"))
    limited = client().messages.create(**ask(model, **{"max_tokens": 3}))
    equal((text_of(limited), limited.stop_reason), ('You said: "hello".', "max_tokens"))


@for_each(TALKERS, "stream")
def _(model):
    events = [event for event in client().messages.create(**ask(model), stream=True) if event.type != "ping"]
    equal((events[0].type, events[-1].type), ("message_start", "message_stop"))
    equal("".join(event.delta.text for event in events if event.type == "content_block_delta"), greeting(model))


@for_each(TALKERS, "stream helpers")
def _(model):
    with client().messages.stream(**ask(model)) as stream:
        deltas = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal((deltas, text_of(final), final.stop_reason, final.usage.output_tokens), (greeting(model), greeting(model), "end_turn", 16))


@for_each(TALKERS, "tools")
def _(model):
    request = ask(model, "please use the tool", tools=TOOLS)
    with client().messages.stream(**request) as stream:
        final = stream.get_final_message()
    for message in (client().messages.create(**request), final):
        equal(message.stop_reason, "tool_use")
        equal([(block.type, block.name, block.input) for block in message.content], [("tool_use", "weather", {"city": "please use the tool"})])


@for_each(TALKERS, "parallel tools")
def _(model):
    request = ask(model, "please use two tools", tools=TOOLS)
    message = client().messages.create(**request)
    calls = [block for block in message.content if block.type == "tool_use"]
    equal([call.name for call in calls], ["weather", "clock"])
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": f"{call.name} is fine"} for call in calls]
    turns = [*request["messages"], {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = client().messages.create(**{**request, "messages": turns})
    equal(text_of(answer), f'The tool said: "weather is fine" and "clock is fine". {signature(model)}')


# By default the runner asks the server to keep the conversation, and does without when that is refused.
@for_each(TALKERS, "parallel tools", "run by the tool runner to the last answer")
def _(model):
    @beta_tool
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {len(city)}"

    @beta_tool
    def clock(city: str) -> str:
        """The time in a city."""
        return f"noon in {len(city)}"

    runner = client().beta.messages.tool_runner(**ask(model, "please use two tools", tools=[weather, clock]))
    equal(text_of(runner.until_done()), f'The tool said: "sunny in 20" and "noon in 20". {signature(model)}')


@for_each(TALKERS, "structured output")
def _(model):
    equal(client().messages.parse(**ask(model), output_format=Note).parsed_output.model_dump(), NOTE)


@for_each(TALKERS, "images in")
def _(model):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    message = client().messages.create(**ask(model, [{"type": "text", "text": "hello"}, image]))
    assert text_of(message).startswith('You said: "hello'), message
    assert PIXEL in sent(model), "the image went up as it came"


@for_each(TALKERS, "usage and cost")
def _(model):
    raw = client().messages.with_raw_response.create(**ask(model))
    usage = raw.parse().usage
    equal((usage.input_tokens, usage.output_tokens, usage.cost), (8, 16, 0.00004))
    charged(raw.headers["x-generation-id"], "0.00004", input=8, output=16)


@for_each(TALKERS, "raw headers")
def _(model):
    headers = client().messages.with_raw_response.create(**ask(model)).headers
    assert headers["x-request-id"].startswith("gen-")
    equal([headers[f"x-tf-{name}"] for name in ("model", "upstream-model", "route", "attempts")], [model, model, "official", "1"])


@for_each(["gpt", "claude", "gemini"], "broken streams")
def _(family):
    for fault in FAULTS:
        text = []
        with client().messages.with_streaming_response.create(**ask(f"{family}-{fault}"), stream=True) as raw:

            def read():
                for event in raw.parse():
                    assert event.type != "message_stop"
                    text.append(getattr(getattr(event, "delta", None), "text", ""))

            raises(anthropic.APIError, read)
        assert "".join(text).startswith("You said:"), fault
        truncated(raw.headers["x-generation-id"])


@for_each(TALKERS, "count tokens")
def _(model):
    counted = client().messages.count_tokens(model=model, messages=[{"role": "user", "content": "hello"}]).input_tokens
    assert counted == 8 if model == "claude-sim" else counted > 0, counted


@once("thinking", "shown by models that show it")
def _():
    for model in ("claude-sim", "gemini-sim"):
        message = client().messages.create(**ask(model, thinking={"type": "enabled", "budget_tokens": 1024}, **{"max_tokens": 2048}))
        equal([block.type for block in message.content], ["thinking", "text"])
        equal(text_of(message), greeting(model))


@once("typed errors", "key, model, limit, upstream")
def _():
    cases = [
        (anthropic.AuthenticationError, 401, "authentication_error", "claude-sim", UNKNOWN_KEY),
        (anthropic.NotFoundError, 404, "not_found_error", "claude-smi", KEY),
        (anthropic.BadRequestError, 400, "invalid_request_error", "claude-fail-400", KEY),
        (anthropic.RateLimitError, 429, "rate_limit_error", "gpt-sim", EXHAUSTED_KEY),
        (anthropic.InternalServerError, 502, None, "gpt-fail-500", KEY),
        (anthropic.RateLimitError, 429, "rate_limit_error", "gemini-fail-429", KEY),
        (anthropic.InternalServerError, 529, "overloaded_error", "gemini-fail-503", KEY),
        (anthropic.BadRequestError, 400, "invalid_request_error", "gpt-fail-400", KEY),
    ]
    for kind, status, code, model, key in cases:
        error = raises(kind, lambda: client(key).messages.create(**ask(model)))
        equal((error.status_code, error.body["type"]), (status, "error"))
        assert code is None or error.body["error"]["type"] == code, error.body
        if status in (429, 529):
            assert int(error.response.headers["retry-after"]) > 0


@once("retries", "come back when they were told to")
def _():
    raw = comes_back(lambda: client(max_retries=2).messages.with_raw_response.create(**ask("busy")))
    equal(raw.retries_taken, 1)


@once("model list", "and one of them")
def _():
    ids = [model.id for model in client().models.list()]
    assert set(TALKERS) <= set(ids), ids
    equal(client().models.retrieve("gpt-sim").id, "gpt-sim")
