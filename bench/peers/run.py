#!/usr/bin/env python3
# run.py - gathered products, or layers of them, through other libraries and through gathermm, in turns: `run.py --help`.
# SPDX-License-Identifier: MIT
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

import cases
import report
from peer_list import PEERS

HERE = pathlib.Path(__file__).resolve().parent
LIBRARIES = [peer.name for peer in PEERS]
PLOT_SUFFIXES = [".svg", ".png", ".pdf"]
# Every library's own name for the number of its threads.
THREAD_VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "MKL_NUM_THREADS"]
# NumPy asks for huge pages for large arrays; with this all others that call malloc do.
HUGE_PAGES = "glibc.malloc.hugetlb=1"
# Waiting threads are busy ones, so one more program on the processors changes times tenfold.
BUSY_LOAD = 0.3


def checked(parse):
    """An argparse type that shows why a value is refused."""
    def convert(text):
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return convert


def names(known):
    """Keeps the text, which measure.py parses again, once it is seen to be right."""
    def parse(text):
        cases.parse_names(text, known)
        return text
    return checked(parse)


def one_or_more(text):
    counts = cases.parse_counts(text)
    if len(counts) != 1:
        raise ValueError(f"'{text}' is not one number")
    return counts[0]


def plot_file(text):
    if pathlib.Path(text).suffix not in PLOT_SUFFIXES:
        raise ValueError(f"'{text}' does not end in one of: {', '.join(PLOT_SUFFIXES)}")
    return text


def parse_arguments(arguments):
    all_names = lambda known: ",".join(getattr(entry, "name", entry) for entry in known)
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Time gathered products, or layers of them, through other libraries and gathermm, in turns.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--layers", action="store_true",
                        help="whole layers: gate, up, SiLU, down, and the weighted sum of given experts")
    parser.add_argument("--shapes", type=names(cases.SHAPES), default=all_names(cases.SHAPES), metavar="LIST")
    parser.add_argument("--tokens", type=checked(cases.parse_counts), metavar="LIST",
                        help="instead of each shape's own")
    parser.add_argument("--formats", type=names(cases.FORMATS), default=all_names(cases.FORMATS), metavar="LIST")
    parser.add_argument("--activations", type=names(["f32", "f16", "bf16"]), default="f32,f16,bf16", metavar="LIST")
    parser.add_argument("--libraries", type=names(LIBRARIES), default=all_names(LIBRARIES), metavar="LIST")
    parser.add_argument("--threads", type=checked(cases.parse_counts), default="1,2", metavar="LIST",
                        help="a process is started for each number")
    parser.add_argument("--repetitions", type=checked(one_or_more), default=25, help="at most, in a case")
    parser.add_argument("--seconds", type=float, default=10.0, help="for a case, after which no repetition begins")
    parser.add_argument("--limit", type=float, default=20.0,
                        help="leave out a library whose time for fewer tokens foretells more seconds than this a call")
    parser.add_argument("--cache", type=int, default=0, metavar="MIB",
                        help="last-level cache to exceed; 0: what the system says")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=pathlib.Path, default=HERE.parents[1] / "build/peers",
                        help="where `make bench-peers` has built the other libraries")
    parser.add_argument("--json", metavar="FILE", help="write all results; - is standard output, instead of the table")
    parser.add_argument("--csv", metavar="FILE", help="the same as CSV")
    parser.add_argument("--markdown", metavar="FILE", help="gathermm and the fastest other library of each case")
    parser.add_argument("--plot", type=checked(plot_file), metavar="FILE",
                        help=f"bars of the ratios: {', '.join(PLOT_SUFFIXES)} (needs matplotlib)")
    return parser.parse_args(arguments)


class Progress:
    """One line on a terminal; nothing elsewhere."""

    def __init__(self, total):
        self.total, self.begun, self.shown = total, 0, sys.stderr.isatty()

    def show(self, text):
        if self.shown:
            filled = 20 * (self.begun - 1) // self.total
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            line = f"[{'#' * filled}{'.' * (20 - filled)}] {self.begun}/{self.total} {text}"
            print("\r\x1b[K" + line[:width - 1], end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def what(options):
    return "layer" if options.layers else "product"


def worker(options, threads):
    """measure.py on the first `threads` processors that this process may use: MLX has no other way to be limited."""
    processors = sorted(os.sched_getaffinity(0))[:threads]
    config = {"what": what(options), "threads": threads, "folder": str(options.folder.resolve()),
              "libraries": options.libraries.split(","),
              "shapes": options.shapes, "formats": options.formats, "activations": options.activations,
              "tokens": options.tokens, "cache_bytes": options.cache << 20, "seed": options.seed,
              "repetitions": options.repetitions, "min_repetitions": min(3, options.repetitions),
              "seconds": options.seconds, "limit_s": options.limit}
    environment = {**os.environ, **{name: str(threads) for name in THREAD_VARIABLES}, "GLIBC_TUNABLES": HUGE_PAGES}
    return subprocess.Popen([sys.executable, str(HERE / "measure.py"), json.dumps(config)], env=environment,
                            stdout=subprocess.PIPE, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, processors))


