#!/usr/bin/env bash
# What action.yml runs: fetches the static program, compares its checksum, and asks for a deployment. Inputs come as variables
# (INPUT_…), the secret in LOCKGATE_WEBHOOK_SECRET, which the program reads by itself.
set -euo pipefail

readonly NAME=lockgate-x86_64-linux-musl
readonly DOWNLOAD_SECONDS_MAX=120
readonly DOWNLOAD_BYTES_MAX=104857600

fail() {
  local text="$1; hint: $2"
  # A message of a workflow command: one line, without what ends or changes it.
  text=${text//'%'/'%25'}
  text=${text//$'\r'/'%0D'}
  text=${text//$'\n'/'%0A'}
  printf '::error title=Lockgate::%s\n' "$text" >&2
  exit 2
}

# The last line of release.txt that is no comment: "VERSION SHA-256".
released() {
  local here
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  grep -v '^#' "$here/release.txt" | tail -n 1 || true
}

check_sum() {
  local sum
  [[ "$2" =~ ^[0-9a-f]{64}$ ]] || fail "sha256 is no checksum" "write 64 lower-case hex digits, as sha256sum prints them"
  sum=$(sha256sum <"$1" | cut -c1-64)
  [ "$sum" = "$2" ] || fail "the program's SHA-256 is $sum and not $2, so it was not run" \
    "give the checksum of the release that you mean, or see who changed the file"
}

# Into the file $1.
fetch() {
  local url=${INPUT_DOWNLOAD_URL:-} sum=${INPUT_SHA256:-} version own
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "there is no program for this runner's $(uname -s) on $(uname -m)" \
    "use runs-on: ubuntu-24.04, or name a program of your own with binary:"
  read -r version own <<<"$(released)" || true
  if [ -z "$url" ]; then
    [ -n "$version" ] || fail "this version of the action names no release" "give download-url: and sha256:, or binary:"
    url="${SERVER_URL:-https://github.com}/${ACTION_REPOSITORY:-}/releases/download/v$version/$NAME"
    sum=${sum:-$own}
  fi
  [ -n "$sum" ] || fail "download-url: came without sha256:" "give the checksum that the release names: nothing else is run"
  [[ "$url" == https://* ]] || fail "download-url: is no https:// address" "the release's own address is one"
  curl --fail --silent --show-error --location --proto '=https' --proto-redir '=https' --retry 3 \
    --max-time "$DOWNLOAD_SECONDS_MAX" --max-filesize "$DOWNLOAD_BYTES_MAX" --output "$1" -- "$url" \
    || fail "the program could not be fetched from $url" "see that the release exists and the runner may reach it"
  check_sum "$1" "$sum"
  chmod 755 "$1"
}

work=""
clean_up() { [ -z "$work" ] || rm -rf -- "$work"; }
trap clean_up EXIT

if [ -n "${INPUT_BINARY:-}" ]; then
  program=$(realpath -e -- "$INPUT_BINARY") || fail "binary: names no file" "its path is relative to the step's folder"
  [ -f "$program" ] || fail "binary: names no file" "its path is relative to the step's folder"
  [ -x "$program" ] || fail "binary: names a file that cannot be run" "chmod +x it in a step before"
  [ -z "${INPUT_SHA256:-}" ] || check_sum "$program" "$INPUT_SHA256"
else
  work=$(mktemp -d "${RUNNER_TEMP:-/tmp}/lockgate.XXXXXX")
  program=$work/lockgate
  fetch "$program"
fi

case "${INPUT_COMMAND:-trigger}" in
  trigger)
    # `--name=value`, so that a value which begins with a dash is no option.
    args=(trigger "--sha=${INPUT_SHA:-}" "--timeout=${INPUT_TIMEOUT:-1h}")
    [ -z "${INPUT_SERVICE:-}" ] || args+=("--service=$INPUT_SERVICE")
    [ -z "${INPUT_COMMITTED_AT:-}" ] || args+=("--committed-at=$INPUT_COMMITTED_AT")
    [ -z "${INPUT_WAIT:-}" ] || args+=("--wait=$INPUT_WAIT")
    [ -z "${INPUT_CACERT:-}" ] || args+=("--cacert=$INPUT_CACERT")
    if [ -n "${INPUT_CACERT_PEM:-}" ]; then
      [ -z "${INPUT_CACERT:-}" ] || fail "cacert: and cacert-pem: came together" "give the file or its text"
      pem=$(mktemp "${RUNNER_TEMP:-/tmp}/lockgate-cacert.XXXXXX")
      printf '%s\n' "$INPUT_CACERT_PEM" >"$pem"
      args+=("--cacert=$pem")
    fi
    case "${INPUT_FORCE:-false}" in
      true) args+=(--force) ;;
      false | "") ;;
      *) fail "force: is neither true nor false" "write force: true" ;;
    esac
    args+=(-- "${INPUT_URL:-}")
    ;;
  *) fail "command: is none that this version knows" "write command: trigger, or leave it out" ;;
esac
# In its place, so that a job that is cancelled reaches it. The runner empties RUNNER_TEMP.
exec "$program" "${args[@]}"
