"""JUnit XML, the form in which CI systems show checks: one test case for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree  # only written here, never read

_NOT_XML = re.compile("[^\\t\\n\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
CLASS_NAME = "mipro-walk.eval"


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. ``details`` are lines below the message of a failure or an error."""

    name: str
    result: Literal["passed", "failure", "error"]
    message: str
    details: Sequence[str] = ()


def junit_xml(suite: str, cases: Sequence[Case], seconds: float) -> bytes:
    """Return the document, UTF-8. What XML cannot hold comes out as an escape."""
    counts = {kind: sum(case.result == kind for case in cases) for kind in ("failure", "error")}
    numbers = {"tests": str(len(cases)), "failures": str(counts["failure"]), "errors": str(counts["error"])}
    root = ElementTree.Element("testsuites", {"name": "mipro-walk", **numbers, "time": f"{seconds:.3f}"})
    element = ElementTree.SubElement(
        root, "testsuite", {"name": _text(suite), **numbers, "skipped": "0", "time": f"{seconds:.3f}"}
    )
    for case in cases:
        test = ElementTree.SubElement(element, "testcase", {"classname": CLASS_NAME, "name": _text(case.name)})
        if case.result == "passed":
            ElementTree.SubElement(test, "system-out").text = _text(case.message)
        else:
            shown = ElementTree.SubElement(test, case.result, {"message": _text(case.message), "type": case.name})
            shown.text = _text("\n".join([case.message, *case.details]))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _text(text: str) -> str:
    return _NOT_XML.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
