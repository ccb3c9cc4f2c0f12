#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks man/openapi against the server: its routes, and each request that the suite isolation made with the answer to it.

RECORD is what `attacks` wrote with EMBERLOCK_RECORD: a line a route of the server's own tables, a line a request. Every route
is in the document of its listener, and the other way round, for the same roles; every answer has a status and a body that the
document allows; what succeeded was asked as the document says; each operation succeeded once at least.
"""
import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

from jsonschema import Draft202012Validator

LISTENERS = ("admin", "vm", "storage", "events")
SEGMENT = "[A-Za-z0-9._-]+"
REFUSAL = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)


class Document:
    """One OpenAPI document, with a validator for each of its schemas."""

    def __init__(self, path: Path) -> None:
        self.json = json.loads(path.read_text())
        assert self.json["openapi"] == "3.1.0" and self.json["info"]["title"] and self.json["info"]["version"], path
        for node in walk(self.json):
            self.resolve(node)
        for schema in self.json["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)
        self.operations = {(method.upper(), pattern): operation for pattern, item in self.json["paths"].items()
                           for method, operation in item.items()}
        ids = [operation["operationId"] for operation in self.operations.values()]
        assert len(ids) == len(set(ids)), f"{path}: an operationId is there twice"
        self.patterns = [(method, pattern, re.compile(re.sub(r"\{[a-z]+\}", SEGMENT, pattern)))
                         for method, pattern in self.operations]
        self.validators: dict[str, Draft202012Validator] = {}

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target = self.json
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def errors(self, schema: dict[str, Any], value: Any) -> Iterator[Any]:
        """The document's references are into its own components."""
        key = json.dumps(schema)
        if key not in self.validators:
            self.validators[key] = Draft202012Validator({**schema, "components": self.json["components"]})
        return self.validators[key].iter_errors(value)

    def find(self, method: str, target: str) -> tuple[str, str] | None:
        path = target.partition("?")[0]
        return next(((m, pattern) for m, pattern, form in self.patterns if m == method and form.fullmatch(path)), None)

    def wrong(self, content: dict[str, Any], media: str, text: str | None) -> str | None:
        """What is wrong with a body of that media type, by CONTENT; None: nothing."""
        if media not in content:
            return f"a body of type '{media}', not of {', '.join(content)}"
        if media != "application/json":
            return None
        try:
            value = json.loads(text or "")
        except ValueError:
            return "no JSON"
        error = next(self.errors(content[media]["schema"], value), None)
        return f"{error.json_path}: {error.message}" if error else None


def roles_of(operation: dict[str, Any]) -> set[str]:
    return {role for scheme in operation["security"] for role in scheme.get("administrator", ())}


def compare_route(document: Document, route: dict[str, Any], pattern: str) -> Iterator[str]:
    operation = document.operations[(route["method"], pattern)]
    if roles_of(operation) != {role for role in ("key-administrator", "operator") if route[role]}:
        yield "for other roles than in the document"
    if ("requestBody" in operation) != route["takes"]:
        yield "a body, in the one or the other alone"
    if {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"} != set(re.findall(r"\{([a-z]+)\}", pattern)):
        yield "the document does not say what is in its path"


def compare_routes(documents: dict[str, Document], routes: list[dict[str, Any]]) -> Iterator[str]:
    seen = set()
    for route in routes:
        document = documents[route["listener"]]
        name = f"{route['listener']}: {route['method']} {route['route']}"
        found = [pattern for method, pattern in document.operations
                 if method == route["method"] and re.sub(r"\{[a-z]+\}", "{}", pattern) == route["route"]]
        if not found:
            yield f"{name}: a route of the server that is not in the document"
            continue
        seen.add((route["listener"], route["method"], found[0]))
        yield from (f"{name}: {problem}" for problem in compare_route(document, route, found[0]))
    for listener, document in documents.items():
        yield from (f"{listener}: {method} {pattern}: in the document, and no route of the server"
                    for method, pattern in document.operations if (listener, method, pattern) not in seen)


def check_answer(document: Document, operation: dict[str, Any] | None, line: dict[str, Any]) -> str | None:
    status = str(line["status"])
    if operation is None:
        # No such path or method, whatever the reason: only the form of the refusal counts.
        if line["status"] < 400:
            return "an answer on a path that the document does not have"
        return document.wrong(REFUSAL["content"], line["type"], line["body"])
    if status not in operation["responses"]:
        return "a status that the document does not have"
    content = document.resolve(operation["responses"][status]).get("content")
    if content is None:
        return "a body where the document has none" if line["size"] else None
    return document.wrong(content, line["type"], line["body"])


def check_request(document: Document, operation: dict[str, Any], line: dict[str, Any]) -> str | None:
    if "requestBody" not in operation:
        return "it succeeded with a body" if line["sent"] else None
    content = operation["requestBody"]["content"]
    return document.wrong(content, next(iter(content)), line["request"])


def check(documents: dict[str, Document], lines: list[dict[str, Any]]) -> tuple[list[str], Counter[tuple[str, ...]]]:
    problems = list(compare_routes(documents, [line for line in lines if "route" in line]))
    done: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        # The answer to HEAD has no body, whatever it says of it.
        if "route" in line or line["method"] == "HEAD":
            continue
        document = documents[line["listener"]]
        key = document.find(line["method"], line["target"])
        operation = document.operations[key] if key else None
        problem = check_answer(document, operation, line)
        if key and operation and line["status"] < 300:
            done[(line["listener"], *key)] += 1
            problem = problem or check_request(document, operation, line)
        if problem:
            problems.append(f"{line['listener']}: {line['method']} {line['target']}: {line['status']}: {problem}")
    for listener, document in documents.items():
        problems += [f"{listener}: {method} {pattern}: nobody has made it with success"
                     for method, pattern in document.operations if (listener, method, pattern) not in done]
    return problems, done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path)
    args = parser.parse_args()
    directory = Path(__file__).parents[2] / "man" / "openapi"
    documents = {name: Document(directory / f"{name}.json") for name in LISTENERS}
    lines = [json.loads(line) for line in args.record.read_text().splitlines()]
    problems, done = check(documents, lines)
    for problem in problems[:40]:
        print(problem)
    print(f"{len(done)} operations, {len(lines)} routes and requests, {len(problems)} that do not agree")
    return 1 if problems or not done else 0


if __name__ == "__main__":
    sys.exit(main())
