# shellcheck shell=bash
# What the examples' `run` scripts share, on top of scripts/lib.sh: the scene that stays up, the binary, asserting on what
# it says, and load. Each script is called in one of three ways:
#
#   run                 all of it: sets up, asserts, cleans up
#   run --stay DIR      sets up the scene and leaves it; `. DIR/env` is what one needs to try things by hand
#   run --end DIR       ends what `--stay DIR` began

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# A load that nobody stops ends by itself.
readonly LOAD_SECONDS_MAX=300
readonly REQUEST_SECONDS_MAX=10
# Each client opens a connection, asks this often on it, and begins again.
readonly REQUESTS_PER_CONNECTION=20
readonly LOAD_CLIENTS=2

# How long a scene may take to be set up (programs may have to be built first), and to end.
readonly SCENE_UP_SECONDS_MAX=900
readonly SCENE_DOWN_SECONDS_MAX=120

LOAD_TOTAL=0
LOAD_PIDS=()
# The folder of a scene that stays; empty where all is run.
SCENE_DIR=

# example ARGUMENT…: what every `run` begins with, given its own arguments.
example() {
  case "${1:-}" in
    "") [ $# = 0 ] || usage ;;
    --stay | --end | --keep) [ -n "${2:-}" ] || usage ;;
    *) usage ;;
  esac
  [ $# -le 2 ] || usage
  case "${1:-}" in
    --stay) scene_stay "$2"; exit 0 ;;
    --end) scene_end "$2"; exit 0 ;;
    # What --stay starts: it has set the scene up, and cleans up when it is told to end.
    --keep) SCENE_DIR=$2 ;;
  esac
}

usage() {
  say "usage: $0 [--stay DIR | --end DIR]"
  exit 2
}

# Whose process it is is said by its start time, for an id is given to others later.
process_started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

scene_stay() {
  local dir=$1 keeper
  [ ! -e "$dir" ] || [ -z "$(ls -A "$dir" 2>/dev/null || echo no)" ] || fail "$dir is there already" "$0 --end $dir"
  (umask 077 && mkdir -p "$dir")
  dir=$(cd "$dir" && pwd)
  setsid "$0" --keep "$dir" >"$dir/scene.log" 2>&1 </dev/null &
  keeper=$!
  echo "$keeper $(process_started "$keeper")" >"$dir/keeper"
  wait_for "$SCENE_UP_SECONDS_MAX" scene_is_decided "$dir" "$keeper" || true
  if [ ! -e "$dir/env" ]; then
    tail -n 20 "$dir/scene.log" >&2
    scene_end "$dir"
    fail "the scene did not come up (its log's end is above)"
  fi
  say "the scene is up; to try it: . $dir/env"
  say "to end it: $0 --end $dir"
}

scene_is_decided() { [ -e "$1/env" ] || ! kill -0 "$2" 2>/dev/null; }

scene_end() {
  local dir=$1 keeper started
  [ -e "$dir/keeper" ] || fail "there is no scene in $dir"
  read -r keeper started <"$dir/keeper"
  [[ $keeper =~ ^[0-9]+$ && $started =~ ^[0-9]+$ ]] || fail "$dir/keeper does not name a process"
  if [ "$(process_started "$keeper")" = "$started" ]; then
    kill "$keeper" 2>/dev/null || true
    wait_for "$SCENE_DOWN_SECONDS_MAX" scene_is_gone "$keeper" "$started" \
      || fail "the scene's process $keeper does not end; its log is $dir/scene.log"
  fi
  rm -rf -- "$dir/env" "$dir/keeper" "$dir/scene.log"
  rmdir "$dir" || fail "something else is in $dir"
}

scene_is_gone() { [ "$(process_started "$1")" != "$2" ]; }

# example_dir: the folder in $WORK: a new one, or the scene's that stays. Removed at the end.
example_dir() {
  if [ -z "$SCENE_DIR" ]; then
    work_dir
    return 0
  fi
  WORK=$SCENE_DIR/scene
  mkdir -m 700 "$WORK"
  on_exit rm -rf -- "$WORK"
}

# scene_up VARIABLE…: the scene is set up in the working folder. Where it is to stay, these variables are told and all else
# waits until it is ended; otherwise nothing happens.
scene_up() {
  [ -n "$SCENE_DIR" ] || return 0
  local name
  {
    printf '# Source it: the scene of %q, until it is ended.\n' "$0"
    for name in "$@"; do printf 'export %s=%q\n' "$name" "${!name}"; done
    # shellcheck disable=SC2016 # the path of whoever sources it
    printf 'export PATH=%q:"$PATH"\n' "$(dirname "$LOCKGATE")"
    printf 'cd %q || return\n' "$PWD"
  } >"$SCENE_DIR/env.new"
  mv "$SCENE_DIR/env.new" "$SCENE_DIR/env"
  start /dev/null sleep infinity
  wait "$STARTED_PID"
}

