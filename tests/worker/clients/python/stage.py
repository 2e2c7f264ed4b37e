"""What the scripts of all Python clients share: checks that tell how they ended, and what the gateway did.

A script reads a line, {"url", "key", "exhausted_key", "upstream"}, from standard input and writes a line of JSON for each
check: {"area", "what", "failed"}, `failed` being a traceback or null. python.mjs makes tests of them.
"""

import json
import sys
import time
import traceback
import urllib.error
import urllib.request

given = json.loads(sys.stdin.readline())
# What a library prints must not come between the lines that tell.
told = sys.stdout
sys.stdout = sys.stderr

URL = given["url"]
KEY = given["key"]
EXHAUSTED_KEY = given["exhausted_key"]
UNKNOWN_KEY = "sk-tf-" + "0" * 48

TALKERS = ["gpt-sim", "claude-sim", "gemini-sim"]
FAULTS = ["cut-stream", "no-done", "stream-error-mid"]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
NOTE = {"said": "hello", "number": 7}


def greeting(model):
    """What the simulator says to "hello": 16 words, so 16 tokens."""
    return f'You said: "hello". {signature(model)}'


def signature(model):
    return f"This is {model}, a simulated model, and it answers the same each time."


def tell(**line):
    told.write(json.dumps(line) + "\n")
    told.flush()


def check(area, what, run):
    """Runs a check at once, and tells how it ended."""
    try:
        run()
        failed = None
    except Exception:
        failed = traceback.format_exc()
    tell(area=area, what=what, failed=failed)


def for_each(values, area, how=""):
    """Makes a check of a function for each value, by which it is named."""

    def decorate(function):
        for value in values:
            check(area, f"{value}, {how}" if how else value, lambda: function(value))

    return decorate


def once(area, what):
    def decorate(function):
        check(area, what, function)

    return decorate


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def raises(kinds, call):
    """The error of a call, which has to be of such a class."""
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError("nothing was raised")


def receipt(request):
    """The receipt of a request, waited for: settlement follows the answer."""
    headers = {"authorization": f"Bearer {KEY}"}
    for _ in range(400):
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{URL}/v1/receipts/{request}", headers=headers)) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            time.sleep(0.025)
    raise AssertionError(f"the receipt {request} did not come")


def charged(request, charge, **usage):
    """Checks what a request came to, by upstream's own count."""
    found = receipt(request)
    equal((found["status"], found["charge"]), ("completed", charge))
    equal({name: count for name, count in found["usage"].items() if count}, usage)


def truncated(request):
    found = receipt(request)
    equal((found["status"], found["charge"]), ("truncated", "0"))


def sent(upstream_model):
    """The body that went upstream last for a model of this name there, as text."""
    with urllib.request.urlopen(f"{given['upstream']}/__requests") as response:
        requests = json.load(response)
    named = lambda one: isinstance(one.get("body"), dict) and one["body"].get("model") == upstream_model
    return json.dumps([one["body"] for one in requests if named(one) or f"/{upstream_model}:" in one["url"]][-1])


def comes_back(call):
    """Makes a call of the model `busy`, which is refused once with `retry-after: 1`, and checks how long it took."""
    tell(busy=True)
    sys.stdin.readline()  # now it is
    started = time.monotonic()
    result = call()
    waited = time.monotonic() - started
    assert waited >= 0.95, f"came back after {waited} s"
    return result
