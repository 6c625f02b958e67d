# SPDX-License-Identifier: Apache-2.0
# What the scripts of this directory share. Sourced, not run.
#
# Sets ROOT (the checkout) and CACHE (where things that can be made again are kept), and moves to
# ROOT. A script that needs a temporary directory calls make_work_dir; it and everything started
# with keep_pid are gone when the script ends, however it ends.

set -euo pipefail

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

_pids=()
_work_dir=''

keep_pid() { _pids+=("$1"); }

# make_work_dir [DIRECTORY]: sets WORK. Without an argument a new directory that is removed at the
# end; /tmp, since the path of a Unix socket holds 107 characters.
make_work_dir() {
  _work_dir="$(mktemp -d /tmp/ledgerd-XXXXXX)"
  WORK="$_work_dir"
}

_clean_up() {
  local status=$?
  trap - EXIT INT TERM
  local pid
  for pid in "${_pids[@]+"${_pids[@]}"}"; do
    if kill -TERM "$pid" 2>/dev/null; then
      wait "$pid" 2>/dev/null || true
    fi
  done
  [ -z "$_work_dir" ] || rm -rf "$_work_dir"
  exit "$status"
}
trap _clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Bazel, with the flags that a script adds by LEDGERD_BAZEL_STARTUP and LEDGERD_BAZEL_FLAGS
# (words separated by blanks; used where several builds share a machine).
# shellcheck disable=SC2086
bazel_() {
  local command="$1"
  shift
  bazel ${LEDGERD_BAZEL_STARTUP:-} "$command" ${LEDGERD_BAZEL_FLAGS:-} --noshow_progress \
    --ui_event_filters=-info "$@"
}
