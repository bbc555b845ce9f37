"""Vega-Lite charts as static SVG for a page: no script, no style attribute, no font, nothing that is loaded.

What the library writes is not trusted but read again: only the elements and attributes named here survive. Nor does
it get foreign text: names and tooltips go in as numbers and come back as texts, since one odd character (U+FFFF) makes
its native code abort the process. Each mark's description becomes its ``<title>``, which browsers show as a tooltip.
Colours are CSS variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from mipro_walk.errors import MiproWalkError, PrerequisiteError

VEGA_LITE_VERSION = "6.4"
FONT_SIZE = 12
FOREIGN = ("name", "tip")
"""Fields of data rows that hold foreign text."""
STAND_IN = "text-"
ELEMENTS = {"svg", "g", "path", "line", "text", "tspan"}
ATTRIBUTES = {
    "d",
    "dx",
    "dy",
    "fill",
    "fill-opacity",
    "font-size",
    "font-weight",
    "height",
    "opacity",
    "stroke",
    "stroke-dasharray",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
    "transform",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
}
INHERITED = (
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-opacity",
    "stroke-width",
    "stroke-dasharray",
    "font-size",
    "font-weight",
    "text-anchor",
)
DEFAULTS = {"opacity": "1", "x2": "0", "y2": "0", "transform": "translate(0,0)"}
CONFIG: Mapping[str, Any] = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": "var(--chart-axis)",
        "gridColor": "var(--chart-grid)",
        "tickColor": "var(--chart-axis)",
        "labelColor": "var(--chart-text)",
        "titleColor": "var(--chart-text)",
        "labelFontSize": FONT_SIZE,
        "titleFontSize": FONT_SIZE,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    },
    "text": {"fontSize": FONT_SIZE, "color": "var(--text)"},
}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
_CIRCLE = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0")
_TRANSLATE = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")


def draw(spec: Mapping[str, Any], summary: str) -> str:
    """Return a Vega-Lite chart as an ``<svg>`` element whose accessible name is ``summary``.

    Equal specifications give equal text. Data must be inline; the library may load nothing. Rows may hold foreign text
    as ``name`` and ``tip`` only; its length is not seen when room is made.

    Raises:
        MiproWalkError: the chart cannot be drawn.
    """
    try:
        import vl_convert
    except ImportError as exc:
        raise PrerequisiteError(f"Charts need vl-convert-python: {exc}.", "pip install vl-convert-python") from exc
    texts: list[str] = []
    whole = _numbered({"background": None, "padding": 4, **spec, "config": CONFIG}, texts)
    try:
        written = vl_convert.vegalite_to_svg(whole, vl_version=VEGA_LITE_VERSION, allowed_base_urls=[])
        root = ElementTree.fromstring(written)  # noqa: S314 (the library's own output, built from escaped values)
    except (ValueError, ElementTree.ParseError) as exc:
        raise MiproWalkError(
            f"A chart cannot be drawn: {exc}", "Report this as a defect, with the job's files."
        ) from exc
    return ElementTree.tostring(_page_svg(root, summary, texts), encoding="unicode")


def _numbered(value: Any, texts: list[str]) -> Any:
    """Return a specification with every foreign text replaced by a token, and put the texts into ``texts``."""
    if isinstance(value, Mapping):
        return {name: _numbered_member(name, member, texts) for name, member in value.items()}
    return [_numbered(member, texts) for member in value] if isinstance(value, list) else value


def _numbered_member(name: str, member: Any, texts: list[str]) -> Any:
    if name not in FOREIGN or not isinstance(member, str):
        return _numbered(member, texts)
    texts.append(member)
    return f"{STAND_IN}{len(texts) - 1}"


def _told(written: str, texts: Sequence[str]) -> str:
    """Return what a token stands for; other text is the library's or ours."""
    number = written.removeprefix(STAND_IN)
    return texts[int(number)] if number != written and number.isdecimal() else written


def _page_svg(root: ElementTree.Element, summary: str, texts: Sequence[str]) -> ElementTree.Element:
    kept = _cleaned(root)
    assert kept is not None
    for element in kept.iter():
        if element.tag in ("text", "title") and element.text:
            element.text = _told(element.text, texts)
    kept.attrib = {"role": "img", "aria-label": summary, **kept.attrib}
    return kept


def _cleaned(element: ElementTree.Element) -> ElementTree.Element | None:
    """Return what is kept of an element, ``None`` if nothing of it can be seen."""
    name = element.tag.rpartition("}")[2]
    if name not in ELEMENTS or element.get("display") == "none" or element.get("opacity") == "0":
        return None
    kept = ElementTree.Element(name, _attributes(element))
    kept.text = element.text
    for child in element:
        found = _cleaned(child)
        if found is not None:
            kept.append(found)
    if name == "g":
        return _group(kept)
    if "background" in (element.get("class") or "") and kept.get("fill", "none") == "none":
        return None
    if (label := element.get("aria-label")) and name in ("path", "line"):
        _title(kept, label)
    return kept


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    kept = {name: _rounded(value) for name, value in element.attrib.items() if name in ATTRIBUTES}
    return {name: value for name, value in kept.items() if DEFAULTS.get(name) != value}


def _rounded(value: str) -> str:
    """Return a value with a tenth of a pixel at most: half of the size of large charts is digits nobody sees."""
    return _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), value)


def _title(element: ElementTree.Element, label: str) -> None:
    title = ElementTree.SubElement(element, "title")
    title.text = label


def _group(group: ElementTree.Element) -> ElementTree.Element | None:
    """Return a group without empty shells: none if nothing is in it, its child if it adds nothing to that."""
    if not len(group):
        return None
    for child in group:
        _as_circle(child)
    for name in INHERITED:
        _hoist(group, name)
    if len(group) == 1 and not group.attrib:
        return group[0]
    return group


def _hoist(group: ElementTree.Element, name: str) -> None:
    """Write an attribute once on the group if all children agree on it."""
    if name in group.attrib:
        return
    values = Counter(child.get(name) for child in group)
    (value, times), *_ = values.most_common(1)
    if value is not None and times == len(group) and times > 1:
        group.set(name, value)
        for child in group:
            del child.attrib[name]


def _as_circle(element: ElementTree.Element) -> None:
    """Turn the path of a round mark into a circle: a third of its size."""
    found = _CIRCLE.fullmatch(element.get("d", ""))
    if element.tag != "path" or found is None:
        return
    place = _TRANSLATE.fullmatch(element.get("transform", "translate(0,0)"))
    if place is None:
        return
    del element.attrib["d"]
    element.attrib.pop("transform", None)
    element.tag = "circle"
    element.attrib = {"cx": place[1], "cy": place[2], "r": found[1], **element.attrib}
