#!/usr/bin/env bash
# System C's parts for the tests in this folder, on this machine: a Docker Engine, two registries of which one wants a login,
# and a static program for images.
#
#   yard.sh        # prints one line of JSON when all is up, and cleans up when its input ends
#
# The JSON: project, registry, private (wants user `ann`), password, hello (the program), port.
# shellcheck source=examples/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../examples/lib.sh"

need docker docker-registry git htpasswd jq curl

containers_down() {
  docker ps -aq --filter "name=^$PROJECT-" | xargs -r docker rm -f -v >/dev/null
  docker network ls -q --filter "name=$PROJECT" | xargs -r docker network rm >/dev/null
  local registry
  for registry in "$REGISTRY" "$PRIVATE"; do
    docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "$registry/*" \
      | tr ' ' '\n' | grep -v '<none>' | sort -u | xargs -r docker image rm -f >/dev/null 2>&1
  done
  docker images --format '{{.Repository}}:{{.Tag}}' "lockgate.internal/keep/$PROJECT/prod/web" \
    | xargs -r docker image rm >/dev/null 2>&1
}

dockerd_up
work_dir
HELLO=$(hello_binary)
PROJECT=c$$
REGISTRY=127.0.0.1:$(free_port)
registry_up "${REGISTRY##*:}" "$WORK/registry"
PRIVATE=127.0.0.1:$(free_port)
PASSWORD=hunter2-$(head -c 9 /dev/urandom | base64 | tr -dc a-zA-Z0-9)
htpasswd_file "$WORK/htpasswd" ann <<<"$PASSWORD"
registry_up "${PRIVATE##*:}" "$WORK/private" "$WORK/htpasswd"
PORT=$(free_port)
on_exit containers_down
jq -nc --arg project "$PROJECT" --arg registry "$REGISTRY" --arg private "$PRIVATE" --arg password "$PASSWORD" \
  --arg hello "$HELLO" --argjson port "$PORT" \
  '{project: $project, registry: $registry, private: $private, password: $password, hello: $hello, port: $port}'
# Nobody reads on.
exec >/dev/null
# Until whoever started this closes our input, or dies.
cat >/dev/null
