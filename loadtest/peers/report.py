"""What bench.py found, as Markdown, JSON and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

Result = Mapping[str, Any]

PALETTE = ("#4477aa", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777", "#997700", "#004488", "#88ccaa", "#bb5566",
           "#6699cc", "#994455", "#ee99aa", "#225522", "#999933")
OURS = ("#d62728", "#ff7f0e", "#8c1515", "#e0608a")
TICKS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)


def write(result: Result, out: Path, name: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result, name)
    (out / f"{name}.md").write_text(text)
    draw(result, out / f"{name}.svg")
    draw(result, out / f"{name}.png")
    print(text)
    print(f"written: {out}/{name}.md, .json, .svg, .png")


def markdown(result: Result, name: str) -> str:
    about, machine = result["data"], result["machine"]
    lines = [f"# Search: {name}", "",
             f"{about['items']:,} items of {about['dimension']}, inner product; {about['queries']} queries, the settings chosen on one half, "
             f"recall and time from the other. One thread, one query at a time, medians of {result['rounds']} rounds in turn.", "",
             stamp_line(machine), "", f"`{machine['command']}`", "", f"![recall against time]({name}.svg)", ""]
    lines += ratio_table(result["ratios"])
    for k in result["grid"]["k"]:
        for target in result["grid"]["targets"]:
            rows = [row for row in result["rows"] if (row["k"], row["target"]) == (k, target)]
            lines += [f"## k = {k}, recall {target}", "", *setting_table(rows, target), *missing(result, k, target), ""]
    lines += build_table(result)
    if result["not_measured"]:
        lines += ["## Not measured", "", *(f"* **{engine}**: {reason}" for engine, reason in result["not_measured"].items()), ""]
    lines += [*(f"* {note}" for note in result["notes"]), ""] if result["notes"] else []
    return "\n".join(lines)


def stamp_line(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    return (f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, {' '.join(machine['instruction_sets'])}, "
            f"Linux {machine['kernel']}, load {machine['load_at_start']:.2f} at the start, commit {machine['commit']}; {versions}")


def ratio_table(ratios: Sequence[Mapping[str, Any]]) -> List[str]:
    if not ratios:
        return []
    lines = ["## belfry over the best peer", "", "Time per query; taken within each round, then the median over rounds.", "",
             "| recall | k | belfry | best peer | of the medians | of the means |", "|--:|--:|---|---|--:|--:|"]
    for entry in ratios:
        lines.append(f"| {entry['target']} | {entry['k']} | {entry['ours']} | {entry['peer']} | {spread(entry, 'us_p50')} | "
                     f"{spread(entry, 'us_mean')} |")
    return [*lines, ""]


def spread(entry: Mapping[str, Any], figure: str) -> str:
    each = entry["rounds"][figure]
    return f"**{entry['ratio_' + figure]:.2f}** ({min(each):.2f} to {max(each):.2f})"


def setting_table(rows: Sequence[Mapping[str, Any]], target: float) -> List[str]:
    lines = ["| engine | parameters | recall | p50 us | p99 us | queries/s | bytes/item | overhead taken off, us |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in sorted(rows, key=lambda row: row["us_p50"]):
        name = f"**{row['engine']}**" if row["ours"] else row["engine"]
        short = "" if row["recall"] >= target else " (under)"
        lines.append(f"| {name} | {words(row['parameters'])} | {row['recall']:.4f}{short} | {row['us_p50']:,.1f} | "
                     f"{row['us_p99']:,.1f} | {row['queries_per_second']:,.0f} | {row['bytes_per_item']:,.0f} | "
                     f"{row['overhead_us']:.1f} |")
    return lines


def words(parameters: Mapping[str, Any]) -> str:
    def number(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    set_ones = {name: value for name, value in parameters.items() if value is not None}
    return ", ".join(name if value is True else f"{name} {number(value)}" for name, value in set_ones.items()) or "exact"


def missing(result: Result, k: int, target: float) -> List[str]:
    """Engines that reach the recall with no setting of the grid, or none within the time limit."""
    present = {row["engine"] for row in result["rows"] if (row["k"], row["target"]) == (k, target)}
    short = [f"{engine} ({best[k] if k in best else best[str(k)]:.4f})" for engine, best in result["best_recall"].items()
             if engine not in present]
    return ["", f"Not reached within the grid and {result['grid']['slowest_us'] / 1000:g} ms (best recall): {', '.join(short)}."] if short else []


def build_table(result: Result) -> List[str]:
    lines = ["## Indexes", "", "| engine | built in s | threads | bytes/item on disk |", "|---|--:|--:|--:|"]
    for engine, built in result["built"].items():
        lines.append(f"| {engine} | {built['seconds']:,.0f} | {built['threads']} | "
                     f"{built['bytes'] / result['data']['items']:,.0f} |")
    return [*lines, ""]


def front(points: Sequence[Mapping[str, float]]) -> List[Tuple[float, float]]:
    """(time, recall) of the points that no other beats in both, by time."""
    return [(time, 1 - loss) for time, loss in front_of([(point["p50"], 1 - point["recall"]) for point in points])]


def front_of(points: Sequence[Tuple[float, float]]) -> List[Tuple[float, float]]:
    """Of (time, loss) those that are the least loss so far, by time."""
    kept: List[Tuple[float, float]] = []
    for time, loss in sorted(points):
        if not kept or loss < kept[-1][1]:
            kept.append((time, loss))
    return kept


def draw(result: Result, path: Path) -> None:
    """Lines are the calibration's best points, filled marks the settings as timed in the rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ks = result["grid"]["k"]
    columns = 2 if len(ks) > 1 else 1
    lines = (len(ks) + columns - 1) // columns
    figure, axes = pyplot.subplots(lines, columns, figsize=(7.2 * columns, 4.9 * lines), squeeze=False)
    colours = colours_of(result)
    handles: Dict[str, Any] = {}
    floor = min(TICKS)
    for place, k in enumerate(ks):
        axis = axes[place // columns][place % columns]
        for engine, points in result["points"].items():
            ours = any(row["ours"] for row in result["rows"] if row["engine"] == engine)
            line = [(time, lost(recall)) for time, recall in front(points[str(k)]) if recall >= floor]
            marks = [(row["us_p50"], lost(row["recall"])) for row in result["rows"] if (row["engine"], row["k"]) == (engine, k)]
            # Ours has a point for each target only: the marks are its line.
            line = front_of(marks) if ours else line
            if not line and not marks:
                continue
            handle, = axis.plot(*zip(*line), color=colours[engine], linewidth=2.6 if ours else 1.2, zorder=3 if ours else 2,
                                label=engine) if line else axis.plot([], [], color=colours[engine], label=engine)
            if marks:
                axis.plot(*zip(*marks), linestyle="none", marker="o", markersize=7 if ours else 4.5, color=colours[engine],
                          zorder=4 if ours else 2)
            handles.setdefault(engine, handle)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(lost(floor), lost(1.0))
        axis.set_yticks([lost(tick) for tick in TICKS] + [lost(1.0)], [f"{tick:g}" for tick in TICKS] + ["1"])
        axis.yaxis.set_minor_locator(LogLocator(subs=()))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f} µs" if value < 1000 else f"{value / 1000:g} ms"))
        axis.grid(True, which="major", color="#dddddd", linewidth=0.8)
        axis.grid(True, axis="x", which="minor", color="#f0f0f0", linewidth=0.5)
        axis.set_title(f"k = {k}")
        axis.set_ylabel("recall")
        axis.set_xlabel("median time per query, log scale")
    for place in range(len(ks), lines * columns):
        axes[place // columns][place % columns].set_visible(False)
    about = result["data"]
    figure.suptitle(f"{about['name']}: recall against time per query, one thread (up and left is better)")
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=5, frameon=False)
    legend_inches = 0.15 + 0.23 * ((len(handles) + 4) // 5)
    figure.tight_layout(rect=(0, legend_inches / figure.get_figheight(), 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def lost(recall: float) -> float:
    """1 - recall for a logarithmic axis whose end, 0.00005, stands for no loss at all."""
    return max(1 - recall, 5e-5)


def colours_of(result: Result) -> Dict[str, str]:
    ours = {row["engine"] for row in result["rows"] if row["ours"]}
    own, others = iter(OURS), iter(PALETTE)
    return {engine: next(own, "#d62728") if engine in ours else next(others, "#333333") for engine in result["points"]}
