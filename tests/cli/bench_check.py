"""bench_check.py - what must hold of the rows of `gathermm bench`: of rows.json and more.json, or of one other file; with
another argument, write rows to compare with."""
# SPDX-License-Identifier: MIT
import csv
import json
import sys
import xml.etree.ElementTree as ET

BITS = {"f32": 32, "f16": 16, "bf16": 16, "affine2": 2.5, "affine3": 3.5, "affine4": 4.5, "affine5": 5.5, "affine6": 6.5,
        "affine8": 8.5, "affine4/32": 5, "mxfp4": 4.25, "mxfp8": 8.25, "nvfp4": 4.5}
SVG = "{http://www.w3.org/2000/svg}"


def load(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def write_scaled(name, factor):
    """The rows of now.json with other times, and so little noise that only the factor counts."""
    rows = load("now.json")
    for row in rows:
        row["median_s"] *= factor
        row["spread"] = 0
        row["ceiling"] = ""
    with open(name, "w", encoding="utf-8") as file:
        json.dump(rows, file)


def check_row(row):
    assert row["min_s"] <= row["median_s"] and row["repetitions"] >= 3 and row["spread"] >= 0
    layer = row["work"] == "layer"
    operations = 2 * row["tokens"] * row["top_k"] * row["k"] * row["n"] * (3 if layer else 1)
    assert abs(row["gflop_s"] * 1e9 * row["median_s"] / operations - 1) < 1e-4

    # A token touches top_k different matrices; several between them at least as many, at most all.
    number = 4 if row["activations"] == "f32" else 2
    moved = row["tokens"] * number * (2 * row["k"] if layer else row["k"] + row["top_k"] * row["n"])
    weights = row["gbytes_s"] * 1e9 * row["median_s"] - moved
    touched = weights / (row["k"] * row["n"] * BITS[row["format"]] / 8) / (3 if layer else 1)
    most = min(row["experts_held"], row["tokens"] * row["top_k"])
    assert row["top_k"] - 1e-3 < touched < most + 1e-3, (row, touched)

    if layer:  # medians of both and of their ratio, pair by pair: of one size
        assert row["ratio_spread"] >= 0 and 0.1 < row["ratio"] / (row["products_s"] / row["median_s"]) < 10
    achieved = row["gbytes_s" if row["ceiling"] == "read" else "gflop_s"]
    assert row["ceiling"] in ("read", "fma_f32", "dot_bf16", "dot_int8")
    assert row["ceiling"] != "dot_bf16" or row["activations"] == "bf16"
    assert row["ceiling"] != "dot_int8" or row["mode"] == "int8"
    assert 0.001 < row["error"] < 0.02 if row["mode"] == "int8" else row["error"] == 0
    assert abs(row["ceiling_share"] * row["ceiling_rate"] / achieved - 1) < 1e-4


def points(name):
    return [title.text for title in ET.parse(name).getroot().iter(SVG + "title")]


if sys.argv[1:] == ["layers.json"]:
    assert all(", whole layer, " in point for point in points("layers.svg"))
if sys.argv[1:] in (["prepared.json"], ["int8.json"], ["layers.json"]):
    for one in load(sys.argv[1]):
        check_row(one)
        print(one["format"], one["tokens"], one["mode"], one["weights"], *([one["work"]] if one["work"] != "product" else []))
    sys.exit()
if sys.argv[1:]:
    write_scaled("slow.json", 1000)
    write_scaled("fast.json", 0.001)
    sys.exit()

rows, more = load("rows.json"), load("more.json")
for one in rows + more:
    check_row(one)
with open("rows.csv", encoding="utf-8", newline="") as table:
    lines = list(csv.DictReader(table))
assert [list(line) for line in lines] == [list(row) for row in rows]
for line, row in zip(lines, rows):
    for key, value in row.items():
        assert line[key] == value if isinstance(value, str) else json.loads(line[key]) == value, key
for name, expected in (("rows.svg", rows), ("more.svg", more)):
    assert len(points(name)) == len(expected)
    assert all(point.startswith("custom, ") for point in points(name))
with open("text", encoding="utf-8") as file:
    assert sum(line.endswith(("read\n", "fma_f32\n", "dot_bf16\n")) for line in file) == len(rows)
print(len(rows), "rows:", " ".join(sorted({row["format"] for row in rows})))
keys = ("preset", "experts", "tokens", "format", "activations", "mode", "layout", "in_cache")
assert len(more) == 6 * len({row["threads"] for row in more})
for line in dict.fromkeys(" ".join(str(row[key]) for key in keys) for row in more):
    print(line)
print("JSON, CSV, table and plot agree")
