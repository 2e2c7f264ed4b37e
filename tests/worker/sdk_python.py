"""The Python SDK of OpenAI, as users have it, pointed at the gateway.

Reads {"base_url", "keys": {name: secret}} from standard input, runs every case below, and prints
one JSON object: for each case what it found, or the traceback under "failed". The assertions are
in sdk-python.test.mjs.
"""

import asyncio
import json
import sys
import traceback

import openai
from openai import AsyncOpenAI, OpenAI

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = {
    "messages": [{"role": "user", "content": "please use the tool"}],
    "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}],
}

given = json.load(sys.stdin)
cases = {}


def case(function):
    cases[function.__name__] = function
    return function


def client(key="rich", **options):
    secret = given["keys"].get(key, key)
    return OpenAI(base_url=given["base_url"], api_key=secret, **{"max_retries": 0, **options})


def told(error):
    """What a caller can read off an error."""
    body = error.body if isinstance(error.body, dict) else {}
    return {
        "classes": [one.__name__ for one in type(error).__mro__],
        "status": getattr(error, "status_code", None),
        "code": error.code,
        "param": error.param,
        "type": error.type,
        "request_id": getattr(error, "request_id", None),
        "next_step": body.get("metadata", {}).get("next_step"),
        "retry_after": error.response.headers.get("retry-after") if hasattr(error, "response") else None,
    }


def thrown(call):
    try:
        call()
    except openai.APIError as error:
        return told(error)
    raise AssertionError("nothing was raised")


@case
def plain():
    raw = client().chat.completions.with_raw_response.create(model="fallback-fail-503", messages=HELLO)
    answer = raw.parse()
    return {
        "text": answer.choices[0].message.content,
        "usage": answer.usage.model_dump(),
        "headers": {name: raw.headers.get(name) for name in ("x-tf-channel", "x-tf-attempts", "x-generation-id", "x-tf-bucket")},
        "request_id": answer._request_id,
    }


@case
def streamed():
    found = []
    for options in ({}, {"stream_options": {"include_usage": True}}):
        with client().chat.completions.with_streaming_response.create(model="demo-large", messages=HELLO, stream=True, **options) as raw:
            chunks = list(raw.parse())
            found.append({
                "id": raw.headers["x-generation-id"],
                "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
                "without_choices": sum(not chunk.choices for chunk in chunks),
                "usage": chunks[-1].usage.model_dump() if chunks[-1].usage else None,
            })
    return found


@case
def helper():
    with client().chat.completions.stream(model="split-bytes", messages=HELLO, stream_options={"include_usage": True}) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    return {"deltas": deltas, "text": final.choices[0].message.content, "tokens": final.usage.total_tokens, "finish": final.choices[0].finish_reason}


@case
def peculiar_streams():
    found = {}
    for model in ("crlf", "usage-always", "many-chunks", "no-usage"):
        stream = client().chat.completions.create(model=model, messages=HELLO, stream=True)
        found[model] = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    return found


@case
def tools():
    calls = [client().chat.completions.create(model="demo-large", **TOOLS).choices[0]]
    with client().chat.completions.stream(model="demo-large", **TOOLS) as stream:
        calls.append(stream.get_final_completion().choices[0])
    return [
        {"finish": choice.finish_reason, "name": choice.message.tool_calls[0].function.name, "arguments": json.loads(choice.message.tool_calls[0].function.arguments)}
        for choice in calls
    ]


@case
def extras():
    raw = client().chat.completions.with_raw_response.create(
        model="no-such-model", messages=HELLO, temperature=None,
        extra_body={"models": ["both-routes"], "provider": {"ignore": ["nobody"]}, "session_id": "s-1"},
        extra_headers={"x-tf-run": "run-python", "x-tf-route": "routed"},
    )
    return {"id": raw.headers["x-generation-id"], "bucket": raw.headers["x-tf-bucket"]}


@case
def models():
    return {"ids": [model.id for model in client().models.list()], "one": client().models.retrieve("both-routes").id}


@case
def errors():
    call = lambda key="rich", **body: lambda: client(key).chat.completions.create(**{"model": "demo-large", "messages": HELLO, **body})
    return {
        "unknown key": thrown(call("sk-tf-" + "0" * 48)),
        "revoked key": thrown(call("revoked")),
        "no such model": thrown(call(model="demo-lagre")),
        "wrong number": thrown(call(max_tokens=-1)),
        "upstream's 400": thrown(call(model="fail-400")),
        "upstream's 422": thrown(call(model="fail-422", stream=True)),
        "not allowed": thrown(call("narrow")),
        "too often": thrown(call("limited")),
        "nobody answers": thrown(call(model="fail-500")),
        "no balance": thrown(call("poor")),
    }


@case
def cut_streams():
    found = {}
    for model in ("cut-stream", "no-done", "stream-error-mid"):
        text = []

        def read():
            for chunk in client().chat.completions.create(model=model, messages=HELLO, stream=True):
                text.append(chunk.choices[0].delta.content or "")

        found[model] = {**thrown(read), "text": "".join(text)}
    return found


@case
def retries():
    raw = client(max_retries=2).chat.completions.with_raw_response.create(model="busy", messages=HELLO)
    return {"id": raw.headers["x-generation-id"], "retries": raw.retries_taken}


@case
def concurrent():
    async def one(own, index):
        stream = await own.chat.completions.create(model="demo-large", messages=[{"role": "user", "content": f"word-{index}"}], stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them():
        async with AsyncOpenAI(base_url=given["base_url"], api_key=given["keys"]["rich"], max_retries=0) as own:
            return await asyncio.gather(*(one(own, index) for index in range(20)))

    return asyncio.run(all_of_them())


found = {}
for name, run in cases.items():
    try:
        found[name] = {"found": run()}
    except Exception:
        found[name] = {"failed": traceback.format_exc()}
print(json.dumps(found))
