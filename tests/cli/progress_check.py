"""progress_check.py - run a command with a terminal as its stderr and judge what it draws.

usage: progress_check.py COMMAND IN OPTION...
"""
# SPDX-License-Identifier: MIT
import re
import subprocess
import sys

from terminal import drawn_by

COMMAND, SOURCE, OPTIONS = sys.argv[1], sys.argv[2], sys.argv[3:]


def draw(columns, *options, term="xterm"):
    """What the command writes on a terminal of that width."""
    out = f"out{columns}{len(options)}{term}"
    return drawn_by(["gathermm", COMMAND, SOURCE, out, *OPTIONS, *options], term, columns)


for columns in (40, 80, 200):
    lines = draw(columns).split("\r")
    bars = [line for line in lines if line.startswith("[")]
    print(columns, "widest:", max(map(len, lines)), "newlines:", "\n" in "".join(lines), end=" ")
    print("wiped:", not lines[-2].strip())
    print(" ", re.sub(r"  \d+:\d\d left", "", bars[-1]).rstrip())
print("quiet:", repr(draw(81, "--quiet")))
print("dumb:", repr(draw(81, term="dumb")))
piped = ["gathermm", COMMAND, SOURCE, "piped", *OPTIONS]
print("pipe:", repr(subprocess.run(piped, check=True, capture_output=True).stderr))
