"""convert_stopped_check.py - stop `gathermm convert` on the way: signals, SIGKILL and what it leaves, a limit on file
sizes, and what --force was to replace."""
# SPDX-License-Identifier: MIT
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

from tensor_files import write_json

HIDDEN, INNER, EXPERTS = 4096, 8192, 4


def sparse_model(folder):
    """A Mixtral of one layer, whose 768 MiB of zeros take no disk."""
    os.makedirs(folder)
    header, offset, block = {}, 0, "model.layers.0.block_sparse_moe."
    shapes = {block + "gate.weight": (EXPERTS, HIDDEN)}
    for e in range(EXPERTS):
        for name, shape in (("w1", (INNER, HIDDEN)), ("w2", (HIDDEN, INNER)), ("w3", (INNER, HIDDEN))):
            shapes[f"{block}experts.{e}.{name}.weight"] = shape
    for name, (rows, columns) in shapes.items():
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [offset, offset + rows * columns * 2]}
        offset += rows * columns * 2
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    write_json(f"{folder}/config.json",
               {"model_type": "mixtral", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 1,
                "num_local_experts": EXPERTS, "num_experts_per_tok": 2})


def without_numbers(text):
    """Process numbers have any number of digits."""
    return re.sub(r"[0-9]+", "#", text)


def listing(folder):
    """What is there, without the numbers of processes."""
    return [without_numbers(name) for name in sorted(os.listdir(folder))]


def stop(number, *options):
    """Send a signal when the output has begun to grow."""
    words = ["gathermm", "convert", "model", "work/out", "--to", "mlx", *options]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not any(".gathermm-" in name for name in os.listdir("work")):
            time.sleep(0.002)
        time.sleep(0.05)
        process.send_signal(number)
        output, errors = process.communicate()
    print(f"{' '.join(options)}: ended by signal {-process.returncode}; stdout '{output}', stderr '{errors.strip()}'")


def limited(limit):
    """Run where no file may be larger; say how it ends."""
    done = subprocess.run(["gathermm", "convert", "small", "work/out", "--to", "mlx"], text=True, check=False,
                          capture_output=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    print(f"files of at most {limit} bytes: [{done.returncode}], the reason is said: {'File too large' in done.stderr};",
          f"left: {listing('work')}")


def content(folder):
    """Names and bytes of a folder."""
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read()
    return found


os.mkdir("work")
sparse_model("model")
stop(signal.SIGINT)
stop(signal.SIGTERM, "--quantize", "affine", "--threads", "1")
print("left:", listing("work"))

small = ["gathermm", "convert", "small", "work/out", "--to", "mlx", "--quiet"]
shutil.copytree("models/gpt_oss_hf", "small")
subprocess.run(small, check=True)
old = content("work/out")
stop(signal.SIGINT, "--force")
print("left:", listing("work"), "as it was:", content("work/out") == old)
stop(signal.SIGKILL, "--force")
print("left:", listing("work"), "as it was:", content("work/out") == old)

# The next run says what that one left, and one with --force removes it.
done = subprocess.run(small, text=True, check=False, capture_output=True)
print(f"[{done.returncode}]", without_numbers(done.stderr), listing("work"))
subprocess.run([*small, "--force"], check=True)
print(listing("work"), "the same again:", content("work/out") == old)

# Killed between two renames: the old output gets its name back.
os.rename("work/out", "work/.out.gathermm-old-999999999")
done = subprocess.run(small, text=True, check=False, capture_output=True)
print(f"[{done.returncode}]", done.stderr, listing("work"))
shutil.rmtree("work/out")
for size in (1000, 20000, 60000):
    limited(size)

# Memory does not grow with the model: 768 MiB of weights, and far less in memory, mapped pages included. AddressSanitizer
# would keep what is freed.
environment = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}
with subprocess.Popen(["gathermm", "convert", "model", "work/out", "--to", "mlx", "--quiet"], env=environment) as process:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
most = usage.ru_maxrss >> (20 if sys.platform == "darwin" else 10)
print(f"[{process.returncode}] at most 160 MiB of memory:", most <= 160 or most)
