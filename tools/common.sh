# SPDX-License-Identifier: Apache-2.0
# What the scripts of this directory share. Sourced, not run.
#
# Sets ROOT (the checkout), CACHE (where things that can be made again are kept) and CALLER_DIR
# (where the caller was), and moves to ROOT. A temporary directory made with make_work_dir, and every
# process started with "&", are gone when the script ends, however it ends. A script that defines
# at_exit has it called last of all, with the exit status so far.

set -euo pipefail

CALLER_DIR="$PWD"
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
CACHE="${LEDGERD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/ledgerd}"
cd "$ROOT"

if [ -t 1 ]; then
  BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
  BOLD='' GREEN='' RED='' PLAIN=''
fi

heading() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
say() { printf '  %s\n' "$*"; }

# fail MESSAGE...: one line per argument, then exit 1.
fail() {
  printf '%s%s: %s%s\n' "$RED" "$(basename "$0")" "$1" "$PLAIN" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

_work_dir=''

# Sets WORK. In /tmp, since the path of a Unix socket holds 107 characters.
make_work_dir() {
  _work_dir="$(mktemp -d /tmp/ledgerd-XXXXXX)"
  WORK="$_work_dir"
}

# job_runs PID: whether it is a process that this shell started with "&" and that has not ended. The
# number of one that has ended may be another process's by now: ask before sending a signal.
job_runs() { jobs -pr | grep -x "$1" >/dev/null; }

# end_job PID: ends such a process, if it runs, and returns its exit code.
end_job() {
  ! job_runs "$1" || kill -TERM "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null
}

_clean_up() {
  local status=$?
  trap - EXIT INT TERM
  local pid
  for pid in $(jobs -pr); do
    end_job "$pid" || true
  done
  [ -z "$_work_dir" ] || rm -rf "$_work_dir" || true
  ! declare -F at_exit >/dev/null || at_exit "$status" || status=$?
  exit "$status"
}
trap _clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run_bazel COMMAND ARGUMENT...: Bazel without its chatter. Where several builds share a machine,
# LEDGERD_BAZEL_STARTUP and LEDGERD_BAZEL_FLAGS hold further flags, separated by blanks.
# shellcheck disable=SC2086
run_bazel() {
  local command="$1"
  shift
  local quiet=(--noshow_progress --ui_event_filters=-info)
  [ "$command" != info ] || quiet=()
  # Its server ends when it has been idle for half a minute, unless it was there before.
  bazel --max_idle_secs=30 ${LEDGERD_BAZEL_STARTUP:-} "$command" ${LEDGERD_BAZEL_FLAGS:-} \
    "${quiet[@]+"${quiet[@]}"}" "$@"
}

# What flow-go needs.
GO_NEEDED=1.26
# Where tools/setup puts Go if the machine has none that is new enough.
GO_HOME="$CACHE/go-$GO_NEEDED"

# find_go: sets GO to a Go command of at least that version. False: there is none.
find_go() {
  local candidate version
  for candidate in "$(command -v go)" /usr/local/go/bin/go "$GO_HOME/bin/go"; do
    [ -x "$candidate" ] || continue
    # Not in a module, and no other toolchain: what is installed.
    version="$(cd / && GOTOOLCHAIN=local "$candidate" env GOVERSION 2>/dev/null)" || continue
    [[ "$version" =~ ^go([0-9]+\.[0-9]+) ]] || continue
    if printf '%s\n' "$GO_NEEDED" "${BASH_REMATCH[1]}" | sort -C -V; then
      GO="$candidate"
      return 0
    fi
  done
  return 1
}

# What the Python client needs, and where tools/setup puts it if the machine's Python lacks it.
PYCAPNP_NEEDED=2.2
PYCAPNP_HOME="$CACHE/pycapnp-$PYCAPNP_NEEDED"

# find_pycapnp: sets PYTHON to a Python with pycapnp. False: there is none.
find_pycapnp() {
  local candidate
  for candidate in "$(command -v python3)" "$PYCAPNP_HOME/bin/python"; do
    [ -x "$candidate" ] || continue
    if "$candidate" -c "import capnp, sys
version = tuple(map(int, capnp.__version__.split('.')[:2]))
sys.exit(version < tuple(map(int, '$PYCAPNP_NEEDED'.split('.'))))" 2>/dev/null; then
      PYTHON="$candidate"
      return 0
    fi
  done
  return 1
}

# start_ledgerd BINARY DIRECTORY SOCKET LOG FLAG...: starts it and returns when it serves; sets
# LEDGERD_PID. Standard error goes to LOG. Returns 1, with LOG's last lines on standard error, if it
# ends instead or does not serve within a minute. LEDGERD_WRAPPER may hold a command to run it with.
start_ledgerd() {
  local binary="$1" directory="$2" socket="$3" log="$4"
  shift 4
  LEDGERD_PID=''
  local ready
  ready="$(mktemp -u "${TMPDIR:-/tmp}/ledgerd-ready-XXXXXX")" && mkfifo -m 600 "$ready" || return 1
  # Open for reading and writing, so that opening does not wait for the other side.
  exec 8<>"$ready"
  rm -f "$ready"
  "${LEDGERD_WRAPPER[@]+"${LEDGERD_WRAPPER[@]}"}" "$binary" --triedir "$directory" \
    --socket "$socket" --ready-fd 9 "$@" 9>&8 8<&- >/dev/null 2>"$log" &
  LEDGERD_PID=$!
  local waited=0
  until read -r -t 1 -n 1 -u 8 _; do
    waited=$((waited + 1))
    if [ "$waited" -ge 60 ] || ! job_runs "$LEDGERD_PID"; then
      exec 8<&-
      end_job "$LEDGERD_PID" || true
      tail -n 5 "$log" >&2
      return 1
    fi
  done
  exec 8<&-
}

# stop_ledgerd: a clean stop of the one that start_ledgerd started; returns its exit code.
stop_ledgerd() { end_job "$LEDGERD_PID"; }
