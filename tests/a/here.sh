#!/usr/bin/env bash
# One host, this machine, for the tests in this folder: a Docker Engine of its own, which a test may end and start
# again, a registry, which a test may end, and a Caddy outside of that engine, so that it goes on without it.
#
#   here.sh        # prints one line of JSON when all is up, and cleans up when its input ends
#   here.sh file   # the newest Caddy, which reads active_color at each request
#   here.sh nginx  # nginx in its place, which looks for a marker at each request
#
# The JSON: project, root, registry, registry_pid, docker_host, admin, port, caddy_pid, caddy: [what starts it again], engine: {variables of
# scripts/dockerd-up}. Images: v1, v2, and slow, which needs a while until it is healthy.
# shellcheck source=examples/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../examples/lib.sh"

# Long enough for an engine to be ended and started in between.
readonly SLOW_MILLIS=4000
readonly SWITCH=${1:-admin}
readonly NEWEST_CADDY=/usr/local/share/lockgate-test/caddy-2.11.7/caddy
# The slots have fixed addresses, because nothing but the engine's own DNS knows containers by name.
readonly SUBNET=10.231.$(($$ % 256))

work_dir
RUN=/run/lockgate-here-$$
export LOCKGATE_DOCKERD_SOCKET=$RUN/docker.sock LOCKGATE_DOCKERD_RUN=$RUN LOCKGATE_DOCKERD_DATA=$WORK/engine \
  LOCKGATE_DOCKERD_LOG=$WORK/engine.log \
  LOCKGATE_DOCKERD_FLAGS="--bridge=none --iptables=false --ip-forward=false --live-restore"
export DOCKER_HOST=unix://$RUN/docker.sock
PROJECT=here$$
NETWORK=$PROJECT

# Whatever a test has made of the engine: containers that outlived it are the engine's to end.
engine_purged() {
  "$LOCKGATE_ROOT/scripts/dockerd-up"
  docker ps -aq | xargs -r docker rm -f >/dev/null
  docker network rm "$NETWORK" >/dev/null
  "$LOCKGATE_ROOT/scripts/dockerd-down" --purge
}

compose_files() {
  local slot last=11
  for slot in blue green; do
    mkdir -p "$WORK/apps/web/$slot"
    {
      echo "services:"
      echo "  web:"
      echo "    image: $REGISTRY/web:v1"
      echo "    restart: unless-stopped"
      echo "    networks: { edge: { ipv4_address: $SUBNET.$last } }"
      echo "networks: { edge: { external: true, name: $NETWORK } }"
    } >"$WORK/apps/web/$slot/docker-compose.yml"
    echo "$SUBNET.$last web-$slot" >>"$WORK/hosts"
    last=$((last + 1))
  done
}

# Its configuration names both slots and never changes.
caddy_by_file() {
  jq -n --arg listen "127.0.0.1:$1" --arg admin "127.0.0.1:$2" --arg file "$WORK/apps/web/active_color" '
    def to(slot): {handle: [{handler: "reverse_proxy", upstreams: [{dial: "web-\(slot):5000"}],
      headers: {response: {set: {"X-Lockgate-Slot": [slot]}}}}]};
    {
      admin: {listen: $admin},
      apps: {http: {servers: {lockgate: {
        listen: [$listen],
        automatic_https: {disable: true},
        routes: [{match: [{vars: {"{file.\($file)}": ["green"]}}]} + to("green"), to("blue")]
      }}}}
    }'
}

# By its admin API it dials green at first, where nothing runs, so that the first deployment goes to blue.
caddy_here() {
  local program
  program=$(command -v caddy)
  PORT=$(free_port)
  ADMIN=$(free_port)
  mkdir -p "$WORK/caddy/bin"
  case $SWITCH in
    file)
      program=$NEWEST_CADDY
      caddy_by_file "$PORT" "$ADMIN" >"$WORK/caddy/caddy.json"
      ;;
    *) caddy_json "$PORT" "$ADMIN" web_upstream web-green:5000 >"$WORK/caddy/caddy.json" ;;
  esac
  cat >"$WORK/caddy/bin/caddy" <<SCRIPT
