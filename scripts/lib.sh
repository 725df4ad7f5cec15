# shellcheck shell=bash
# Shell functions that the examples' `run` scripts and scripts/test-images share. Source it from bash:
#
#   . "$(dirname "$0")/../../scripts/lib.sh"
#   work_dir                                     # sets $WORK, removed at the end
#   dockerd_up
#   registry_up 5001 "$WORK/registry"
#   hello_push 127.0.0.1:5001/hello v1           # prints repo@sha256:…
#   sshd_up 2201 "$WORK/ssh" && ssh -F "$WORK/ssh/config" lockgate-2201 true
#
# Rules that the functions keep:
# - What they start listens on 127.0.0.1 only and is stopped at the script's end, by its process id.
# - They write into the folder that they are given and into nothing else.
# - Data is on stdout, words for people are on stderr.
# - Those that start something must be called directly, not in $(…): a subshell has no say at the end.

[ -n "${BASH_VERSION:-}" ] || { echo "lib.sh: source it from bash" >&2; exit 2; }
set -euo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

LOCKGATE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly LOCKGATE_ROOT
readonly MUSL_TARGET=x86_64-unknown-linux-musl
readonly START_SECONDS_MAX=20
readonly STOP_SECONDS_MAX=10

# ---- words ------------------------------------------------------------------------------------

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# fail MESSAGE [HINT]
fail() {
  say "failed: $1"
  [ $# -lt 2 ] || say "hint: $2"
  exit 1
}

# assert_eq WHAT WANTED GOT
assert_eq() {
  [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
}

# need PROGRAM…: ends the script as skipped when one is missing (as failed where all must run).
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    echo "skipped: $program is not installed" >&2
    [ "${LOCKGATE_TEST_REQUIRE_ALL:-}" != 1 ] || exit 1
    exit 0
  done
}

# ---- clean-up ---------------------------------------------------------------------------------

LOCKGATE_CLEANUPS=()

# on_exit COMMAND ARGUMENT…: runs it when the script ends, however it ends; the last one first.
on_exit() {
  LOCKGATE_CLEANUPS+=("$(printf '%q ' "$@")")
}

cleanup() {
  local code=$? i
  trap - EXIT INT TERM HUP
  set +e
  for ((i = ${#LOCKGATE_CLEANUPS[@]} - 1; i >= 0; i--)); do
    # Each was quoted word by word in on_exit.
    eval "${LOCKGATE_CLEANUPS[i]}" || say "clean-up failed: ${LOCKGATE_CLEANUPS[i]}"
  done
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# stop_process PID: asks, waits, then insists. Only for processes that this script started: being
# our children, their ids can't have been given to somebody else before we waited for them.
stop_process() {
  local deadline=$((SECONDS + STOP_SECONDS_MAX))
  kill "$1" 2>/dev/null || return 0
  while kill -0 "$1" 2>/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      say "process $1 is still there after $STOP_SECONDS_MAX s, killing it"
      kill -9 "$1" 2>/dev/null
      break
    fi
    sleep 0.05
  done
  wait "$1" 2>/dev/null || true
}

# start LOG COMMAND…: runs it in the background until the script ends; sets STARTED_PID.
start() {
  local log=$1
  shift
  "$@" >>"$log" 2>&1 </dev/null &
  STARTED_PID=$!
  on_exit stop_process "$STARTED_PID"
}

# work_dir: a new folder in $WORK, removed at the end (kept, and named, when KEEP_WORK=1).
work_dir() {
  WORK=$(mktemp -d)
  if [ "${KEEP_WORK:-}" = 1 ]; then
    on_exit say "kept $WORK"
  else
    on_exit rm -rf -- "$WORK"
  fi
}

# ---- waiting and ports ------------------------------------------------------------------------

# wait_for SECONDS COMMAND…: until it succeeds; its output is dropped while it fails.
wait_for() {
  local limit=$1 deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      say "not within $limit s: $*"
      return 1
    fi
    sleep 0.05
  done
}

# wait_ready NAME PID LOG COMMAND…: like wait_for, but notices an early death and shows the log.
wait_ready() {
  local name=$1 pid=$2 log=$3 deadline=$((SECONDS + START_SECONDS_MAX))
  shift 3
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 20 "$log" >&2
      fail "$name did not come up within $START_SECONDS_MAX s; its log is $log (end above)"
    fi
    sleep 0.05
  done
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A server that finds its port taken would die while the one that has the port answers for it.
must_be_free() {
  ! port_answers "$1" || fail "port $1 is already taken"
}

# free_port: prints a port that nobody listens on, below the range that outgoing connections use.
free_port() {
  local port tries
  for ((tries = 0; tries < 100; tries++)); do
    port=$((10000 + (RANDOM << 15 | RANDOM) % 20000))
    if ! port_answers "$port"; then
      echo "$port"
      return 0
    fi
  done
  fail "no free port found"
}

# ---- hello ------------------------------------------------------------------------------------

# hello_binary: builds the static hello (cargo does nothing when it is fresh) and prints its path.
# LOCKGATE_HELLO=<path> names one that is built already.
hello_binary() {
  if [ -n "${LOCKGATE_HELLO:-}" ]; then
    [ -x "$LOCKGATE_HELLO" ] || fail "LOCKGATE_HELLO=$LOCKGATE_HELLO is not a program"
    echo "$LOCKGATE_HELLO"
    return 0
  fi
  (cd "$LOCKGATE_ROOT" && cargo build -q --release -p lockgate-hello --target "$MUSL_TARGET" >&2) \
    || fail "hello could not be built" "scripts/setup adds the Rust target $MUSL_TARGET"
  echo "${CARGO_TARGET_DIR:-$LOCKGATE_ROOT/target}/$MUSL_TARGET/release/hello"
}

# A value as Dockerfile's ENV takes it inside double quotes.
dockerfile_quoted() {
  local value=$1
  case $value in *$'\n'*) fail "a value with a line break can't be baked into an image" ;; esac
  value=${value//\\/\\\\}
  value=${value//\"/\\\"}
  value=${value//\$/\\\$}
  printf '"%s"' "$value"
}

# hello_image REPO TAG [NAME=VALUE…]: builds REPO:TAG, FROM scratch, with VERSION=TAG and the given
# options of hello baked in, listening on 8080; prints REPO:TAG.
hello_image() {
  local repo=$1 tag=$2 binary context setting name
  shift 2
  binary=$(hello_binary)
  context=$(mktemp -d)
  cp "$binary" "$context/hello"
  {
    echo "FROM scratch"
    echo "COPY hello /hello"
    echo "EXPOSE 8080"
    echo 'ENTRYPOINT ["/hello"]'
    for setting in "VERSION=$tag" "$@"; do
      name=${setting%%=*}
      [[ $setting == *=* && $name =~ ^[A-Z][A-Z0-9_]*$ ]] || fail "'$setting' is not NAME=VALUE"
      echo "ENV $name=$(dockerfile_quoted "${setting#*=}")"
    done
  } >"$context/Dockerfile"
  if ! docker build -q -t "$repo:$tag" "$context" >"$context/log" 2>&1; then
    cat "$context/log" >&2
    rm -rf -- "$context"
    fail "image $repo:$tag could not be built"
  fi
  rm -rf -- "$context"
  echo "$repo:$tag"
}

# hello_push REPO TAG [NAME=VALUE…]: builds and pushes it; prints the reference with its digest.
hello_push() {
  local image
  image=$(hello_image "$@")
  docker push -q "$image" >/dev/null || fail "$image could not be pushed"
  docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" | grep -F "$1@" | head -n 1
}

# ---- servers ----------------------------------------------------------------------------------

# dockerd_up: an engine answers afterwards. One that we started goes on running for the next script
# (scripts/dockerd-down stops it).
dockerd_up() {
  need docker
  "$LOCKGATE_ROOT/scripts/dockerd-up"
}

# htpasswd_file FILE USER: writes it, with the password from stdin (never in argv).
htpasswd_file() {
  htpasswd -niB "$2" >"$1" 2>/dev/null || fail "htpasswd could not write $1"
  chmod 600 "$1"
}

# registry_up PORT DIR [HTPASSWD_FILE]: a real registry on 127.0.0.1:PORT with its data in DIR.
# docker takes plain HTTP from 127.0.0.0/8 without being told (not so skopeo: --tls-verify=false).
# Deleting is allowed; with an htpasswd file (bcrypt, see htpasswd_file) everything needs a login.
registry_up() {
  local port=$1 dir=$2 htpasswd=${3:-}
  need docker-registry curl
  must_be_free "$port"
  mkdir -p "$dir/data"
  {
    echo "version: 0.1"
    echo "log: { level: warn, accesslog: { disabled: true } }"
    echo "storage: { filesystem: { rootdirectory: '$dir/data' }, delete: { enabled: true } }"
    echo "http: { addr: '127.0.0.1:$port' }"
    [ -z "$htpasswd" ] || echo "auth: { htpasswd: { realm: test, path: '$htpasswd' } }"
  } >"$dir/config.yml"
  start "$dir/log" docker-registry serve "$dir/config.yml"
  wait_ready "docker-registry on port $port" "$STARTED_PID" "$dir/log" registry_answers "$port"
}

registry_answers() {
  case $(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "http://127.0.0.1:$1/v2/") in
    200 | 401) ;;
    *) return 1 ;;
  esac
}

# sshd_up PORT DIR [SSHD_OPTION…]: an sshd of our own on 127.0.0.1:PORT, one more "host". It lets in
# the user who runs this, by the key pair DIR/id. Use it with `ssh -F DIR/config lockgate-PORT`.
# Its limits are sshd's own (MaxSessions 10 a connection, MaxStartups 10:30:100), unless an option
# such as "MaxSessions 2" says otherwise.
sshd_up() {
  local port=$1 dir=$2 option
  shift 2
  need sshd ssh ssh-keygen
  must_be_free "$port"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  chmod 700 "$dir"
  [ -e "$dir/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C "lockgate test host" -f "$dir/host_key"
  [ -e "$dir/id" ] || ssh-keygen -q -t ed25519 -N '' -C "lockgate test user" -f "$dir/id"
  cp "$dir/id.pub" "$dir/authorized_keys"
  write_sshd_config "$port" "$dir" "$@"
  write_ssh_config "$port" "$dir"
  # sshd as root wants this empty folder, which Debian makes at boot only.
  [ "$(id -u)" != 0 ] || install -d -m 755 /run/sshd
  # It starts itself again for every connection, so it must be called by its full path.
  start "$dir/log" "$(command -v sshd)" -D -e -f "$dir/sshd_config"
  wait_ready "sshd on port $port" "$STARTED_PID" "$dir/log" \
    ssh -F "$dir/config" -o ConnectTimeout=2 "lockgate-$port" true
}

write_sshd_config() {
  local port=$1 dir=$2 option pam=no
  shift 2
  # Without PAM, sshd turns a locked account ("!" for a password) away even with a key.
  if [ "$(id -u)" = 0 ] && getent shadow root | grep -q '^root:!'; then pam=yes; fi
  {
    # An option given first wins, so ours come after the caller's.
    for option in "$@"; do echo "$option"; done
    echo "Port $port"
    echo "ListenAddress 127.0.0.1"
    echo "HostKey \"$dir/host_key\""
    echo "AuthorizedKeysFile \"$dir/authorized_keys\""
    echo "PidFile none"
    echo "PasswordAuthentication no"
    echo "KbdInteractiveAuthentication no"
    echo "PermitRootLogin prohibit-password"
    echo "UsePAM $pam"
    # DIR may be below /tmp, which anyone may write to and StrictModes therefore refuses.
    echo "StrictModes no"
    echo "Subsystem sftp internal-sftp"
  } >"$dir/sshd_config"
}

write_ssh_config() {
  local port=$1 dir=$2
  echo "[127.0.0.1]:$port $(cat "$dir/host_key.pub")" >"$dir/known_hosts"
  {
    echo "Host lockgate-$port"
    echo "  HostName 127.0.0.1"
    echo "  Port $port"
    echo "  User $(id -un)"
    echo "  IdentityFile \"$dir/id\""
    echo "  IdentitiesOnly yes"
    echo "  IdentityAgent none"
    echo "  UserKnownHostsFile \"$dir/known_hosts\""
    echo "  GlobalKnownHostsFile none"
    echo "  StrictHostKeyChecking yes"
    echo "  BatchMode yes"
    echo "  LogLevel ERROR"
  } >"$dir/config"
}

# caddy_json LISTEN_PORT ADMIN_PORT ID DIAL: prints a configuration with one reverse proxy, whose
# handler has the id ID and one upstream DIAL (host:port).
caddy_json() {
  jq -n --arg listen "127.0.0.1:$1" --arg admin "127.0.0.1:$2" --arg id "$3" --arg dial "$4" '{
    admin: {listen: $admin},
    apps: {http: {servers: {lockgate: {
      listen: [$listen],
      automatic_https: {disable: true},
      routes: [{handle: [{"@id": $id, handler: "reverse_proxy", upstreams: [{dial: $dial}]}]}]
    }}}}
  }'
}

# caddy_up DIR [CONFIG]: a Caddy of our own with the JSON configuration CONFIG (default
# DIR/caddy.json), which must name a free admin address on 127.0.0.1; state and log go to DIR.
caddy_up() {
  local dir=$1 config=${2:-$1/caddy.json} admin
  need caddy curl jq
  mkdir -p "$dir"
  admin=$(jq -er .admin.listen "$config") || fail "$config names no admin.listen"
  must_be_free "${admin##*:}"
  start "$dir/log" env XDG_DATA_HOME="$dir/data" XDG_CONFIG_HOME="$dir/config" caddy run --config "$config"
  wait_ready "caddy with its admin API on $admin" "$STARTED_PID" "$dir/log" \
    curl -sf --max-time 2 -o /dev/null "http://$admin/config/"
}
