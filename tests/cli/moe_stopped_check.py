"""moe_stopped_check.py - stop `gathermm moe` on the way; let it replace files; run it on a terminal."""
# SPDX-License-Identifier: MIT
import os
import signal
import subprocess
import time

from terminal import print_bar

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


for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    stop(signal_number)

for name in ("a.npy", "b.json", "c.svg"):
    with open(name, "w", encoding="utf-8") as old:
        old.write("old")
done = subprocess.run(SHORT + FILES, check=True, capture_output=True)
print("replaced:", all(os.path.getsize(name) > 100 for name in left()), left())
print("nothing on stderr of a pipe:", done.stderr == b"")

print_bar(SHORT, 2)
