# test_package_processes.py - forked processes, and the end of the interpreter: threads in calls, objects alive.
# SPDX-License-Identifier: MIT
import subprocess
import sys

import pytest

BEGIN = """
import os, sys, threading, time
import numpy as np
import gathermm
a, b = np.ones((256, 1024), np.float32), np.ones((1024, 512), np.float32)
two = gathermm.Context(threads=2)
"""


def run(program, times=1):
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


# Not of the interpreter only: after a fork OpenMP's threads are the parent's, and the child works without them.
@pytest.mark.parametrize("context", ["None", "two", "gathermm.Context(threads=1)"])
def test_fork_after_threads(context):
    run(f"""
gathermm.gather_mm(a, b, context=two)
child = os.fork()
good = bool((gathermm.gather_mm(a, b, context={context}) == 1024).all())
if child == 0:
    os._exit(0 if good else 1)
raise SystemExit(os.waitpid(child, 0)[1] or not good)
""")


def test_fork_before_threads():
    run("""
child = os.fork()
good = bool((gathermm.gather_mm(a, b, context=two) == 1024).all())
if child == 0:
    os._exit(0 if good else 1)
raise SystemExit(os.waitpid(child, 0)[1] or not good)
""")


def test_multiprocessing_by_fork():
    run("""
import multiprocessing
def work(n):
    return float(gathermm.gather_mm(a, b)[0, 0]) + n
gathermm.gather_mm(a, b, context=two)
import warnings
warnings.simplefilter("ignore")
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map_async(work, range(9)).get(50) == [1024.0 + n for n in range(9)]
""")


DAEMONS = """
def work():
    while True:
        {call}
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""


@pytest.mark.parametrize("call", [
    "gathermm.gather_mm(a, b)", "gathermm.gather_mm(a[:4, :8], b[:8, :8]); gathermm.Context(threads=2)",
    "gathermm.quantize(a)", "gathermm.info()"])
def test_exit_while_threads_compute(call):
    run(DAEMONS.format(call=call), times=3)


def test_exit_waits_for_threads():
    run("""
threading.Thread(target=lambda: [gathermm.gather_mm(a, b) for _ in range(20)]).start()
""")


def test_objects_alive_at_exit():
    """In modules that go late, and used while the interpreter goes."""
    run("""
import atexit
import mlx.core as mx
import gathermm.mlx
gathermm.mlx.install()
class Late:
    def __del__(self):
        assert gathermm is None or gathermm.gather_mm(self.a, self.a, context=self.context)[0, 0] == 2
late = Late()
late.a, late.context = np.ones((2, 2), np.float32), two
weights = gathermm.quantize(a)
x, y = mx.array(a), mx.array(b)
kept = [late, two, weights, gathermm._core.capsule(np.ones(4, np.float32), False), mx.gather_mm(x, y),
        gathermm.gather_mm(x, y), memoryview(gathermm.gather_mm(a, b))]
sys.kept = gathermm.ops.kept = mx.kept = np.kept = kept
atexit.register(lambda: gathermm.gather_mm(a, b, context=two))
gathermm.gather_mm(a, b)
""", times=3)
