# report.py - results as a table, CSV, JSON and a plot.
# SPDX-License-Identifier: MIT
import csv
import json

FIELDS = ["what", "shape", "k", "n", "experts", "top_k", "tokens", "format", "activations", "threads", "library",
          "variant", "version", "repetitions", "median_s", "min_s", "spread", "ratio", "gflop_s", "error", "error_over_bound"]


def seconds(value):
    """Four digits at most, with their unit."""
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if value * scale < 9999.5:
            return f"{value * scale:.{0 if value * scale >= 100 else 1}f} {unit}"
    return f"{value:.2f} s"


def subject(row):
    return row["shape"] if row["what"] == "product" else f"{row['shape']} layer"


def case_key(row):
    return subject(row), row["tokens"], row["format"], row["activations"], row["threads"]


def by_case(rows):
    """{case key: its rows}, in the order of the rows."""
    groups = {}
    for row in rows:
        groups.setdefault(case_key(row), []).append(row)
    return groups


def table(rows):
    """A block of lines for each case, the fastest first."""
    lines = []
    for (shape, tokens, format_, activations, threads), group in by_case(rows).items():
        plural = lambda n, word: f"{n} {word}" if n == 1 else f"{n} {word}s"
        lines += ["", f"{shape}, {plural(tokens, 'token')}, {format_} weights, {activations} activations, "
                  f"{plural(threads, 'thread')}",
                  f"  {'library':<22}{'median':>10}{'spread':>8}{'fastest':>10}{'ratio':>8}{'GFLOP/s':>9}{'error':>9}"]
        for row in sorted(group, key=lambda r: r["median_s"]):
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            lines.append(f"  {row['variant']:<22}{seconds(row['median_s']):>10}{row['spread'] * 100:>6.0f} %"
                         f"{seconds(row['min_s']):>10}{ratio:>8}{row['gflop_s']:>9.1f}{row['error']:>9.0e}")
    return "\n".join(lines)


def markdown(rows):
    """A table for each number of threads: gathermm's median, that of its int8 mode, and the fastest other library with its
    ratio to each."""
    lines = []
    columns = list(dict.fromkeys((row["format"], row["activations"]) for row in rows))
    for threads in dict.fromkeys(row["threads"] for row in rows):
        lines += ["", f"Threads: {threads}", "", "| shape, tokens | " +
                  " | ".join(f"{format_} x {activations}" for format_, activations in columns) + " |",
                  "|---|" + "---|" * len(columns)]
        groups = by_case([row for row in rows if row["threads"] == threads])
        for shape, tokens in dict.fromkeys(key[:2] for key in groups):
            cells = [cell(groups.get((shape, tokens, *column, threads), [])) for column in columns]
            lines.append(f"| {shape}, {tokens} | " + " | ".join(cells) + " |")
    return "\n".join(lines[1:]) + "\n"


def cell(group):
    ours = next((row for row in group if row["variant"] == "gathermm"), None)
    int8 = next((row for row in group if row["variant"] == "gathermm int8"), None)
    others = [row for row in group if row["library"] != "gathermm"]
    if not ours:
        return "-"
    text = seconds(ours["median_s"]) + (f", int8 {seconds(int8['median_s'])}" if int8 else "")
    if not others:
        return text
    best = min(others, key=lambda row: row["ratio"])
    return f"{text}; {best['variant']} {best['ratio']:.2f}" + (f", {best['ratio'] / int8['ratio']:.2f}" if int8 else "")


def write_csv(rows, file):
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({field: row[field] for field in FIELDS} for row in rows)


def write_json(document, file):
    json.dump(document, file, indent=1)
    file.write("\n")


def plot(rows, path):
    """Bars of the ratio to gathermm, a panel for each shape, number of tokens and threads. Needs matplotlib."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row["ratio"] is not None and row["variant"] != "gathermm"]
    panels = {}
    for row in rows:
        panels.setdefault((subject(row), row["tokens"], row["threads"]), []).append(row)
    libraries = list(dict.fromkeys(row["library"] for row in rows))
    colours = dict(zip(libraries, pyplot.get_cmap("tab10").colors))
    heights = [len(panel) + len(by_case(panel)) for panel in panels.values()]
    figure, axes = pyplot.subplots(max(len(panels), 1), 1, squeeze=False, sharex=True, layout="constrained",
                                   figsize=(9, 0.8 * len(panels) + 0.2 * sum(heights) + 1),
                                   height_ratios=heights or None)
    for axis, ((shape, tokens, threads), panel) in zip(axes[:, 0], panels.items()):
        position, ticks, labels = 0, [], []
        for (_, _, format_, activations, _), group in by_case(panel).items():
            for row in sorted(group, key=lambda r: r["ratio"]):
                bar = axis.barh(position, row["ratio"] - 1, left=1, color=colours[row["library"]])
                axis.bar_label(bar, [f"{row['ratio']:.2f}"], padding=2, fontsize=6)
                ticks.append(position)
                labels.append(f"{row['variant']}   {format_} x {activations}")
                position += 1
            position += 1
        axis.set_yticks(ticks, labels, fontsize=7)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.margins(x=0.1)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.axvline(1, color="black", linewidth=1)
        axis.set_title(f"{shape}, tokens: {tokens}, threads: {threads}", fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("time / time of gathermm (right of the line: slower than gathermm)")
    figure.savefig(path)
    pyplot.close(figure)