#!/bin/sh
exec unshare -m sh -c 'mount --make-rprivate / && mount --bind "\$1" /etc/hosts && shift && exec "\$@"' \
  sh $(printf '%q %q' "$WORK/hosts" "$program") "\$@"
SCRIPT
  chmod +x "$WORK/caddy/bin/caddy"
  PATH=$WORK/caddy/bin:$PATH caddy_up "$WORK/caddy"
  # Each program on the way to it is replaced by the next.
  CADDY_PID=$STARTED_PID
}

# It dials the upstream groups web_blue and web_green, and its configuration never changes.
nginx_here() {
  local dir=$WORK/nginx kind
  PORT=$(free_port)
  mkdir "$dir"
  # Its workers are somebody else, who must see the marker.
  chmod 755 "$WORK"
  {
    echo "worker_processes 2; daemon off; pid $dir/pid; error_log $dir/log;"
    echo "events { worker_connections 256; }"
    echo "http {"
    echo "access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $dir/$kind;"; done
    echo "upstream web_blue { server $SUBNET.11:5000; }"
    echo "upstream web_green { server $SUBNET.12:5000; }"
    echo "server {"
    echo "listen 127.0.0.1:$PORT;"
    echo "set \$web_slot blue;"
    echo "if (-f $WORK/apps/web/green_is_live) { set \$web_slot green; }"
    echo "location = /.lockgate/web { return 200 \$web_slot; }"
    echo "location / { proxy_pass http://web_\$web_slot; }"
    echo "}"
    echo "}"
  } >"$dir/nginx.conf"
  start "$dir/log" nginx -c "$dir/nginx.conf"
  wait_ready "nginx on $PORT" "$STARTED_PID" "$dir/log" curl -sf --max-time 2 -o /dev/null "http://127.0.0.1:$PORT/.lockgate/web"
  CADDY_PID=$STARTED_PID
  ADMIN=0
}

need docker dockerd docker-registry caddy unshare jq curl
[ "$SWITCH" != nginx ] || need nginx
LOCKGATE_HELLO=$(hello_binary)
export LOCKGATE_HELLO
on_exit engine_purged
"$LOCKGATE_ROOT/scripts/dockerd-up"
docker network create --subnet "$SUBNET.0/24" -o com.docker.network.bridge.name="lgh-$$" "$NETWORK" >/dev/null
REGISTRY=127.0.0.1:$(free_port)
registry_up "${REGISTRY##*:}" "$WORK/registry"
REGISTRY_PID=$STARTED_PID
hello_push "$REGISTRY/web" v1 PORT=5000 >/dev/null
hello_push "$REGISTRY/web" v2 PORT=5000 >/dev/null
hello_push "$REGISTRY/web" slow PORT=5000 HEALTHY_AFTER_MS=$SLOW_MILLIS >/dev/null
docker image rm "$REGISTRY/web:v1" "$REGISTRY/web:v2" "$REGISTRY/web:slow" >/dev/null
compose_files
if [ "$SWITCH" = nginx ]; then nginx_here; else caddy_here; fi
jq -nc --arg project "$PROJECT" --arg root "$WORK" --arg registry "$REGISTRY" --argjson registry_pid "$REGISTRY_PID" \
  --arg docker_host "$DOCKER_HOST" --arg admin "http://127.0.0.1:$ADMIN" --argjson port "$PORT" --argjson caddy_pid "$CADDY_PID" \
  '{project: $project, root: $root, registry: $registry, registry_pid: $registry_pid, docker_host: $docker_host,
    admin: $admin, port: $port, caddy_pid: $caddy_pid,
    caddy: ["\($root)/caddy/bin/caddy", "run", "--config", "\($root)/caddy/caddy.json"], engine: ($ENV | with_entries(select(.key | startswith("LOCKGATE_DOCKERD_"))))}'
# Nobody reads on.
exec >/dev/null
# Until whoever started this closes our input, or dies.
cat >/dev/null
