# measure.py - check every library in a case, then time them in turns: what run.py starts once for each thread count.
# SPDX-License-Identifier: MIT
#
# Reads one JSON object (see run.py) from the command line and writes JSON lines to standard output.
import json
import pathlib
import sys
import time
import types

import numpy as np

import cases
from check import reference_check
from library import Missing
from peer_list import PEERS
from problem import Problem, Unsupported, last_level_cache_bytes
from routing import Router

# A call shorter than this is preceded by one that is not timed: threads are awake then, and code and activations in
# cache, as between the layers of a model.
WARM_BELOW_S = 0.02

# So long a pool's threads may wait busily: OpenBLAS's 2**26 cycles, libgomp's 300,000 turns of 140 (Intel since
# Skylake).
BUSY_WAIT_S = 0.03


def say(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), flush=True)


def load_libraries(settings, names):
    libraries = []
    for peer in PEERS:
        if peer.name not in names:
            continue
        try:
            libraries.append(peer(settings))
            say("library", name=peer.name, version=libraries[-1].version)
        except Missing as error:
            say("missing", library=peer.name, reason=str(error))
    return libraries


class Entry:
    """A library in a case."""

    def __init__(self, library, variant, prepared):
        self.library, self.variant, self.prepared = library, variant, prepared
        self.times = []
        self.last_s = 0.0

    def call(self, copy):
        begin = time.perf_counter_ns()
        self.prepared.run(copy % self.prepared.copies)
        self.last_s = (time.perf_counter_ns() - begin) / 1e9
        return self.last_s


def speed_key(case, variant):
    """What a library's speed depends on, but for the number of tokens."""
    return variant, case.shape.name, case.format.name, case.activations


def prepare(libraries, problem, ids, limit_s, seconds_per_row):
    """The entries that compute the case rightly and within limit_s; the others are reported."""
    case, entries = problem.case, []
    rows = case.tokens * case.shape.top_k
    for library in libraries:
        for variant in library.variants(case):
            say("step", case=str(case), doing=f"check {variant}")
            expected_s = seconds_per_row.get(speed_key(case, variant), 0.0) * rows
            if expected_s > limit_s:
                say("left_out", case=str(case), variant=variant,
                    reason=f"by its time for fewer tokens a call would take {expected_s:.2g} s (see --limit)")
                continue
            try:
                entry = Entry(library, variant, library.prepare(problem, variant))
            except Unsupported as error:
                say("left_out", case=str(case), variant=variant, reason=str(error))
                continue
            entry.prepared.load(ids)
            entry.call(0)
            worst, relative = reference_check(problem, entry.prepared, ids)
            if worst > 1:
                say("wrong", case=str(case), variant=variant, error_over_bound=worst)
                continue
            entry.error_over_bound, entry.error = worst, relative
            entries.append(entry)
    return entries


def time_in_turns(case, entries, router, rng, config):
    """Every repetition draws experts once, and runs all entries with them, in an order of its own."""
    deadline = time.monotonic() + config["seconds"]
    pool = None
    for repetition in range(config["repetitions"]):
        if repetition >= config["min_repetitions"] and time.monotonic() > deadline:
            break
        say("step", case=str(case), doing=f"repetition {repetition + 1}")
        warm_ids, ids = router.draw(case.tokens), router.draw(case.tokens)
        for index in rng.permutation(len(entries)):
            entry = entries[index]
            if config["threads"] > 1 and entry.library.pool != pool:
                time.sleep(BUSY_WAIT_S)
            pool = entry.library.pool
            if entry.last_s < WARM_BELOW_S:
                entry.prepared.load(warm_ids)
                entry.call(repetition)
            entry.prepared.load(ids)
            entry.times.append(entry.call(repetition + 1))


def report(case, entries, threads):
    ours = next((entry.times for entry in entries if entry.library.name == "gathermm"), None)
    shape = case.shape
    flop = 2.0 * case.tokens * shape.top_k * shape.k * shape.n * (3 if case.what == "layer" else 1)
    for entry in entries:
        times = np.array(entry.times)
        low, median, high = np.percentile(times, [25, 50, 75])
        say("result", what=case.what, shape=shape.name, k=shape.k, n=shape.n, experts=shape.experts, top_k=shape.top_k,
            tokens=case.tokens, format=case.format.name, activations=case.activations, threads=threads,
            library=entry.library.name, variant=entry.variant, version=entry.library.version,
            repetitions=len(times), median_s=median, min_s=float(times.min()), spread=(high - low) / median,
            ratio=float(np.median(times / np.array(ours))) if ours else None, gflop_s=flop / median / 1e9,
            error=entry.error, error_over_bound=entry.error_over_bound)


def run_case(case, libraries, config, seconds_per_row):
    if case.what == "layer" and case.format.mode and case.shape.n % case.format.group_size:
        say("left_out", case=str(case), variant="the case",
            reason=f"an expert's size {case.shape.n} is not a multiple of the {case.format.group_size} of a group")
        return
    # The seed depends on the case alone, so that a case gives the same operands whatever else is run.
    seed = [config["seed"], *str(case).encode()]
    problem = Problem(case, seed, config["cache_bytes"] or last_level_cache_bytes())
    router = Router(seed, case.shape.experts, case.shape.top_k)
    entries = prepare(libraries, problem, router.draw(case.tokens), config["limit_s"], seconds_per_row)
    time_in_turns(case, entries, router, np.random.default_rng(seed), config)
    report(case, entries, config["threads"])
    for entry in entries:
        seconds_per_row[speed_key(case, entry.variant)] = min(entry.times) / (case.tokens * case.shape.top_k)


def main():
    config = json.loads(sys.argv[1])
    settings = types.SimpleNamespace(threads=config["threads"], folder=pathlib.Path(config["folder"]))
    libraries = load_libraries(settings, config["libraries"])
    seconds_per_row = {}
    for case in cases.from_config(config):
        say("case", case=str(case))
        run_case(case, libraries, config, seconds_per_row)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
