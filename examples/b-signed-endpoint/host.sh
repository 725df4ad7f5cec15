# shellcheck shell=bash
# The VM as the team left it: a registry, a certificate for its name, the guide's Compose file, the first release started by
# hand. Sourced by `run`, which sets $WORK.

readonly GUIDE=$LOCKGATE_ROOT/docs/deploy-endpoint.md
readonly VM=$WORK/srv/kelvin
readonly RELEASES=(first second third fourth slow sick)
# Long enough for calls that come meanwhile, and for a daemon that is killed.
readonly SLOW_MILLIS=4000

sha() { printf '%s' "$1" | sha1sum | cut -d ' ' -f 1; }

# host_up: all that is there but the VM's own services.
host_up() {
  local names
  names=$(docker ps -aq --filter name='^kelvin(-db)?$')
  [ -z "$names" ] || fail "a container kelvin exists already" "another run of this example? else remove it"
  REGISTRY=127.0.0.1:$(free_port)
  APP=$(free_port)
  CALLS_PORT=$(free_port)
  CALLS=https://127.0.0.1:$CALLS_PORT/deploy
  registry_up "${REGISTRY##*:}" "$WORK/registry"
  on_exit remove_images
  push_images
  certificate
  on_exit vm_down
}

# vm_up COMPOSE: the guide's files, and the first release started by hand; v2 or v1. Sets DATABASE, which is never touched.
vm_up() {
  mkdir -p "$VM"
  guide_file /srv/kelvin/docker-compose.yml >"$VM/docker-compose.yml"
  guide_file /srv/kelvin/lockgate.yaml >"$VM/lockgate.yaml"
  BIN=
  if [ "$1" = v1 ]; then
    BIN=$WORK/v1:
    compose_v1_only
  fi
  first_release "$1"
  DATABASE=$(life kelvin-db)
}

# Prints a file of the guide, for this machine: registry, ports, certificate, and what asks for the app's health.
guide_file() {
  sed -n "/^# ${1//\//\\/}\$/,/^\`\`\`\$/p" "$GUIDE" | sed '$d' | here
}

# The one line of the guide's files that has TEXT in it.
guide_line() { sed -n '/^```yaml$/,/^```$/p' "$GUIDE" | grep -F -- "$1" | head -n 1 | here; }

# What the guide says, as it is called here.
here() {
  sed -e "s|ghcr.io/acme/kelvin|$REGISTRY/kelvin|g; s|postgres:16|$REGISTRY/kelvin:db|g" \
    -e "s|127.0.0.1:8000:8000|127.0.0.1:$APP:8000|g; s|listen: \"127.0.0.1:8000\"|listen: \"127.0.0.1:$APP\"|g; s|CMD, curl, -f, \"[^\"]*\"|CMD, /hello, --probe|g" \
    -e "s|0.0.0.0:8443|127.0.0.1:$CALLS_PORT|g; s|deploy.example.com:8443|127.0.0.1:$CALLS_PORT|g" \
    -e "s|/etc/lockgate/|$WORK/|g; s|/srv/kelvin|$VM|g; s|0123456789abcdef0123456789abcdef01234567|$(sha second)|g" \
    -e "s|^sudo --preserve-env=WEBHOOK_SECRET ||; s|lockgate trigger |lockgate trigger --cacert $WORK/ca.pem |"
}

push_images() {
  local release
  for release in "${RELEASES[@]}"; do
    case $release in
      slow) set -- HEALTHY_AFTER_MS=$SLOW_MILLIS ;;
      sick) set -- UNHEALTHY=1 ;;
      *) set -- ;;
    esac
    hello_push "$REGISTRY/kelvin" "$(sha "$release")" PORT=8000 "$@" >/dev/null
  done
  hello_push "$REGISTRY/kelvin" db >/dev/null
  # The VM shall have to pull them.
  remove_images
}

remove_images() {
  docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "$REGISTRY/*" \
    | tr ' ' '\n' | { grep -v '<none>' || true; } | sort -u | xargs -r docker image rm -f >/dev/null 2>&1 || true
  docker images --format '{{.Repository}}:{{.Tag}}' 'lockgate.internal/keep/kelvin/prod/app' \
    | xargs -r docker image rm >/dev/null 2>&1 || true
}

# An authority of our own, and a certificate of its for this machine.
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=an authority of this example' \
    -keyout "$WORK/ca.key" -out "$WORK/ca.pem" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 -keyout "$WORK/key.pem" -out "$WORK/csr.pem" 2>/dev/null
  openssl x509 -req -in "$WORK/csr.pem" -CA "$WORK/ca.pem" -CAkey "$WORK/ca.key" -CAcreateserial -days 2 -out "$WORK/fullchain.pem" \
    -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n') 2>/dev/null
  chmod 600 "$WORK/key.pem"
}

# A VM where `docker compose` is unknown.
compose_v1_only() {
  mkdir -p "$WORK/v1"
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' '[ "$1" != compose ] || { echo "docker: compose is not a docker command" >&2; exit 1; }' \
    "exec $(command -v docker) \"\$@\"" >"$WORK/v1/docker"
  chmod +x "$WORK/v1/docker"
}

first_release() {
  local compose=(docker compose)
  [ "$1" = v2 ] || compose=(docker-compose)
  (cd "$VM" && IMAGE_TAG=$(sha first) "${compose[@]}" up -d) >"$WORK/up.log" 2>&1 \
    || { cat "$WORK/up.log" >&2; fail "the first release could not be started by hand"; }
  wait_for "$START_SECONDS_MAX" is_live first || fail "the first release does not answer"
  wait_for "$START_SECONDS_MAX" is_healthy || fail "the first release does not get healthy"
}

vm_down() {
  local proxy=$VM/.lockgate/proxy/admin.sock
  # The proxy outlives the daemon.
  [ ! -S "$proxy" ] || curl -s --max-time 5 -o /dev/null --unix-socket "$proxy" -X POST http://proxy/v1/shutdown || true
  docker ps -aq --filter name='^kelvin(-db)?$' | xargs -r docker rm -f -v >/dev/null
  docker network ls -q --filter name='^kelvin_default$' | xargs -r docker network rm >/dev/null
}

live() { curl -s --max-time 5 -o /dev/null -w '%header{x-release}' "http://127.0.0.1:$APP/"; }
is_live() { [ "$(live)" = "$(sha "$1")" ]; }
is_healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' kelvin)" = healthy ]; }
# Which container it is, and since when it runs.
life() { docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}' "$1"; }

# expect_live RELEASE: it answers, alone, and what it depends on is what it was.
expect_live() {
  assert_eq "what is live" "$(sha "$1")" "$(live)"
  assert_eq "the containers" "kelvin kelvin-db" "$(docker ps -a --filter name=kelvin --format '{{.Names}}' | sort | xargs)"
  assert_eq "the database" "$DATABASE" "$(life kelvin-db)"
}

# daemon_up: lockgate serve, as the unit runs it. Sets DAEMON.
daemon_up() {
  start "$WORK/serve.log" env PATH="$BIN$PATH" "$LOCKGATE" --no-color -c "$VM/lockgate.yaml" serve
  DAEMON=$STARTED_PID
  wait_ready "lockgate serve" "$DAEMON" "$WORK/serve.log" \
    curl -sf --cacert "$WORK/ca.pem" -o /dev/null --max-time 2 "${CALLS%/deploy}/readyz"
}
