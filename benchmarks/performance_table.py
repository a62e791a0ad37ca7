"""Write the tables of docs/performance.md from docs/results/performance_*.json and scaling.json.

command: python benchmarks/performance_table.py
Everything between a pair of markers is replaced; the text around them is written by hand.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"


def seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def heading(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return f"`{record['command']}`\n{record['hardware']}; {versions}; {record['date']}.\n"


def spread(side: dict[str, float]) -> str:
    return f"{seconds(side['median_s'])} ({seconds(side['low_s'])} to {seconds(side['high_s'])})"


def ratio(row: dict[str, Any]) -> str:
    """PyTorch over ours, with the lowest and the highest of the processes that it was timed in."""
    each = row.get("ratios_of_processes", [])
    among = f" ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
    return f"{row['ratio']:.2f}{among}" if "ratio" in row else ""


def performance(record: dict[str, Any]) -> str:
    """Steps, single layers and memory of one device."""
    results = record["results"]
    steps = [row for row in results["rows"] if "sides" in row]
    layers = [row for row in results["rows"] if "fraction_of_roofline" in row]
    modes = [name for name in steps[0]["sides"] if name != "ours"] if steps else []
    parts = [heading(record)]
    if steps:
        parts.append(
            table(
                ["what", "batch", "dtype", "ours", *modes, "ratio", "of the fastest", "of the matrix ceiling"],
                [
                    [row["what"], str(row["batch"]), row["dtype"], spread(row["sides"]["ours"])]
                    + [spread(row["sides"][mode]) for mode in modes]
                    + [ratio(row), f"{row['ratio_of_fastest']:.2f}" if "ratio_of_fastest" in row else ""]
                    + [f"{row['fraction_of_matrix_ceiling']:.0%}"]
                    for row in steps
                ],
            )
        )
    if layers:
        parts.append(
            table(
                [
                    "one layer",
                    "batch",
                    "dtype",
                    "ours",
                    "lax",
                    "PyTorch",
                    "ratio",
                    "of the matrix ceiling",
                    "of the roofline",
                ],
                [
                    [
                        row["what"],
                        str(row["batch"]),
                        row["dtype"],
                        *(seconds(row[side]) for side in ("ours_s", "lax_s", "torch_s")),
                    ]
                    + [f"{row['ratio']:.2f}"]
                    + [f"{row[f'fraction_of_{what}']:.0%}" for what in ("matrix_ceiling", "roofline")]
                    for row in layers
                ],
            )
        )
    if results.get("memory"):
        parts.append(
            table(
                [
                    "alone in a process",
                    "batch",
                    "dtype",
                    "first step after",
                    "peak of the process",
                    "peak of the device",
                ],
                [
                    [row["side"], str(row["batch"]), row["dtype"], seconds(row["first_step_s"])]
                    + [
                        f"{row[name] / 1e9:.2f} GB" if row.get(name) else ""
                        for name in ("peak_rss_bytes", "peak_device_bytes")
                    ]
                    for row in results["memory"]
                ],
            )
        )
    return "\n\n".join(parts)


def scaling(record: dict[str, Any]) -> str:
    """What crosses the network, and the model of the step's time."""
    counted = [
        [
            str(row["devices"]),
            str(row["all_reduces"]),
            f"{row['bytes_per_step'] / 1e6:.2f} MB",
            f"{row['bytes_per_image']:.0f}",
        ]
        for row in record["results"]["counted"]
    ]
    parts = [
        heading(record),
        table(["devices", "all-reduces per step", "payload", "bytes sent per image"], counted),
    ]
    if "model" in record["results"]:
        rows = [
            [
                row["link"],
                str(row["chips"]),
                seconds(row["network_s"]),
                seconds(row["step_s"]),
                f"{row['efficiency']:.0%}",
            ]
            for row in record["results"]["model"]
        ]
        parts.append(table(["link", "chips", "network", "step", "efficiency"], rows))
    return "\n\n".join(parts)


def main() -> None:
    text = PAGE.read_text()
    for name, write in (
        ("performance_gpu", performance),
        ("performance_cpu", performance),
        ("scaling", scaling),
    ):
        path = ROOT / "docs" / "results" / f"{name}.json"
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        body = write(json.loads(path.read_text())) if path.exists() else "Not recorded yet."
        text = f"{before}{begin}\n{body}\n{end}{after}"
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
