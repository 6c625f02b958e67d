#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures flow-go's ledger service and ledgerd side by side and prints one Markdown table.

    bazel run --config=opt //bench:compare -- --registers 1000000

Workloads: the cases of cases.txt, each once per round on either side, which one first changing from
round to round. A figure is the median over the rounds of the case's p50, with the samples that
cases.txt names spread over the rounds. Both sides are driven by a program of their own, which
starts the server: end-to-end (C++, ledgerd's client library) and flow-go/ (Go, flow-go's remote
client). Both must come to the same state and the same proof, or there is nothing to compare.

flow-go's side is built with Go 1.26 or newer from the sources beside this file, in the workspace.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

GO_NEEDED = (1, 26)

# Done by a driver on the server as a whole, so not repeated round by round.
ONCE = {"load", "memory", "restart", "core-read"}

# Of floor-bench and hash-bench: what bounds the figures on this machine.
FLOORS = {"SocketPing": "socket ping", "CapnpPing/1": "bare Cap'n Proto ping",
          "BufferedPing/1": "the same over our stream",
          "BufferedPing/256": "the same, 256 in flight",
          "Sync": "append and fdatasync", "Copy/134217728": "copy of 128 MiB",
          "ScatteredRead/1073741824": "dependent read of 1 GiB",
          "HashInterior": "one SHA3-256 permutation",
          "HashInteriors/1024": "1,024 of them side by side"}

# Permutations that a register of a Set costs in a trie of 2^20 registers: 236 of its leaf's chain, 2
# of the leaf, 1 of the path, 8 of the nodes above; on a new register's account one of 0.7 leaves that
# it pushes down a few levels.
PERMUTATIONS = 247

# What was asked for, and what bounds it. The measurements behind them, other than a ratio, are of
# another machine: 2 cores, AVX-512, 1,000,000 registers.
ASKED = {
    "load": ("8x", "5 us a register: one leaf's chain each, in 8 lanes on 2 cores"),
    "memory": ("1.9x-2.9x", "172 B of data and 2.44 nodes a register"),
    "restart": ("8x", "the load's floor"),
    "initial-state": ("7x", "14 us: bare Cap'n Proto ping"),
    "has-state": ("8x", "14 us: bare Cap'n Proto ping"),
    "get-single-value": ("8x; direct: 2.5 us", "the same + 1 us"),
    "hot-10000": ("direct: 0.8 us", "0.3 us: one SHA3"),
    "in-flight-256": ("4 us each", "3.2 us: buffered Cap'n Proto stream"),
    "batch-100": ("7x", "one call + 100 x (SHA3 + descent)"),
    "get-1000": ("20x", "94 us: interleaved descents, 2 threads"),
    "get-10000": ("20x", "0.94 ms: the same"),
    "prove-1000": ("28x", "0.2 ms: the same, encoded in place"),
    "prove-10000": ("37x", "2.0 ms: the same"),
    "core-read": ("1.8x", "2.9 us: 20 scattered nodes at 140 ns"),
    "set-1": ("1.9x", "57 us: one chain, scalar; 0.26 ms: one fsync"),
    "set-100": ("7x", "0.5 ms: 100 leaves in 8 lanes, 2 cores"),
    "set-1000": ("7x", "4.9 ms: 247 permutations each x 40 ns / 2"),
    "set-10000": ("6.3x", "49 ms: the same"),
    "value-1MiB": ("11x", "memory speed: 8-11 GB/s"),
    "value-16MiB": ("11x", "memory speed"),
    "value-128MiB": ("11x", "memory speed"),
    "value-1MiB-held": ("46x", "a reference: no copy, any size"),
    "value-16MiB-held": ("600x", "a reference"),
    "value-128MiB-held": ("3700x", "a reference"),
}


class Trouble(Exception):
    """Something that the person who runs this can do something about."""


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    operation: str
    size: int
    samples: int

    def line(self, samples):
        return f"{self.name} {self.operation} {self.size} {samples}\n"


def read_cases(path):
    cases = []
    for line in pathlib.Path(path).read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            name, operation, size, samples = words
            cases.append(Case(name, operation, int(size), int(samples)))
    return cases


