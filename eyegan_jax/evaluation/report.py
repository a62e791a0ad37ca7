"""The report of a run: one HTML file that opens offline, and the same figures as JSON."""

import base64
import datetime
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from eyegan_jax import pictures
from eyegan_jax.evaluation import results as recorded


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; numbers are formatted by :func:`cell`. ``note`` stands below."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption. Small pictures of pixels are shown without smoothing."""

    png: bytes
    caption: str = ""
    pixelated: bool = False

    @property
    def source(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order heading, text, pictures, tables."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Headline:
    """One of the few figures at the top: what it is, its value, and what to hold it against."""

    label: str
    value: Any
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything on the page. ``metrics`` is what ``metrics.json`` holds."""

    title: str
    metrics: Mapping[str, Any]
    sections: Sequence[Section]
    headlines: Sequence[Headline] = ()
    config: Any = field(default_factory=dict)
    command: str = ""


def cell(value: Any) -> str:
    """How a value reads in a table: ``mean ± std (n = 3)`` for means, three significant digits for floats."""
    if value is None:
        return "-"
    if isinstance(value, Mapping) and "mean" in value:
        if value["mean"] is None:
            return "-"
        spread = value.get("std")
        # Equal values can differ in their last bit; that is no spread.
        spread = 0.0 if spread and spread < 1e-9 * abs(value["mean"]) else spread
        spread = "" if spread is None else f" ± {_number(spread)}"
        return f"{_number(value['mean'])}{spread} (n = {value['n']:,})"
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _number(value: float) -> str:
    magnitude = abs(value)
    if magnitude and (magnitude < 1e-3 or magnitude >= 1e6):
        return f"{value:.2e}"
    return f"{value:,.0f}" if magnitude >= 1000 else f"{value:.3g}" if magnitude < 10 else f"{value:.1f}"


def grid(images, caption: str, row_labels=None, column_labels=None, scale: int | None = None) -> Picture:
    """A contact sheet of ``[rows, columns, H, W, C]`` (see :func:`eyegan_jax.pictures.grid_image`)."""
    buffer = io.BytesIO()
    pictures.grid_image(images, row_labels, column_labels, scale).save(buffer, "PNG")
    return Picture(buffer.getvalue(), caption, pixelated=True)


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    caption: str = "",
    log_y: bool = False,
) -> Picture:
    """Named curves ``(x, y)`` over common axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.0), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    # Dashes as well as colours: the curves stay apart in print and for colour-blind readers.
    styles = ("-", "--", "-.", ":")
    for i, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(x, y, styles[i % 4], label=name, color=f"C{i % 10}", linewidth=1.8)
    axes.set(xlabel=x_label, ylabel=y_label, yscale="log" if log_y else "linear")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if lines:
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Picture(buffer.getvalue(), caption)


def loss_curves(workdir: str | Path, fields: Sequence[str], log_y: bool = False) -> Picture | None:
    """Curves of ``metrics.jsonl``'s ``fields`` over the step; None where the run logged none of them."""
    path = Path(workdir) / "metrics.jsonl"
    if not path.exists():
        return None
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the line that a killed run was writing
            continue
    lines = {}
    for name in fields:
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            lines[name] = ([x for x, _ in points], [y for _, y in points])
    return curves(lines, "step", "", "Training", log_y) if lines else None


def render(report: Report) -> str:
    """The HTML of ``report``: no link, script or font from anywhere else."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eyegan_jax.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = cell
    return environment.get_template("report.html").render(
        report=report,
        config=json.dumps(recorded.plain(report.config), indent=2),
        versions=recorded.versions(),
        hardware=recorded.hardware(),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def write_report(workdir: str | Path, report: Report) -> Path:
    """Write ``WORKDIR/report/index.html`` and ``metrics.json``; returns the page's path."""
    folder = Path(workdir) / "report"
    recorded.write_json(folder / "metrics.json", report.metrics)
    page = folder / "index.html"
    page.write_text(render(report), encoding="utf-8")
    return page
