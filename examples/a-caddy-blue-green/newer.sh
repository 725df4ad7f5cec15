# shellcheck shell=bash
# The same host behind the newest Caddy: by its admin API, and by the file that it reads at each request.
# Sourced by `run`, which has lockn-logger v2 live.

# Where scripts/setup puts it.
readonly NEWEST_CADDY=/usr/local/share/lockgate-test/caddy-2.11.7/caddy
# What doctor says that the admin API costs: connections that are just being opened, at each change of the configuration.
readonly LOST_MAX=20

newer_by_admin() {
  say "== the newest Caddy by its admin API: it loses what doctor says"
  caddy_config "$(cat "$APPS/lockn-logger/active_color")" "$(cat "$APPS/lockn-web/active_color")" >"$WORK/caddy-admin.json"
  caddy_container "$NEWEST_CADDY" "$WORK/caddy-admin.json"
  lockgate_exits 0 doctor lockn-logger
  says out "by its admin API each switch loses some requests"
  says out "@green vars {file.$APPS/lockn-logger/active_color} green"
  there_and_back "$LOST_MAX"
}

newer_by_file() {
  local before
  say "== the newest Caddy by the file: nothing is lost, and its configuration never changes"
  caddy_config_by_file >"$WORK/caddy-file.json"
  # The folder, not the files: every switch puts a new file in its place.
  caddy_container "$NEWEST_CADDY" "$WORK/caddy-file.json" -v "$APPS:$APPS:ro"
  before=$(configuration)
  lockgate_exits 0 doctor lockn-logger
  says out "Caddy's switch: $APPS/lockn-logger/active_color says"
  says out "✓ the switch as Caddy reads it: "
  lockgate_exits 0 plan lockn-logger v1
  says out "the switch is $APPS/lockn-logger/active_color, which Caddy reads at each request"
  there_and_back 0
  docker restart "$CADDY" >/dev/null
  wait_for 10 curl -sf -o /dev/null "$LOGGER_URL/version"
  assert_eq "what is live after a restart of Caddy" v2 "$(live "$LOGGER_URL")"
  assert_eq "Caddy's configuration" "$before" "$(configuration)"

  say "== a Caddy that has the file without its folder keeps the old one: doctor finds it, a deployment goes back"
  caddy_container "$NEWEST_CADDY" "$WORK/caddy-file.json" \
    -v "$APPS/lockn-logger/active_color:$APPS/lockn-logger/active_color:ro"
  load_start "$WORK/load" "$LOGGER_URL/version"
  lockgate_exits 3 deploy lockn-logger v1
  load_stop v2
  assert_eq "what is live" v2 "$(live "$LOGGER_URL")"
  lockgate_exits 1 doctor lockn-logger
  says out "✗ the switch as Caddy reads it: "
  says out "a Caddy in a container needs the folder, not the file"
  caddy_container "$NEWEST_CADDY" "$WORK/caddy-file.json" -v "$APPS:$APPS:ro"
  lockgate_exits 0 doctor lockn-logger
}

# there_and_back LOST: v2 to v1, to v3 that fails its smoke gate, and back to v2, under load that may lose that many.
there_and_back() {
  local colour
  load_start "$WORK/load" "$LOGGER_URL/version"
  lockgate_exits 0 deploy lockn-logger v1
  load_stop 'v[12]' "$1"
  assert_eq "what is live" v1 "$(live "$LOGGER_URL")"
  colour=$(bytes lockn-logger/active_color)
  load_start "$WORK/load" "$LOGGER_URL/version"
  lockgate_exits 3 deploy lockn-logger v3
  load_stop 'v[13]' "$1"
  assert_eq "what is live" v1 "$(live "$LOGGER_URL")"
  assert_eq "active_color" "$colour" "$(bytes lockn-logger/active_color)"
  load_start "$WORK/load" "$LOGGER_URL/version"
  lockgate_exits 0 rollback lockn-logger v2
  load_stop 'v[12]' "$1"
  assert_eq "what is live" v2 "$(live "$LOGGER_URL")"
}

configuration() { curl -sf "http://127.0.0.1:$ADMIN/config/"; }

caddy_config_by_file() {
  jq -n --arg admin "$ADMIN" --arg logger "${PORTS[0]}" --arg web "${PORTS[1]}" --arg apps "$APPS" '
    def to(dial): [{handler: "reverse_proxy", upstreams: [{dial: (dial + ":5000")}]}];
    def site(port; service): {
      listen: [":" + port],
      automatic_https: {disable: true},
      routes: [
        {match: [{vars: {("{file." + $apps + "/" + service + "/active_color}"): ["green"]}}], handle: to(service + "-green")},
        {handle: to(service + "-blue")}
      ]
    };
    {
      admin: {listen: ("0.0.0.0:" + $admin), origins: ["127.0.0.1:" + $admin]},
      apps: {http: {servers: {logger: site($logger; "lockn-logger"), web: site($web; "lockn-web")}}}
    }'
}
