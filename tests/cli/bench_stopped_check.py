"""bench_stopped_check.py - stop `gathermm bench` on the way; write where it cannot; run it on a terminal."""
# SPDX-License-Identifier: MIT
import os
import resource
import signal
import stat
import subprocess
import tempfile
import time

from terminal import print_bar

SHORT = ["gathermm", "bench", "--shape", "64,32,2,1", "--seconds", "0.001", "--tokens", "1", "--threads", "1",
         "--formats", "f32,nvfp4", "--activations", "f32", "--in-cache"]


def left():
    return sorted(os.listdir("."))


def stop(number):
    words = ["gathermm", "bench", "--shape", "64,32,2,1", "--seconds", "60", "--threads", "1", "--in-cache", "--json",
             "a.json", "--csv", "b.csv", "--plot", "c.svg"]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and len(left()) < 3:
            time.sleep(0.005)
        hidden = [name.startswith(".") for name in left()]
        process.send_signal(number)
        output, errors = process.communicate()
    print(f"ended by signal {-process.returncode}; hidden on the way: {hidden}; stdout '{output}', "
          f"stderr '{errors.strip()}'; left: {left()}")


for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    stop(signal_number)

# Counters of a build for coverage are files too: theirs would be too large, and be complained about.
with tempfile.TemporaryDirectory() as counters:
    limited = subprocess.run(SHORT + ["--json", "a.json", "--csv", "b.csv"], text=True, check=False,
                             capture_output=True,
                             env={**os.environ, "GCOV_PREFIX": counters, "GCOV_ERROR_FILE": "/dev/null"},
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
print(f"files of at most 100 bytes: [{limited.returncode}] {limited.stderr.strip()}; left: {left()}")
for path in ("/dev/full", "missing/a.json", "."):
    done = subprocess.run(SHORT + ["--json", path], text=True, check=False, capture_output=True)
    print(f"{path}: [{done.returncode}] {done.stderr.strip()}; left: {left()}")

# An older file is replaced through a link to it, with the permissions of a new file.
os.umask(0o022)
with open("old.json", "w", encoding="utf-8") as old:
    old.write("[]")
os.symlink("old.json", "link.json")
done = subprocess.run(SHORT + ["--json", "link.json"], check=True, capture_output=True)
print("replaced:", os.path.getsize("old.json") > 100, "a link still:", os.path.islink("link.json"),
      oct(stat.S_IMODE(os.stat("old.json").st_mode)), left())
print("nothing on stderr of a pipe:", done.stderr == b"")

print_bar(SHORT, 2)
