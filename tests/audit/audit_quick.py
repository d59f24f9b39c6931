#!/usr/bin/env python3
# audit_quick.py - `gathermm audit --quick` finds calls that wait after fork, and is through in 10 seconds all the same.
# SPDX-License-Identifier: MIT
#
# usage: audit_quick.py GATHERMM LIBRARY
import json
import subprocess
import sys
import tempfile
import time

# Starting the program is not its own time; on a machine with other work it may take long.
STARTING = 3.0


def main():
    gathermm, library = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        done = subprocess.run([gathermm, "audit", library, "--quick", "--checks", "after_fork", "--json", "-", "--repro", folder],
                              stdout=subprocess.PIPE, check=False)
        passed = time.monotonic() - begin
    run = json.loads(done.stdout)["runs"][0]
    assert done.returncode == 1, (done.returncode, run)
    assert any((f["check"], f["verdict"]) == ("after_fork", "HANG") for f in run["findings"]), run["findings"]
    assert passed < 10 + STARTING, passed
    print(f"{passed:.1f} s")


if __name__ == "__main__":
    main()
