#!/usr/bin/env bash
# Hosts for the tests in this folder, on this machine: each has its own sshd, its own Docker Engine, its own Caddy in a
# container, and its own files at the same paths, because its sshd lives in a mount namespace of its own.
#
#   scene.sh HOSTS      # prints one line of JSON when all is up, and cleans up when its input ends
#
# The JSON: root (the hosts' folder, as they see it), registry, ssh_config, hosts: [{id, port, files}].
# shellcheck source=examples/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../examples/lib.sh"

readonly HOSTS=$1
work_dir
# What every host sees in place of its own files.
readonly SEEN=$WORK/host
mkdir -p "$SEEN"

host_up() {
  local number=$1 socket=/var/run/docker.sock
  OWN=$WORK/host$number
  mkdir -p "$OWN/run" "$OWN/home"
  [ "$number" = 1 ] || second_engine "$number"
  export DOCKER_HOST=unix://$socket
  network_up "$number"
  caddy_up_in_container "$number"
  compose_files "$number"
  sshd_in_namespace "$number" "$socket"
  unset DOCKER_HOST
}

# second_engine NUMBER: sets the caller's `socket`.
second_engine() {
  local run=/run/lockgate-a$1-$$
  socket=$run/docker.sock
  mkdir -p "$run"
  on_exit engine_down "$run"
  engine_env "$run" "$LOCKGATE_ROOT/scripts/dockerd-up"
}

engine_env() {
  local run=$1
  shift
  LOCKGATE_DOCKERD_SOCKET=$run/docker.sock LOCKGATE_DOCKERD_RUN=$run LOCKGATE_DOCKERD_DATA=$WORK/engine-$(basename "$run") \
    LOCKGATE_DOCKERD_LOG=$WORK/engine.log LOCKGATE_DOCKERD_FLAGS="--bridge=none --iptables=false --ip-forward=false" "$@"
}

engine_down() { engine_env "$1" "$LOCKGATE_ROOT/scripts/dockerd-down" --purge; }

network_up() {
  local bridge=lg$1-$$
  NETWORK=lockgate-a$1-$$
  docker network create -o com.docker.network.bridge.name="$bridge" "$NETWORK" >/dev/null
  on_exit docker -H "$DOCKER_HOST" network rm "$NETWORK"
  # An engine without iptables does not let its own containers through to each other where another engine's policy drops.
  if [ "$1" != 1 ]; then
    iptables -I FORWARD -i "$bridge" -o "$bridge" -j ACCEPT
    on_exit iptables -D FORWARD -i "$bridge" -o "$bridge" -j ACCEPT
  fi
}

# It dials green at first, where nothing runs, so that the first deployment goes to blue.
caddy_up_in_container() {
  local context=$WORK/caddy-image library name=lockgate-a$1-caddy-$$
  PORT=$(free_port)
  if [ ! -d "$context" ]; then
    mkdir -p "$context/root/usr/bin" "$context/root/data"
    cp -L "$(command -v caddy)" "$context/root/usr/bin/caddy"
    # One that is linked statically needs nothing else.
    { ldd "$(command -v caddy)" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
      mkdir -p "$context/root$(dirname "$library")"
      cp -L "$library" "$context/root$library"
    done
    printf '%s\n' 'FROM scratch' 'COPY root /' 'ENV HOME=/data XDG_DATA_HOME=/data XDG_CONFIG_HOME=/data' \
      'ENTRYPOINT ["/usr/bin/caddy", "run", "--config", "/run/caddy/caddy.json"]' >"$context/Dockerfile"
  fi
  jq -n --arg port "$PORT" '{
    admin: {listen: "unix//run/caddy/admin.sock"},
    apps: {http: {servers: {web: {
      listen: [":" + $port],
      automatic_https: {disable: true},
      routes: [{handle: [{"@id": "web_upstream", handler: "reverse_proxy", upstreams: [{dial: "web-green:5000"}]}]}]
    }}}}
  }' >"$OWN/run/caddy.json"
  docker build -q -t "$name" "$context" >/dev/null
  on_exit docker -H "$DOCKER_HOST" image rm "$name"
  docker run -d --name "$name" --network "$NETWORK" --sysctl net.ipv4.tcp_migrate_req=1 -v "$OWN/run:/run/caddy" \
    -p "127.0.0.1:$PORT:$PORT" "$name" >/dev/null
  on_exit docker -H "$DOCKER_HOST" rm -f "$name"
  wait_for 10 curl -sf -H "Host;" -o /dev/null --unix-socket "$OWN/run/admin.sock" http://caddy/config/ \
    || { docker logs "$name" >&2; fail "Caddy did not come up"; }
}