class Results:
    """What the workers said."""

    def __init__(self):
        self.rows, self.versions, self.notes, self.failed = [], {}, {}, False

    def take(self, message, progress):
        kind = message.pop("kind")
        if kind == "result":
            self.rows.append(message)
        elif kind == "library":
            self.versions[message["name"]] = message["version"]
        elif kind == "missing":
            self.note(f"{message['library']} is left out: {message['reason']}", None)
        elif kind == "left_out":
            self.note(f"{message['variant']}: {message['reason']}", message["case"])
        elif kind == "wrong":
            self.failed = True
            self.note(f"{message['variant']} is WRONG: {message['error_over_bound']:.3g} times its bound",
                      message["case"])
        elif kind == "case":
            progress.begun += 1
        elif kind == "step":
            progress.show(f"{message['case']}: {message['doing']}")

    def note(self, text, case):
        where = self.notes.setdefault(text, [])
        if case not in where:
            where.append(case)

    def notes_text(self):
        """Each note once, with where it holds."""
        lines = []
        for text, where in self.notes.items():
            places = [case for case in where if case]
            shown = "" if not places else f" ({places[0]})" if len(places) == 1 else f" ({len(places)} cases)"
            lines.append(text + shown)
        return "\n".join(lines)


def run_workers(options, results):
    """0, or the exit status of a worker that did not end well."""
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        results.note(f"the machine was busy at the start (load average {load:.1f}): do not trust the times", None)
    shapes, formats = cases.parse_names(options.shapes, cases.SHAPES), cases.parse_names(options.formats, cases.FORMATS)
    count = len(cases.make_cases(shapes, formats, options.activations.split(","), options.tokens, what(options)))
    if not count:
        print("run.py: no format here takes these activations", file=sys.stderr)
        return 2
    progress = Progress(count * len(options.threads))
    for threads in options.threads:
        if threads > len(os.sched_getaffinity(0)):
            results.note(f"{threads} threads are left out: this process may use {len(os.sched_getaffinity(0))}", None)
            progress.total -= count
            continue
        with worker(options, threads) as process:
            last = ""
            try:
                for line in process.stdout:
                    message = json.loads(line)
                    last = message.get("case", last) + (": " + message["doing"] if "doing" in message else "")
                    results.take(message, progress)
            except KeyboardInterrupt:
                process.terminate()
                progress.clear()
                print("run.py: interrupted; what was measured until then follows", file=sys.stderr)
                return 130
        progress.clear()
        if process.returncode:
            print(f"run.py: the process with {threads} threads ended with status {process.returncode} ({last})",
                  file=sys.stderr)
            return 1
    return 0


def processor_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(path, text_writer):
    if path == "-":
        text_writer(sys.stdout)
        sys.stdout.flush()
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            text_writer(file)


def show(options, results):
    machine = {"processor": processor_name(), "libraries": results.versions}
    if "-" not in (options.json, options.csv, options.markdown):
        versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
        print(f"{machine['processor']}; {versions}")
        print(report.table(results.rows))
    if results.notes:
        print("\n" + results.notes_text(), file=sys.stderr)
    document = {**machine, "notes": results.notes_text().splitlines(), "results": results.rows}
    if options.json:
        write(options.json, lambda file: report.write_json(document, file))
    if options.csv:
        write(options.csv, lambda file: report.write_csv(results.rows, file))
    if options.markdown:
        write(options.markdown, lambda file: file.write(report.markdown(results.rows)))
    if options.plot:
        report.plot(results.rows, options.plot)


def main():
    options = parse_arguments(sys.argv[1:])
    results = Results()
    status = run_workers(options, results)
    if status == 2:
        return status
    try:
        show(options, results)
    except ImportError as error:
        print(f"run.py: no plot: {error}", file=sys.stderr)
        status = status or 3
    except OSError as error:
        print(f"run.py: {error}", file=sys.stderr)
        status = status or 3
    return status or (1 if results.failed else 0)


if __name__ == "__main__":
    sys.exit(main())
