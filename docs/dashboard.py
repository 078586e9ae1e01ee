"""The Grafana dashboards, of a machine and of a fleet, as the JSON that Grafana imports.

Source: Grafana's documentation, "Dashboard JSON model"; schema 38 is that of Grafana 10.0, which newer ones read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dashboard_fleet
import dashboard_panels
from dashboard_panels import Panel

_SCHEMA = 38
_COLUMNS = 24
_HEIGHTS = {"stat": 4, "timeseries": 8, "state-timeline": 8, "bargauge": 8}
_INSTANT = frozenset({"stat", "bargauge"})
"""Kinds of panels that show one moment."""
_COLOURS = ("green", "yellow", "orange", "red")
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_INSTANCES = "label_values(greenboost_build_info, instance)"


@dataclass(frozen=True, slots=True)
class _Board:
    """A dashboard.

    Attributes:
        uid: its id, and its file's name.
        title: its name.
        description: what it is of.
        rows: its panels, by their row's title.
        of_a_machine: whether one machine is chosen at the top.
    """

    uid: str
    title: str
    description: str
    rows: Mapping[str, tuple[Panel, ...]]
    of_a_machine: bool


_BOARDS = (
    _Board(
        "greenboost",
        "GreenBoost",
        "Memory of a machine with GreenBoost's daemon: RAM, VRAM, GTT, swap, pressure, leases.",
        dashboard_panels.ROWS,
        of_a_machine=True,
    ),
    _Board(
        "greenboost-fleet",
        "GreenBoost: all nodes",
        "Memory of all nodes with GreenBoost's daemon, by the rules of scripts/prometheus/greenboost.rules.yaml.",
        dashboard_fleet.ROWS,
        of_a_machine=False,
    ),
)


def dashboards() -> dict[str, str]:
    """The files, by their paths in docs/."""
    return {f"grafana/{board.uid}.json": _text(board) for board in _BOARDS}


def _text(board: _Board) -> str:
    panels = _panels(board.rows)
    kinds = sorted({panel["type"] for panel in panels} - {"row"})
    others = [other for other in _BOARDS if other is not board]
    model = {
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
            *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
        ],
        "annotations": {"list": []},
        "description": board.description,
        "editable": True,
        "graphTooltip": 1,
        "links": [
            {"type": "link", "title": other.title, "url": f"/d/{other.uid}", "keepTime": True} for other in others
        ],
        "panels": panels,
        "refresh": "10s" if board.of_a_machine else "1m",
        "schemaVersion": _SCHEMA,
        "tags": ["greenboost", "gpu", "memory"],
        "templating": {"list": [_datasource_variable(), *([_instance_variable()] if board.of_a_machine else [])]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "title": board.title,
        "uid": board.uid,
        "version": 1,
    }
    return json.dumps(model, indent=2, sort_keys=True) + "\n"


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _instance_variable() -> dict[str, Any]:
    return {
        "name": "instance",
        "label": "Machine",
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": _INSTANCES,
        "query": {"query": _INSTANCES, "refId": "instance"},
        "refresh": 2,  # when the time range changes
        "sort": 1,
    }


def _panels(rows: Mapping[str, tuple[Panel, ...]]) -> list[dict[str, Any]]:
    """Rows from the top, in each the panels from the left."""
    made: list[dict[str, Any]] = []
    top = 0
    for title, panels in rows.items():
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        made.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place})
        left, top, height = 0, top + 1, 0
        for panel in panels:
            if left + panel.width > _COLUMNS:
                left, top, height = 0, top + height, 0
            own_height = _HEIGHTS[panel.kind]
            place = {"x": left, "y": top, "w": panel.width, "h": own_height}
            made.append({**_panel(panel), "gridPos": place})
            left, height = left + panel.width, max(height, own_height)
        top += height
    return [{**panel, "id": number} for number, panel in enumerate(made, start=1)]


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "datasource": _DATASOURCE,
                "editorMode": "code",
                "expr": query.expression,
                "instant": panel.kind in _INSTANT,
                "legendFormat": query.legend,
                "range": panel.kind not in _INSTANT,
                "refId": chr(ord("A") + number),
            }
            for number, query in enumerate(panel.queries)
        ],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {"unit": panel.unit, "min": 0, "mappings": []}
    if panel.absent:
        made["noValue"] = panel.absent
    if panel.values:
        # Two values are bad and good, more are good and ever worse.
        colours = ("red", "green") if len(panel.values) == 2 else _COLOURS
        words = {
            str(value): {"text": word, "color": colour, "index": value}
            for value, (word, colour) in enumerate(zip(panel.values, colours, strict=True))
        }
        made["mappings"] = [{"type": "value", "options": words}]
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
        made["custom"] = {"fillOpacity": 60 if panel.is_stacked else 10, "lineWidth": 1, "stacking": stacking}
    return made


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "name" if panel.shows_name else "value",
        }
    if panel.kind == "bargauge":
        return {
            "displayMode": "basic",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    if panel.kind == "state-timeline":
        return {"legend": legend, "mergeValues": True, "showValue": "auto", "rowHeight": 0.9}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
