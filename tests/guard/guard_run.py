# guard_run.py - run programs alone and under the guard, and check the files that it writes.
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import subprocess
import tempfile


def environment(preload, more=None):
    values = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "LD_AUDIT")}
    if preload:
        values["LD_PRELOAD"] = str(preload)
    return values | (more or {})


def plain(command, preload=None):
    """Standard output of a program that must succeed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, env=environment(preload), check=True)
    return done.stdout.decode()


def guard(gathermm, command, output, preload=None, options=(), more=None):
    """Exit status, standard output and JSON report of a program under the guard."""
    with tempfile.TemporaryDirectory() as name:
        report = pathlib.Path(name) / "report.json"
        words = [gathermm, "guard", "--output", output, "--json", report, *options, "--", *command]
        done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment(preload, more), check=False)
        assert report.exists(), done.stderr.decode()
        return done.returncode, done.stdout.decode(), json.loads(report.read_text(encoding="utf-8"))


def replay(gathermm, path, library=None):
    """Exit status and report of a call that is made again."""
    words = [gathermm, "replay", "--json", path, *(["--lib", library] if library else [])]
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, check=False)
    assert done.returncode in (0, 1), done.returncode
    return done.returncode, json.loads(done.stdout)


def run_program(program, library, compiler, folder):
    """Exit status and output of a C program that the guard wrote, with a library."""
    built = folder / "program"
    subprocess.run([compiler, "-O1", "-Wall", "-Wextra", "-Werror", program, "-o", built, library,
                    f"-Wl,-rpath,{pathlib.Path(library).parent}", "-lm", "-ldl"], check=True)
    done = subprocess.run([built], stdout=subprocess.PIPE, env=environment(None), check=False)
    return done.returncode, done.stdout.decode()


def check_files(gathermm, finding, library, clean, compiler, folder, shows=True):
    """The call goes wrong again with `library` and not with `clean`, by `gathermm replay` and by the C program."""
    path = finding["files"]
    text = pathlib.Path(path + ".txt").read_text(encoding="utf-8")
    for part in (finding["call"], "Made again in clean memory:", "Backtrace", "Environment:"):
        assert part in text, (part, text)
    status, report = replay(gathermm, path + ".gmmcall", library)
    assert status == (1 if shows else 0), report
    status, report = replay(gathermm, path + ".gmmcall", clean)
    assert status == 0 and not any(control["fails"] for control in report["controls"]), report
    program = pathlib.Path(path + ".c").read_text(encoding="utf-8")
    assert " * Made smaller for this program: " in program, program
    assert ("Nothing was made smaller" in program) == (not shows), program
    status, output = run_program(path + ".c", library, compiler, folder)
    assert status == (1 if shows else 0), output
    status, output = run_program(path + ".c", clean, compiler, folder)
    assert status == 0 and "BAD" not in output, output
