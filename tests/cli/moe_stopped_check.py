"""moe_stopped_check.py - stop `gathermm moe` on the way; let it replace files; run it on a terminal."""
# SPDX-License-Identifier: MIT
import os
import pty
import signal
import subprocess
import time

MODEL = os.path.join(os.environ["ROOT"], "examples", "tinymoe")
FILES = ["--output", "a.npy", "--json", "b.json", "--plot", "c.svg"]
SHORT = ["gathermm", "moe", MODEL, "--layers", "1", "--seconds", "0.001", "--tokens", "1,2", "--threads", "1"]


def left():
    return sorted(os.listdir("."))


def stop(number):
    """End a run that would take a minute as soon as its files have begun."""
    words = ["gathermm", "moe", MODEL, "--layers", "1", "--seconds", "60", "--threads", "1", *FILES]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and len(left()) < 3:
            time.sleep(0.005)
        whole = [name for name in left() if name in FILES]
        process.send_signal(number)
        output, errors = process.communicate()
    print(f"ended by signal {-process.returncode}; whole on the way: {whole}; stdout '{output}', "
          f"stderr '{errors.strip()}'; left: {left()}")


def draw(term):
    """What a run writes on a terminal."""
    main, terminal = pty.openpty()
    with subprocess.Popen(SHORT, stdout=subprocess.DEVNULL, stderr=terminal, env={**os.environ, "TERM": term}):
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


for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    stop(signal_number)

for name in ("a.npy", "b.json", "c.svg"):
    with open(name, "w", encoding="utf-8") as old:
        old.write("old")
done = subprocess.run(SHORT + FILES, check=True, capture_output=True)
print("replaced:", all(os.path.getsize(name) > 100 for name in left()), left())
print("nothing on stderr of a pipe:", done.stderr == b"")

bar = draw("xterm")
print("bar:", "0 of 2 rows" in bar, "2 of 2 rows" in bar, "newline:", "\n" in bar, "wiped:",
      not bar.split("\r")[-2].strip())
print("dumb:", repr(draw("dumb")))
