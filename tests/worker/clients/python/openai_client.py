"""The Python SDK of OpenAI."""

import base64
import json

import openai
from openai import OpenAI
from pydantic import BaseModel

from stage import (
    CITY, EXHAUSTED_KEY, FAULTS, KEY, NOTE, PIXEL, TALKERS, UNKNOWN_KEY, URL,
    charged, comes_back, equal, for_each, greeting, once, raises, sent, signature, truncated,
)

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": CITY, "strict": True}} for name in ("weather", "clock")
]


class Note(BaseModel):
    said: str
    number: int


def client(key=KEY, **options):
    return OpenAI(base_url=f"{URL}/v1", api_key=key, **{"max_retries": 0, **options})


def create(model, content="hello", **more):
    return client().chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **more)


@for_each(TALKERS, "plain")
def _(model):
    answer = create(model, temperature=0.5)
    equal((answer.choices[0].message.content, answer.choices[0].finish_reason), (greeting(model), "stop"))
    limited = create(model, max_tokens=3).choices[0]
    equal((limited.message.content, limited.finish_reason), ('You said: "hello".', "length"))


@for_each(TALKERS, "stream")
def _(model):
    chunks = list(create(model, stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), greeting(model))
    equal(chunks[-1].choices[0].finish_reason, "stop")


@for_each(TALKERS, "stream helpers")
def _(model):
    with client().chat.completions.stream(model=model, messages=HELLO, stream_options={"include_usage": True}) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    equal((deltas, final.choices[0].message.content), (greeting(model), greeting(model)))
    equal((final.usage.prompt_tokens, final.usage.completion_tokens, final.usage.cost), (8, 16, 0.00004))


@for_each(TALKERS, "tools")
def _(model):
    request = {"model": model, "messages": [{"role": "user", "content": "please use the tool"}], "tools": TOOLS}
    with client().chat.completions.stream(**request) as stream:
        final = stream.get_final_completion()
    for choice in (client().chat.completions.create(**request).choices[0], final.choices[0]):
        equal(choice.finish_reason, "tool_calls")
        equal([(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls], [("weather", {"city": "please use the tool"})])


@for_each(TALKERS, "parallel tools")
def _(model):
    messages = [{"role": "user", "content": "please use two tools"}]
    message = client().chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message
    equal([call.function.name for call in message.tool_calls], ["weather", "clock"])
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} is fine"} for call in message.tool_calls]
    answer = client().chat.completions.create(model=model, messages=[*messages, message, *results], tools=TOOLS)
    equal(answer.choices[0].message.content, f'The tool said: "weather is fine" and "clock is fine". {signature(model)}')


@for_each(TALKERS, "structured output")
def _(model):
    parsed = client().chat.completions.parse(model=model, messages=HELLO, response_format=Note).choices[0].message.parsed
    equal(parsed.model_dump(), NOTE)
    with client().chat.completions.stream(model=model, messages=HELLO, response_format=Note) as stream:
        equal(stream.get_final_completion().choices[0].message.parsed.model_dump(), NOTE)


@for_each(TALKERS, "images in")
def _(model):
    content = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    assert create(model, content).choices[0].message.content.startswith('You said: "hello')
    assert PIXEL in sent(model), "the image went up as it came"


@for_each(TALKERS, "usage and cost")
def _(model):
    raw = client().chat.completions.with_raw_response.create(model=model, messages=HELLO)
    usage = raw.parse().usage
    equal((usage.prompt_tokens, usage.completion_tokens, usage.cost), (8, 16, 0.00004))
    charged(raw.headers["x-generation-id"], "0.00004", input=8, output=16)


@for_each(TALKERS, "raw headers")
def _(model):
    with client().chat.completions.with_streaming_response.create(model=model, messages=HELLO, stream=True) as raw:
        for _ in raw.parse():
            pass
    for headers in (raw.headers, client().chat.completions.with_raw_response.create(model=model, messages=HELLO).headers):
        assert headers["x-request-id"].startswith("gen-")
        equal([headers[f"x-tf-{name}"] for name in ("model", "upstream-model", "route", "attempts")], [model, model, "official", "1"])


@for_each(["gpt", "claude", "gemini"], "broken streams")
def _(family):
    for fault in FAULTS:
        text = []
        with client().chat.completions.with_streaming_response.create(model=f"{family}-{fault}", messages=HELLO, stream=True) as raw:

            def read():
                for chunk in raw.parse():
                    text.append(chunk.choices[0].delta.content or "" if chunk.choices else "")

            raises(openai.APIError, read)
        assert "".join(text).startswith("You said:"), fault
        truncated(raw.headers["x-generation-id"])


