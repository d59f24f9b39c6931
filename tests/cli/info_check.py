"""info_check.py - what must hold of `gathermm info` on any machine."""
# SPDX-License-Identifier: MIT
import json


def load(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


info, masked, variable = load("info.json"), load("masked.json"), load("variable.json")
with open("text", encoding="utf-8") as file:
    text = file.read()

print("keys:", " ".join(info))
for key in ("features", "formats", "kernels"):
    print(f"{key}:", " ".join(info[key][0]))
assert all(set(entry) == {"name", "path", "version", "integer_bits", "cblas", "fortran"} for entry in info["blas"])
for key in ("features", "formats", "kernels", "blas"):
    for entry in info[key]:
        name = entry.get("name") or entry["mode"]
        assert name in text, f"{name} of {key} is not in the text"
assert info["version"] in text and info["build"] in text and info["cpu"] in text and info["system"] in text
for entry in info["formats"]:
    print(entry["mode"], entry["quantized"], entry["has_biases"], entry["group_sizes"], entry["bits"])
for kernel in info["kernels"]:
    assert kernel["usable"] or not kernel["used"]
choices = [(kernel["body"], kernel["reads"]) for kernel in info["kernels"] if kernel["used"]]
assert len(choices) == len(set(choices)), "two kernels are used for one body and format"
# A dot kernel that decodes is used for that too, in place of kernels that do nothing else.
usable = {(kernel["body"], kernel["reads"]) for kernel in info["kernels"] if kernel["usable"]}
assert {choice for choice in usable if choice[0] != "decode"} <= set(choices) <= usable
assert masked["cpu_mask"] == "all" and masked["GMM_CPU_MASK"] is None
assert variable["cpu_mask"] is None and variable["GMM_CPU_MASK"] == "all"
for other in (masked, variable):
    assert all(feature["masked"] or not feature["present"] for feature in other["features"])
    assert all(kernel["name"].endswith("portable") for kernel in other["kernels"] if kernel["usable"])
print("text, JSON and masks agree")
