"""LangChain with its integration of OpenAI, over chat completions and over responses."""

import openai
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from stage import (
    EXHAUSTED_KEY, FAULTS, KEY, NOTE, PIXEL, TALKERS, UNKNOWN_KEY, URL,
    charged, comes_back, equal, for_each, greeting, once, raises, sent, signature,
)


class Note(BaseModel):
    """A note."""

    said: str
    number: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {len(city)}"


@tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"noon in {len(city)}"


TOOLS = {"weather": weather, "clock": clock}
# The parameter of ChatOpenAI that chooses the API, by the area in which its checks count.
APIS = {False: "", True: "responses"}


def llm(model, key=KEY, **options):
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=key, **{"max_retries": 0, **options})


for use_responses, responses in APIS.items():

    def area(name, responses=responses):
        return (responses, name) if responses else (name,)

    def own(model, use_responses=use_responses, **options):
        return llm(model, use_responses_api=use_responses, **options)

    @for_each(TALKERS, *area("plain"))
    def _(model):
        answer = own(model, temperature=0.5).invoke([SystemMessage("Be brief."), HumanMessage("hi"), AIMessage("yes?"), HumanMessage("hello")])
        equal(answer.text, greeting(model))

    @for_each(TALKERS, *area("stream"))
    def _(model):
        whole = None
        for chunk in own(model, stream_usage=True).stream("hello"):
            whole = chunk if whole is None else whole + chunk
        equal(whole.text, greeting(model))
        equal((whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]), (8, 16))

    @for_each(TALKERS, *area("tools"))
    def _(model):
        bound = own(model).bind_tools([weather, clock])
        whole = None
        for chunk in bound.stream("please use the tool"):
            whole = chunk if whole is None else whole + chunk
        for answer in (bound.invoke("please use the tool"), whole):
            equal([(call["name"], call["args"]) for call in answer.tool_calls], [("weather", {"city": "please use the tool"})])

    @for_each(TALKERS, *area("parallel tools"))
    def _(model):
        bound = own(model).bind_tools([weather, clock])
        turns = [HumanMessage("please use two tools")]
        called = bound.invoke(turns)
        equal([call["name"] for call in called.tool_calls], ["weather", "clock"])
        results = [ToolMessage(TOOLS[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
        equal(bound.invoke([*turns, called, *results]).text, f'The tool said: "sunny in 20" and "noon in 20". {signature(model)}')

    @for_each(TALKERS, *area("structured output"))
    def _(model):
        equal(own(model).with_structured_output(Note, method="json_schema").invoke("hello").model_dump(), NOTE)

    @for_each(TALKERS, *area("images in"))
    def _(model):
        image = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
        answer = own(model).invoke([HumanMessage([{"type": "text", "text": "hello"}, image])])
        assert answer.text.startswith('You said: "hello'), answer
        assert PIXEL in sent(model), "the image went up as it came"

    @for_each(["gpt", "claude", "gemini"], *area("broken streams"))
    def _(family):
        for fault in FAULTS:
            text = []

            def read():
                for chunk in own(f"{family}-{fault}").stream("hello"):
                    text.append(chunk.text)

            raises(Exception, read)
            assert "".join(text).startswith("You said:"), fault


@for_each(TALKERS, "structured output", "by the call of a function, as it was done before")
def _(model):
    forced = llm(model, use_responses_api=False).with_structured_output(Note, method="function_calling")
    equal(forced.invoke("hello").model_dump(), NOTE)


@for_each(TALKERS, "usage and cost")
def _(model):
    answer = llm(model, use_responses_api=False, include_response_headers=True).invoke("hello")
    equal((answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]), (8, 16))
    equal(answer.response_metadata["token_usage"]["cost"], 0.00004)
    charged(answer.response_metadata["headers"]["x-generation-id"], "0.00004", input=8, output=16)


@for_each(TALKERS, "raw headers")
def _(model):
    headers = llm(model, use_responses_api=False, include_response_headers=True).invoke("hello").response_metadata["headers"]
    assert headers["x-request-id"].startswith("gen-")
    equal([headers[f"x-tf-{name}"] for name in ("model", "upstream-model", "route", "attempts")], [model, model, "official", "1"])


@once("typed errors", "key, model, limit, upstream")
def _():
    cases = [
        (openai.AuthenticationError, "gpt-sim", UNKNOWN_KEY),
        (openai.NotFoundError, "gpt-smi", KEY),
        (openai.BadRequestError, "gpt-fail-400", KEY),
        (openai.RateLimitError, "gemini-sim", EXHAUSTED_KEY),
        (openai.InternalServerError, "claude-fail-500", KEY),
    ]
    for kind, model, key in cases:
        raises(kind, lambda: llm(model, key, use_responses_api=False).invoke("hello"))


@once("retries", "come back when they were told to")
def _():
    equal(comes_back(lambda: llm("busy", use_responses_api=False, max_retries=2).invoke("hello")).text, "Good day.")


@once("embeddings", "of two texts, sent as tokens are not")
def _():
    embeddings = OpenAIEmbeddings(model="embedding-sim", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False)
    equal([len(one) for one in embeddings.embed_documents(["hello world", "good day"])], [1536, 1536])
