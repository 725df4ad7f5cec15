# shellcheck shell=bash
# What the examples' `run` scripts share, on top of scripts/lib.sh: the binary, asserting on what it says, and load.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# A load that nobody stops ends by itself.
readonly LOAD_SECONDS_MAX=300
readonly REQUEST_SECONDS_MAX=10
# Each client opens a connection, asks this often on it, and begins again.
readonly REQUESTS_PER_CONNECTION=20
readonly LOAD_CLIENTS=2

LOAD_TOTAL=0
LOAD_PIDS=()

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

# load_stop RELEASES: lets requests in flight end, and wants each answered with 200 by one of RELEASES (a pattern such
# as 'v[12]').
load_stop() {
  local pid bad
  touch "$LOAD_FILE.stop"
  for pid in "${LOAD_PIDS[@]}"; do wait "$pid" || true; done
  bad=$(grep -Evc "^0 200 ($1)$" "$LOAD_FILE" || true)
  [ "$bad" = 0 ] || { grep -Ev "^0 200 ($1)$" "$LOAD_FILE" | sort | uniq -c >&2; fail "$bad requests failed"; }
  [ -s "$LOAD_FILE" ] || fail "the load asked nothing"
  LOAD_TOTAL=$((LOAD_TOTAL + $(wc -l <"$LOAD_FILE")))
}