@for_each([*TALKERS, "open-sim"], "responses")
def _(model):
    answer = client().responses.create(model=model, input="hello")
    equal((answer.status, answer.output_text, answer.usage.output_tokens), ("completed", greeting(model), 16))
    with client().responses.stream(model=model, input="hello") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    equal((deltas, final.output_text, final.usage.cost), (greeting(model), greeting(model), 0.00004))
    equal(client().responses.parse(model=model, input="hello", text_format=Note).output_parsed.model_dump(), NOTE)
    tools = [{"type": "function", **tool["function"]} for tool in TOOLS]
    called = client().responses.create(model=model, input="please use two tools", tools=tools)
    equal([item.name for item in called.output if item.type == "function_call"], ["weather", "clock"])


@once("typed errors", "key, model, limit, upstream")
def _():
    cases = [
        (openai.AuthenticationError, 401, "invalid_api_key", "gpt-sim", UNKNOWN_KEY),
        (openai.NotFoundError, 404, "model_not_found", "gpt-smi", KEY),
        (openai.BadRequestError, 400, "context_length_exceeded", "gpt-fail-400", KEY),
        (openai.RateLimitError, 429, "rate_limit_exceeded", "gemini-sim", EXHAUSTED_KEY),
        (openai.InternalServerError, 502, "no_route_available", "claude-fail-500", KEY),
        (openai.RateLimitError, 429, "upstream_rate_limited", "claude-fail-429", KEY),
        (openai.RateLimitError, 429, "upstream_overloaded", "claude-fail-503", KEY),
        (openai.BadRequestError, 400, "context_length_exceeded", "claude-fail-400", KEY),
    ]
    for kind, status, code, model, key in cases:
        error = raises(kind, lambda: client(key).chat.completions.create(model=model, messages=HELLO))
        equal((error.status_code, error.code), (status, code))
        assert error.request_id.startswith("gen-")
        if status in (429, 503):
            assert int(error.response.headers["retry-after"]) > 0


@once("retries", "come back when they were told to")
def _():
    raw = comes_back(lambda: client(max_retries=2).chat.completions.with_raw_response.create(model="busy", messages=HELLO))
    equal((raw.parse().choices[0].message.content, raw.retries_taken), ("Good day.", 1))


@once("embeddings", "in base64, which is the SDK's default, and as numbers")
def _():
    packed = client().embeddings.create(model="embedding-sim", input=["hello world", "good day"])
    plain = client().embeddings.create(model="embedding-sim", input=["hello world", "good day"], encoding_format="float")
    equal([len(one.embedding) for one in packed.data], [1536, 1536])
    equal([one.embedding for one in packed.data], [one.embedding for one in plain.data])
    equal(packed.usage.prompt_tokens, 4)


@once("images", "made and edited")
def _():
    made = client().images.generate(model="image-sim", prompt="a white dot")
    equal(base64.b64decode(made.data[0].b64_json)[1:4], b"PNG")
    edited = client().images.edit(model="image-sim", image=("dot.png", base64.b64decode(PIXEL), "image/png"), prompt="now black")
    equal(len(edited.data), 1)


@once("audio", "spoken and transcribed")
def _():
    with client().audio.speech.with_streaming_response.create(model="speech-sim", voice="alloy", input="Good day") as spoken:
        equal(len(spoken.read()), 2000)
    file = ("clip.mp3", b"\1" * 40_000, "audio/mpeg")
    said = f'You said: "clip.mp3, 40000 bytes". {signature("whisper-sim")}'
    equal(client().audio.transcriptions.create(model="transcription-sim", file=file).text, said)
    equal(client().audio.transcriptions.create(model="transcription-sim", file=file, response_format="text"), f"{said}\n")


@once("moderation", "of two texts")
def _():
    equal([one.flagged for one in client().moderations.create(model="moderation-sim", input=["hello", "so much violence"]).results], [False, True])


@once("completions", "plain and streamed")
def _():
    plain = client().completions.create(model="gpt-sim", prompt="hello there").choices[0].text
    assert plain.startswith('You said: "hello there".')
    equal("".join(chunk.choices[0].text for chunk in client().completions.create(model="gpt-sim", prompt="hello there", stream=True)), plain)


@once("model list", "and one of them")
def _():
    ids = [model.id for model in client().models.list()]
    assert set(TALKERS) <= set(ids), ids
    equal(client().models.retrieve("claude-sim").id, "claude-sim")
