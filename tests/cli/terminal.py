"""terminal.py - what a command draws on a terminal that is its standard error."""
# SPDX-License-Identifier: MIT
import fcntl
import os
import pty
import struct
import subprocess
import termios


def drawn_by(words, term="xterm", columns=80):
    """The text; standard output is thrown away."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=terminal, env={**os.environ, "TERM": term}):
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
    os.close(main)
    return drawn.decode()


def print_bar(words, total):
    """Whether a bar goes from 0 to `total` rows and is wiped in the end, and what a dumb terminal gets."""
    bar = drawn_by(words)
    print("bar:", f"0 of {total} rows" in bar, f"{total} of {total} rows" in bar, "newline:", "\n" in bar, "wiped:",
          not bar.split("\r")[-2].strip())
    print("dumb:", repr(drawn_by(words, "dumb")))