class Driver:
    """One side: a program that is given cases, one a line, and answers with lines of JSON."""

    def __init__(self, name, command, folder):
        self.name = name
        # A session of its own: at Ctrl-C it is told by the end of its input, and cleans up.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            start_new_session=True, env={**os.environ, "TMPDIR": folder})
        self.set_up = self._answer()
        self.fingerprint = None

    def measure(self, case, samples):
        """The results of one case: transport to fields."""
        self.process.stdin.write(case.line(samples))
        results = {}
        while True:
            answer = self._answer()
            if "done" in answer:
                return results
            if "case" in answer:
                results[answer["transport"]] = answer
            elif "base" in answer:
                self.fingerprint = (answer["base"], answer["proof_sha3"])

    def end_input(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Trouble(f"{self.name} ended with status {self.process.wait()}; see above")
        return json.loads(line)


def go_version(text):
    """go1.26.8 -> (1, 26); None if it is no release."""
    found = re.match(r"go(\d+)\.(\d+)", text.strip())
    return (int(found[1]), int(found[2])) if found else None


def find_go():
    """A Go program that is new enough. Raises Trouble that says what is missing."""
    seen = []
    for candidate in [shutil.which("go"), "/usr/local/go/bin/go"]:
        if candidate is None or not os.access(candidate, os.X_OK):
            continue
        # Not in a module, and no other toolchain: what is installed.
        told = subprocess.run([candidate, "env", "GOVERSION"], cwd="/", text=True,
                              stdout=subprocess.PIPE, env={**os.environ, "GOTOOLCHAIN": "local"})
        version = go_version(told.stdout)
        if version is not None and version >= GO_NEEDED:
            return candidate
        seen.append(f"{candidate} is {told.stdout.strip() or 'broken'}")
    needed = ".".join(map(str, GO_NEEDED))
    raise Trouble(f"Go {needed} or newer is missing ({'; '.join(seen) or 'no go on the PATH'}): "
                  "install it, or give --flow-go no")


def build_flow_go(folder):
    """The service and its driver, as paths. Minutes the first time; then Go's cache has it."""
    go = find_go()
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if workspace is None:
        raise Trouble("the workspace is unknown: use `bazel run //bench:compare`")
    sources = pathlib.Path(workspace, "bench", "flow-go")
    service, driver = (str(pathlib.Path(folder, name)) for name in ("flow-go-ledger", "driver"))
    print("building flow-go's side: minutes the first time ...", file=sys.stderr)
    for output, package in ((service, "github.com/onflow/flow-go/cmd/ledger"), (driver, ".")):
        built = subprocess.run([go, "build", "-o", output, package], cwd=sources)
        if built.returncode != 0:
            raise Trouble("flow-go's side does not build; see above")
    return service, driver


def measure_all(drivers, cases, rounds):
    """(case name, transport) to the list of its results."""
    results = {}
    for case in cases:
        once = case.operation in ONCE
        print(f"{case.name} ...", file=sys.stderr)
        for turn in range(1 if once else rounds):
            samples = case.samples if once else -(-case.samples // rounds)
            for driver in drivers if turn % 2 == 0 else reversed(drivers):
                for transport, result in driver.measure(case, samples).items():
                    results.setdefault((case.name, transport), []).append(result)
        if case.operation == "load":
            fingerprints = {driver.fingerprint for driver in drivers}
            if len(fingerprints) != 1:
                raise Trouble("the two sides came to different states or proofs: "
                              f"{[(d.name, d.fingerprint) for d in drivers]}")
    return results


def measure_floors(programs):
    """Name to microseconds."""
    found = {}
    names = "|".join(f"^{name}($|/)" for name in FLOORS)
    for program in programs:
        told = subprocess.run([program, "--benchmark_format=json", f"--benchmark_filter={names}"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if told.returncode != 0:
            raise Trouble(f"{program} ended with status {told.returncode}")
        for one in json.loads(told.stdout)["benchmarks"]:
            for name, words in FLOORS.items():
                if one["name"].split("/real_time")[0].split("/iterations")[0] == name:
                    found[words] = one["real_time"] / 1e3  # Nanoseconds.
    if len(found) != len(FLOORS):
        raise Trouble(f"of the floors only {', '.join(found)} were measured")
    return found


def figure(results, field="p50_us"):
    """(what a row compares, its text); None where nothing was measured."""
    if not results:
        return None
    if "bytes" in results[0]:
        value = results[0]["bytes"]
        return (value, f"{value / 2**20:,.0f} MiB") if field == "p50_us" else None
    if field not in results[0]:
        return None
    values = [result[field] for result in results]
    value = statistics.median(values)
    if field != "p50_us" or len(values) == 1:
        return value, duration(value)
    return value, f"{duration(value)} ({spread(values)})"


def spread(values):
    """How far rounds are apart: half of the range, in parts of the median."""
    return f"±{(max(values) - min(values)) / 2 / statistics.median(values):.0%}"


def hashing_floor(case, floors, processors):
    """What hashing alone takes on this machine, or ""."""
    if case.operation not in ("load", "set") or case.size == 1:
        return ""
    permutation = floors["1,024 of them side by side"] / 1024
    registers = case.size if case.operation == "set" else 1
    floor = registers * PERMUTATIONS * permutation / processors
    return f"; here {duration(floor)}: {PERMUTATIONS} x {permutation * 1e3:.0f} ns / {processors}"


def duration(microseconds):
    for limit, unit, divisor in ((1e3, "us", 1), (1e6, "ms", 1e3)):
        if microseconds < limit:
            return f"{microseconds / divisor:.3g} {unit}"
    return f"{microseconds / 1e6:.3g} s"


def ratio(theirs, ours):
    return "-" if theirs is None or ours is None else f"{theirs[0] / ours[0]:.2g}x"


def table(cases, results, floors=None, processors=1):
    lines = ["| case | flow-go p50 | shm p50 | direct p50 | inline p50 | flow-go / shm "
             "| flow-go / direct | flow-go / inline | asked | flow-go p99 | shm p99 | floor |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"]
    for case in cases:
        theirs = figure(results.get((case.name, "flow-go")))
        # What has no transport (a read in the benchmark's own process) stands under shm.
        ours = results.get((case.name, "shm")) or results.get((case.name, "core"))
        shm = figure(ours)
        tails = [figure(several, "p99_us") for several in (results.get((case.name, "flow-go")), ours)]
        direct = figure(results.get((case.name, "direct")))
        inline = figure(results.get((case.name, "inline")))
        asked, floor = ASKED.get(case.name, ("", ""))
        if floors:
            floor += hashing_floor(case, floors, processors)
        texts = [case.name, *(found[1] if found else "-" for found in (theirs, shm, direct, inline)),
                 ratio(theirs, shm), ratio(theirs, direct), ratio(theirs, inline), asked,
                 *(tail[1] if tail else "-" for tail in tails), floor]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


def describe(drivers, options, load_before, floors):
    """What must be known to read the table."""
    ours = drivers[-1].set_up
    lines = [f"{options.registers:,} registers, values of {ours['value_bytes']} bytes, seed "
             f"{options.seed}, forest of {ours['forest']} tries, {options.rounds} rounds.",
             f"{ours['cpu']}, {ours['processors']} processors, {ours['kernel']}, "
             f"{platform.machine()}; load average {load_before:.1f} before the run.",
             f"ledgerd: hash kernel {ours['hash']}, CRC-32C by {ours['crc32c']}; transports "
             f"{', '.join(ours['transports'])} (load, memory and restart over the first)."]
    if len(drivers) > 1:
        theirs = drivers[0].set_up
        lines.append(f"flow-go {theirs['flow_go']} built with {theirs['go']}, gRPC over a Unix "
                     "socket. Same base state and same proof on both sides.")
    lines.append("Floors here (means: other load moves them more than a p50): " + "; ".join(
        f"{words} {duration(value)}" for words, value in floors.items()) + ".")
    lines.append("Asked, and its floors, are for 8 lanes (avx512); with 4 (avx2) about half of the gain "
                 "in the rows that hash: load, restart, set. p50 and p99 are medians over the rounds; "
                 "± is half of the p50s' range.")
    lines.append("load is per register, in-flight per call; memory is anonymous memory and the "
                 "blocks of memfds.")
    return "\n".join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--registers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="CASE,...",
                        help="these cases, and the load; default: all")
    parser.add_argument("--flow-go", choices=("yes", "no"), default="yes",
                        help="no: ledgerd alone")
    parser.add_argument("--results", metavar="FILE", help="every result, as lines of JSON")
    parser.add_argument("--markdown", metavar="FILE", help="what is printed, also into this file")
    options = parser.parse_args()
    if options.registers < 10_000 or options.rounds < 1:
        parser.error("at least 10,000 registers and one round")
    return options


def run(options):
    here = pathlib.Path.cwd()  # `bazel run` starts this among its data.
    cases = read_cases(here / "bench" / "cases.txt")
    if options.only:
        wanted = set(options.only.split(","))
        unknown = wanted - {case.name for case in cases}
        if unknown:
            raise Trouble(f"no such case: {', '.join(sorted(unknown))}")
        cases = [case for case in cases if case.name in wanted or case.operation == "load"]

    load_before = os.getloadavg()[0]
    common = [f"--registers={options.registers}", f"--seed={options.seed}", "--cases=-"]
    drivers = []
    with tempfile.TemporaryDirectory(prefix="ledgerd-compare-") as folder:
        try:
            if options.flow_go == "yes":
                service, driver = build_flow_go(folder)
                load_before = os.getloadavg()[0]
                drivers.append(Driver("flow-go", [driver, f"--service={service}", *common], folder))
            drivers.append(Driver("ledgerd", [str(here / "bench" / "end-to-end"), *common], folder))
            floors = measure_floors(
                [str(here / "bench" / name) for name in ("floor-bench", "hash-bench")])
            results = measure_all(drivers, cases, options.rounds)
        finally:
            for driver in drivers:
                driver.end_input()
            for driver in drivers:
                driver.process.wait()
    for driver in drivers:
        if driver.process.returncode != 0:
            raise Trouble(f"{driver.name} ended with status {driver.process.returncode}")

    if options.results:
        target = pathlib.Path(os.environ.get("BUILD_WORKING_DIRECTORY", "."), options.results)
        with target.open("w") as file:
            for driver in drivers:
                print(json.dumps(driver.set_up), file=file)
            for several in results.values():
                for result in several:
                    print(json.dumps(result), file=file)
    report = (describe(drivers, options, load_before, floors) + "\n\n" +
              table(cases, results, floors, drivers[-1].set_up["processors"]))
    if options.markdown:
        pathlib.Path(os.environ.get("BUILD_WORKING_DIRECTORY", "."),
                     options.markdown).write_text(report + "\n")
    print(report)


def main():
    try:
        run(parse_arguments())
    except Trouble as trouble:
        sys.exit(f"compare: {trouble}")
    except KeyboardInterrupt:
        sys.exit("compare: interrupted")


if __name__ == "__main__":
    main()
