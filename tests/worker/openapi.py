"""Judges an OpenAPI document and values by its schemas.

Reads {"document", "values": [{"name", "schema", "value"}]} and writes {"document": [faults], "values": {name: [faults]}}. A
schema says what may be there: members that an object of the document does not name are faults too, unless the object is open.
"""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

MOST = 5


def closed(schema):
    """The schema, in which objects have no members that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    return schema


def shown(fault):
    """A fault in one line. Of alternatives, what the nearest one says."""
    while fault.context:
        fault = max(fault.context, key=lambda inner: len(inner.absolute_path))
    return f"{fault.json_path}: {fault.message[:300]}"


def main():
    asked = json.load(sys.stdin)
    document = asked["document"]
    faults = [shown(fault) for fault in OpenAPIV31SpecValidator(document).iter_errors()]
    # The schemas stand where their references look for them.
    root = {"components": {"schemas": closed(document["components"]["schemas"])}}
    values = {}
    for value in asked["values"]:
        validator = Draft202012Validator({**root, **closed(value["schema"])}, format_checker=FormatChecker())
        found = [shown(fault) for fault in validator.iter_errors(value["value"])][:MOST]
        values.setdefault(value["name"], []).extend(found)
    json.dump({"document": faults, "values": values}, sys.stdout)


main()
