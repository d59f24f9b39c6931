"""stopped_check.py - stop `gathermm quantize` on the way, by signals and by a limit on file sizes."""
# SPDX-License-Identifier: MIT
import os
import resource
import signal
import subprocess
import time

from tensor_files import tensor, write

# A sparse file of 8 GiB of zeros takes no disk to read and seconds to quantize, long enough to be met on the way.
ROWS, COLUMNS = 1 << 20, 2048


def sparse(path):
    write(path, {"a.weight": ("F32", [ROWS, COLUMNS], b"")})
    with open(path, "r+b") as file:
        content = file.read()
        text = content[8:].replace(b"[0, 0]", f"[0, {ROWS * COLUMNS * 4}]".encode())
        text += b" " * (-len(text) % 8)
        file.seek(0)
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + ROWS * COLUMNS * 4)


def hidden(folder):
    return [name for name in os.listdir(folder) if "gathermm" in name]


def stop(source, out, number):
    words = ["gathermm", "quantize", source, f"work/{out}", "--mode", "affine", "--threads", "1"]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not hidden("work"):
            time.sleep(0.005)
        grown = hidden("work")
        time.sleep(0.2)
        process.send_signal(number)
        output, errors = process.communicate()
    print(f"{out}: {len(grown)} hidden name on the way; ended by signal {-process.returncode}")
    print(f"  stdout '{output}', stderr '{errors.strip()}'; left: {os.listdir('work')}")


os.mkdir("work")
sparse("sparse.safetensors")
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    stop("sparse.safetensors", f"file-{name}", getattr(signal, name))
os.mkdir("folder")
os.rename("sparse.safetensors", "folder/model.safetensors")
stop("folder", "folder-SIGINT", signal.SIGINT)
os.remove("folder/model.safetensors")

write("in.safetensors", {"a.weight": tensor("F32", 64, 1024), "b": tensor("F32", 1024)})
os.rename("in.safetensors", "folder/model.safetensors")
with open("folder/tokenizer.json", "wb") as tokenizer:
    tokenizer.write(bytes(300000))
for limit in (4096, 100000):
    words = ["gathermm", "quantize", "folder", "work/limited", "--mode", "affine"]
    done = subprocess.run(words, text=True, check=False, capture_output=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    print(f"files of at most {limit} bytes: [{done.returncode}], the reason is said: {'File too large' in done.stderr}")
    print(f"  left: {os.listdir('work')}")

# What was ignored when the command began stays ignored, as under nohup.
process = subprocess.Popen(["gathermm", "quantize", "folder", "work/nohup", "--mode", "affine", "--quiet"],
                           preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
process.send_signal(signal.SIGHUP)
print(f"an ignored signal: [{process.wait()}], {sorted(os.listdir('work'))}")
