# shellcheck shell=bash
# System A's state files, and its troubleshooting: what was looked up by hand is shown by `status -v` and `doctor`.
# Sourced by `run`, which has deployed lockn-logger v2 in green and seen v3 fail its smoke gate in blue.

# state_is SERVICE TAG STATUS: what the state file in this folder says of the service.
state_is() {
  local file=state/$1.json
  assert_eq "$file" "$1 $2 $3" "$(jq -r '"\(.service) \(.image_tag) \(.status)"' "$file")"
  assert_eq "the members of $file" "service,image_tag,status,timestamp,notes" "$(jq -r 'keys_unsorted | join(",")' "$file")"
  jq -e '.timestamp | test("^[0-9-]{10}T[0-9:]{8}[+-][0-9]{2}:[0-9]{2}$")' "$file" >/dev/null \
    || fail "the timestamp in $file is not RFC 3339 with offset"
}

# After the smoke gate of v3 has failed.
trouble_is_shown() {
  local before
  before=$(world)
  lockgate_exits 0 status lockn-logger -v
  says out "active_color green, previous_color blue, traffic green"
  says out "blue: it was rejected: gate failed"
  lockgate_exits 0 status lockn-logger -v --format json
  assert_eq "both slots" "stopped v3, running v2, healthy" "$(out_jq '.[0].closely[] | .slots
    | "\(.blue.holds.state) \(.blue.holds.release.tag), \(.green.holds.state) \(.green.holds.release.tag), \(
        if .green.health.ok then "healthy" else "ill" end)"')"
  lockgate_exits 0 doctor lockn-logger
  says out "Caddy's admin API: "
  says out "Caddy's service: "
  says out "✓ colour files: active_color green, previous_color blue"
  says out "✓ health of green, asked from the host: GET /health at "
  says out "! what blue holds: v3"
  # The failed colour's own log.
  says out "│ "
  says out "listening"

  # A colour file that somebody wrote over is marked, in both.
  cp "$APPS/lockn-logger/active_color" "$WORK/active_color"
  printf blue >"$APPS/lockn-logger/active_color"
  lockgate_exits 0 status lockn-logger -v
  says out "✗ active_color says blue, the router sends the traffic to green"
  lockgate_exits 0 doctor lockn-logger
  says out "! colour files: active_color blue, previous_color blue; but active_color says blue"
  cp "$WORK/active_color" "$APPS/lockn-logger/active_color"
  assert_eq "after looking" "$before" "$(world)"
}