# lockgate_binary: builds lockgate (nothing to do when it is fresh) and prints its path.
# LOCKGATE_BINARY=<path> names one that is built already.
lockgate_binary() {
  if [ -n "${LOCKGATE_BINARY:-}" ]; then
    [ -x "$LOCKGATE_BINARY" ] || fail "LOCKGATE_BINARY=$LOCKGATE_BINARY is not a program"
    echo "$LOCKGATE_BINARY"
    return 0
  fi
  (cd "$LOCKGATE_ROOT" && cargo build -q --release -p lockgate >&2) || fail "lockgate could not be built"
  echo "${CARGO_TARGET_DIR:-$LOCKGATE_ROOT/target}/release/lockgate"
}

# lockgate_exits CODE ARGUMENT…: runs $LOCKGATE, its stdout in $WORK/out and its stderr in $WORK/err, and wants that
# exit code.
lockgate_exits() {
  local wanted=$1 got=0 from=$EPOCHREALTIME
  shift
  "$LOCKGATE" --no-color "$@" >"$WORK/out" 2>"$WORK/err" || got=$?
  say "lockgate $*: exit $got, $(milliseconds_since "$from") ms"
  [ "$got" = "$wanted" ] || { cat "$WORK/err" "$WORK/out" >&2; fail "lockgate $*: wanted exit $wanted, got $got"; }
}

milliseconds_since() { echo "$(((${EPOCHREALTIME/./} - ${1/./}) / 1000))"; }

# says out|err TEXT: that the last lockgate command said it.
says() {
  grep -qF -- "$2" "$WORK/$1" || { cat "$WORK/$1" >&2; fail "lockgate's $1 does not say '$2'"; }
}

# out_jq FILTER: the last command's stdout, all of its JSON objects as one list.
out_jq() { jq -ers "$1" "$WORK/out"; }

# load_start FILE URL: requests without a pause, until load_stop. Every answer is a line of FILE:
# curl's exit code, the status, the release that answered.
load_start() {
  local file=$1 client
  shift
  : >"$file"
  rm -f "$file.stop"
  LOAD_FILE=$file
  LOAD_PIDS=()
  for ((client = 0; client < LOAD_CLIENTS; client++)); do
    start "$file" load_client "$file.stop" "$@"
    LOAD_PIDS+=("$STARTED_PID")
  done
  wait_for "$START_SECONDS_MAX" test -s "$file" || fail "the load does not begin"
}

load_client() {
  local stop=$1 url=$2 deadline=$((SECONDS + LOAD_SECONDS_MAX))
  # Inherited from the script: what it cleans up is not ours to clean up.
  trap - EXIT INT TERM HUP
  until [ -e "$stop" ] || [ "$SECONDS" -ge "$deadline" ]; do
    curl -s --max-time "$REQUEST_SECONDS_MAX" -o /dev/null -w '%{exitcode} %{http_code} %header{x-release}\n' \
      --rate 100/s "$url?[1-$REQUESTS_PER_CONNECTION]" || true
  done
}

# load_stop RELEASES [LOST_MAX]: lets requests in flight end, and wants each answered with 200 by one of RELEASES (a pattern such
# as 'v[12]'). So many, none unless it is said, may have had no answer because their connection was reset.
load_stop() {
  local pid bad lost
  touch "$LOAD_FILE.stop"
  for pid in "${LOAD_PIDS[@]}"; do wait "$pid" || true; done
  # curl's own: nothing came back, it was reset.
  lost=$(grep -Ec '^(35|52|55|56) 000' "$LOAD_FILE" || true)
  if [ "${2:-0}" -gt 0 ] && [ "$lost" -gt 0 ] && [ "$lost" -le "$2" ]; then
    say "$lost requests had no answer"
    sed -i -E '/^(35|52|55|56) 000/d' "$LOAD_FILE"
  fi
  bad=$(grep -Evc "^0 200 ($1)$" "$LOAD_FILE" || true)
  [ "$bad" = 0 ] || { grep -Ev "^0 200 ($1)$" "$LOAD_FILE" | sort | uniq -c >&2; fail "$bad requests failed"; }
  [ -s "$LOAD_FILE" ] || fail "the load asked nothing"
  LOAD_TOTAL=$((LOAD_TOTAL + $(wc -l <"$LOAD_FILE")))
}
