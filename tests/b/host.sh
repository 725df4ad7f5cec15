#!/usr/bin/env bash
# System B's host, this machine, for the tests in this folder: one Compose file with several services, as the team's own
# scripts left it, its images in a registry, and the first release started by hand.
#
#   host.sh v2|v1        # prints one line of JSON when all is up, and cleans up when its input ends
#
# With v1 `docker compose` is unknown, so that only docker-compose 1.29 is there.
#
# The JSON: project, root (the folder of docker-compose.yml), file, registry, port (of the app, on this machine), bin (a folder to
# put in front of PATH; empty for v2), tags: {first, second, third, fourth, sick, missing}: full commit SHAs.
# shellcheck source=examples/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../examples/lib.sh"

readonly COMPOSE=$1
need docker docker-registry docker-compose jq curl

sha() { printf '%s' "$1-$PROJECT" | sha1sum | cut -d ' ' -f 1; }

# `image` has no default: without the variable nobody can read this file.
compose_file() {
  cat <<YAML
version: "3.8"
services:
  app:
    image: $REGISTRY/app:\${IMAGE_TAG}
    container_name: $PROJECT-app
    restart: unless-stopped
    ports: ["127.0.0.1:$PORT:5000"]
    environment: { DEPLOYED_TAG: "\${IMAGE_TAG}" }
    healthcheck: { test: [CMD, /hello, --probe], interval: 500ms, timeout: 2s, retries: 2 }
    depends_on: [db, queue]
  db:
    image: $REGISTRY/app:db
    container_name: $PROJECT-db
    restart: unless-stopped
    healthcheck: { test: [CMD, /hello, --probe], interval: 500ms, timeout: 2s, retries: 2 }
  queue:
    image: $REGISTRY/app:db
    container_name: $PROJECT-queue
    restart: unless-stopped
    depends_on: [db]
YAML
}

containers_down() {
  docker ps -aq --filter "name=^$PROJECT-" | xargs -r docker rm -f -v >/dev/null
  docker network ls -q --filter "name=$PROJECT" | xargs -r docker network rm >/dev/null
  docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "$REGISTRY/*" \
    | tr ' ' '\n' | grep -v '<none>' | sort -u | xargs -r docker image rm -f >/dev/null 2>&1
  docker images --format '{{.Repository}}:{{.Tag}}' "lockgate.internal/keep/$PROJECT/prod/app" \
    | xargs -r docker image rm >/dev/null 2>&1
}

is_healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$PROJECT-app")" = healthy ]; }

dockerd_up
work_dir
LOCKGATE_HELLO=$(hello_binary)
export LOCKGATE_HELLO
PROJECT=b$$
REGISTRY=127.0.0.1:$(free_port)
PORT=$(free_port)
ROOT=$WORK/$PROJECT
BIN=
mkdir -p "$ROOT"
if [ "$COMPOSE" = v1 ]; then
  BIN=$WORK/bin
  mkdir -p "$BIN"
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' '[ "$1" != compose ] || { echo "docker: compose is not a docker command" >&2; exit 1; }' \
    "exec $(command -v docker) \"\$@\"" >"$BIN/docker"
  chmod +x "$BIN/docker"
fi
registry_up "${REGISTRY##*:}" "$WORK/registry"
on_exit containers_down
FIRST=$(sha first)
hello_push "$REGISTRY/app" "$FIRST" PORT=5000 >/dev/null
hello_push "$REGISTRY/app" "$(sha second)" PORT=5000 >/dev/null
hello_push "$REGISTRY/app" "$(sha third)" PORT=5000 >/dev/null
hello_push "$REGISTRY/app" "$(sha fourth)" PORT=5000 >/dev/null
hello_push "$REGISTRY/app" "$(sha sick)" PORT=5000 UNHEALTHY=1 >/dev/null
hello_push "$REGISTRY/app" db >/dev/null
for tag in second third fourth sick; do docker image rm "$REGISTRY/app:$(sha "$tag")" >/dev/null; done
compose_file >"$ROOT/docker-compose.yml"
case $COMPOSE in
  v1) up=(docker-compose) ;;
  *) up=(docker compose) ;;
esac
(cd "$ROOT" && PATH=$BIN:$PATH IMAGE_TAG=$FIRST "${up[@]}" up -d) >"$WORK/up.log" 2>&1 \
  || { cat "$WORK/up.log" >&2; fail "the first release could not be started by hand"; }
wait_for "$START_SECONDS_MAX" is_healthy || fail "the first release does not get healthy"
jq -nc --arg project "$PROJECT" --arg root "$ROOT" --arg file "$ROOT/docker-compose.yml" --arg registry "$REGISTRY" \
  --argjson port "$PORT" --arg bin "$BIN" --arg first "$FIRST" --arg second "$(sha second)" --arg third "$(sha third)" --arg fourth "$(sha fourth)" \
  --arg sick "$(sha sick)" --arg missing "$(sha missing)" \
  '{project: $project, root: $root, file: $file, registry: $registry, port: $port, bin: $bin,
    tags: {first: $first, second: $second, third: $third, fourth: $fourth, sick: $sick, missing: $missing}}'
# Nobody reads on.
exec >/dev/null
# Until whoever started this closes our input, or dies.
cat >/dev/null
