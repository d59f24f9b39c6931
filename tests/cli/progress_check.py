"""progress_check.py - run a command with a terminal as its stderr and judge what it draws.

usage: progress_check.py COMMAND IN OPTION...
"""
# SPDX-License-Identifier: MIT
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

COMMAND, SOURCE, OPTIONS = sys.argv[1], sys.argv[2], sys.argv[3:]


def draw(columns, *options, term="xterm"):
    """What the command writes on a terminal of that width."""
    out = f"out{columns}{len(options)}{term}"
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(["gathermm", COMMAND, SOURCE, out, *OPTIONS, *options],
                          stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, "TERM": term}) as process:
        os.close(terminal)
        drawn = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:  # Linux's answer when the other side is closed
                break
            if not piece:
                break
            drawn += piece
        process.stdout.read()
    os.close(main)
    return drawn.decode()


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