# The service's containers have no fixed names, so that tests can run beside each other; Caddy knows them by alias.
compose_files() {
  local slot
  for slot in blue green; do
    mkdir -p "$OWN/apps/web/$slot"
    {
      echo "services:"
      echo "  web:"
      echo "    image: $REGISTRY/web:v1"
      # The second host's green never gets well.
      [ "$1-$slot" != 2-green ] || echo '    environment: { UNHEALTHY: "1" }'
      echo "    networks: { edge: { aliases: [web-$slot] } }"
      echo "networks: { edge: { external: true, name: $NETWORK } }"
    } >"$OWN/apps/web/$slot/docker-compose.yml"
  done
  on_exit containers_down "$DOCKER_HOST"
}

# Everything that was started from this run's own registry.
containers_down() {
  docker -H "$1" ps -aq --filter "label=lockgate.image=$REGISTRY/web" | xargs -r docker -H "$1" rm -f >/dev/null
  docker -H "$1" images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "$REGISTRY/*" \
    | tr ' ' '\n' | grep -v '<none>' | sort -u | xargs -r docker -H "$1" image rm >/dev/null 2>&1
  docker -H "$1" images --format '{{.Repository}}:{{.Tag}}' "lockgate.internal/keep/$PROJECT/prod/web" \
    | xargs -r docker -H "$1" image rm >/dev/null 2>&1
}

sshd_in_namespace() {
  local number=$1 socket=$2 wrapper=$WORK/sshd$1 port
  port=$(free_port)
  mkdir -p "$wrapper"
  cat >"$wrapper/sshd" <<SCRIPT
#!/bin/sh
exec unshare -m sh -c 'mount --make-rprivate / && mount --bind "\$1" "\$2" && { [ "\$3" = /var/run/docker.sock ] || mount --bind "\$3" /var/run/docker.sock; } && shift 3 && exec "\$@"' \
  sh $(printf '%q %q %q %q' "$OWN" "$SEEN" "$socket" "$(command -v sshd)") "\$@"
SCRIPT
  chmod +x "$wrapper/sshd"
  PATH=$wrapper:$PATH sshd_up "$port" "$WORK/ssh$number" "SetEnv HOME=$SEEN/home"
  cat "$WORK/ssh$number/config" >>"$WORK/ssh_config"
  HOST_LINES+=("$(jq -nc --arg id "lockgate-$port" --argjson port "$PORT" --arg files "$OWN" '{id: $id, port: $port, files: $files}')")
}

LOCKGATE_HELLO=$(hello_binary)
export LOCKGATE_HELLO
dockerd_up
PROJECT=a$$
REGISTRY=127.0.0.1:$(free_port)
HOST_LINES=()
registry_up "${REGISTRY##*:}" "$WORK/registry"
hello_push "$REGISTRY/web" v1 PORT=5000 >/dev/null
hello_push "$REGISTRY/web" v2 PORT=5000 >/dev/null
docker image rm "$REGISTRY/web:v1" "$REGISTRY/web:v2" >/dev/null
for ((number = 1; number <= HOSTS; number++)); do host_up "$number"; done
printf '%s\n' "${HOST_LINES[@]}" | jq -sc --arg root "$SEEN" --arg registry "$REGISTRY" --arg project "$PROJECT" \
  --arg ssh_config "$WORK/ssh_config" '{project: $project, root: $root, registry: $registry, ssh_config: $ssh_config, hosts: .}'
# Nobody reads on.
exec >/dev/null
# Until whoever started this closes our input, or dies.
cat >/dev/null
