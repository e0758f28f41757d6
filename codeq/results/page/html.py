"""HTML from the templates beside this file, with Plotly's script in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from codeq.config.metrics import METRICS, format_metric
from codeq.results.page.style import Figure


@dataclass(frozen=True)
class Plot:
    """A figure of a page. description: its text alternative. option: what the reader selects it by, in its group."""

    figure: Figure
    description: str
    option: str = ""

    @property
    def as_json(self) -> Markup:
        """The figure as JSON."""
        return script_json(self.figure)


def script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element. Raises ValueError for a number that is not finite."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def render(template: str, **values: Any) -> str:
    """Return the HTML of a template in this folder. Everything but `Markup` is escaped."""
    return _environment().get_template(template).render(values)


@lru_cache
def _environment() -> jinja2.Environment:
    folder = files("codeq.results.page")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        script_json=script_json,
        format_metric=format_metric,
        meaning=lambda name: METRICS[name].description,
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
        style=Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup(folder.joinpath("page.js").read_text(encoding="utf-8")),
    )
    return environment
