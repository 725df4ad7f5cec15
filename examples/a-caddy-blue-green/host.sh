# shellcheck shell=bash
# The deploy host as the old scripts left it: registry, Caddy in a container, two services with blue running, sshd.
# Sourced by `run`, which sets $WORK.

readonly SERVICES=(lockn-logger lockn-web)
readonly APPS=$WORK/srv/apps
readonly HOST_HOME=$WORK/home
readonly REGISTRY_USER=ci
NETWORK=
REGISTRY=
ADMIN=
# The container that Caddy runs in.
CADDY=

# host_up: all of it; sets what `run` uses, and the variables of system A.
host_up() {
  local names
  names=$(docker ps -aq --filter name='^lockn-(logger|web)-(blue|green)$')
  [ -z "$names" ] || fail "containers lockn-… exist already" "another run of this example? else remove them"
  NETWORK=lockn-edge-$$
  docker network create "$NETWORK" >/dev/null
  on_exit docker network rm "$NETWORK"
  private_registry
  push_images
  caddy_host
  old_scripts lockn-logger 'blue' ''
  old_scripts lockn-web $'blue\n' $'green\n'
  local ssh_port
  ssh_port=$(free_port)
  # The deploy user's home: its docker login is there, and nobody's own ~/.docker or ~/.bashrc has a part in this.
  sshd_up "$ssh_port" "$WORK/ssh" "SetEnv HOME=$HOST_HOME"
  export DEPLOY_HOST=lockgate-$ssh_port DEPLOY_SSH_OPTS="-F $WORK/ssh/config" DEPLOY_SSH_PORT=$ssh_port
  export DEPLOY_COMPOSE_DIR=$APPS DEPLOY_CADDY_API=http://127.0.0.1:$ADMIN REGISTRY_URL=$REGISTRY
}

private_registry() {
  local port password
  mkdir -p "$HOST_HOME"
  port=$(free_port)
  REGISTRY=127.0.0.1:$port
  password=$(head -c 12 /dev/urandom | base64)
  htpasswd_file "$WORK/htpasswd" "$REGISTRY_USER" <<<"$password"
  registry_up "$port" "$WORK/registry" "$WORK/htpasswd"
  export DOCKER_CONFIG=$HOST_HOME/.docker
  docker login -u "$REGISTRY_USER" --password-stdin "$REGISTRY" <<<"$password" >/dev/null 2>&1 \
    || fail "docker login to $REGISTRY failed"
}

push_images() {
  local service
  on_exit remove_images
  for service in "${SERVICES[@]}"; do
    hello_push "$REGISTRY/$service" v1 PORT=5000 >/dev/null
    hello_push "$REGISTRY/$service" v2 PORT=5000 >/dev/null
  done
  hello_push "$REGISTRY/lockn-logger" v3 PORT=5000 FAIL_PATHS=/metrics >/dev/null
  hello_push "$REGISTRY/lockn-logger" v4 PORT=5000 UNHEALTHY=1 >/dev/null
  # The host shall have to pull them.
  remove_images
}

# The registry's port makes these names this run's own.
remove_images() {
  local name
  docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "$REGISTRY/*" \
    | tr ' ' '\n' | grep -v '<none>' | sort -u | while read -r name; do
      docker image rm "$name" >/dev/null 2>&1 || true
    done
  docker images --format '{{.Repository}}:{{.Tag}}' 'lockgate.internal/keep/lockn/prod/lockn-*' \
    | while read -r name; do docker image rm "$name" >/dev/null 2>&1 || true; done
}

# caddy_host: this machine's own Caddy, by its admin API. Each service has a port of its own, the same inside and outside.
caddy_host() {
  need caddy
  ADMIN=$(free_port)
  PORTS=("$(free_port)" "$(free_port)")
  export LOGGER_URL=http://127.0.0.1:${PORTS[0]} WEB_URL=http://127.0.0.1:${PORTS[1]}
  caddy_config >"$WORK/caddy.json"
  caddy_container "$(command -v caddy)" "$WORK/caddy.json"
}

# caddy_container PROGRAM CONFIG [OPTION…]: a Caddy FROM scratch in the services' network, where it finds them by name, with
# these options of `docker run`, in the place of the one before it.
caddy_container() {
  local program=$1 config=$2 context name library
  shift 2
  [ -z "$CADDY" ] || docker rm -f "$CADDY" >/dev/null
  context=$(mktemp -d "$WORK/caddy-image.XXXX")
  name=lockn-caddy-$$-${context##*.}
  # Names of images are written in small letters.
  name=${name,,}
  mkdir -p "$context/root/usr/bin" "$context/root/etc" "$context/root/data"
  cp -L "$program" "$context/root/usr/bin/caddy"
  # A static program has none.
  { ldd "$program" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
    mkdir -p "$context/root$(dirname "$library")"
    cp -L "$library" "$context/root$library"
  done
  cp "$config" "$context/root/etc/caddy.json"
  printf '%s\n' 'FROM scratch' 'COPY root /' 'ENV HOME=/data XDG_DATA_HOME=/data XDG_CONFIG_HOME=/data' \
    'ENTRYPOINT ["/usr/bin/caddy", "run", "--config", "/etc/caddy.json"]' >"$context/Dockerfile"
  docker build -q -t "$name" "$context" >/dev/null
  on_exit docker image rm "$name"
  docker run -d --name "$name" --network "$NETWORK" --sysctl net.ipv4.tcp_migrate_req=1 \
    -p "127.0.0.1:$ADMIN:$ADMIN" -p "127.0.0.1:${PORTS[0]}:${PORTS[0]}" -p "127.0.0.1:${PORTS[1]}:${PORTS[1]}" \
    "$@" "$name" >/dev/null
  CADDY=$name
  on_exit remove_container "$name"
  wait_for 10 curl -sf -o /dev/null "http://127.0.0.1:$ADMIN/config/" || docker logs "$name" >&2
}

# caddy_config [LOGGER WEB]: where each service's traffic goes at first; blue, unless it is said.
caddy_config() {
  jq -n --arg admin "$ADMIN" --arg logger "${PORTS[0]}" --arg web "${PORTS[1]}" \
    --arg logger_slot "${1:-blue}" --arg web_slot "${2:-blue}" '
    def site(port; service; slot): {
      listen: [":" + port],
      automatic_https: {disable: true},
      routes: [{handle: [{
        "@id": (service + "_upstream"),
        handler: "reverse_proxy",
        upstreams: [{dial: (service + "-" + slot + ":5000")}]
      }]}]
    };
    {
      admin: {listen: ("0.0.0.0:" + $admin), origins: ["127.0.0.1:" + $admin]},
      apps: {http: {servers: {logger: site($logger; "lockn-logger"; $logger_slot), web: site($web; "lockn-web"; $web_slot)}}}
    }'
}

# old_scripts SERVICE ACTIVE PREVIOUS: what the scripts before Lockgate made; PREVIOUS '' is no file.
old_scripts() {
  local service=$1 slot
  for slot in blue green; do
    mkdir -p "$APPS/$service/$slot"
    sed -e "s|@SERVICE@|$service|g; s|@SLOT@|$slot|g; s|@REGISTRY@|$REGISTRY|g; s|@NETWORK@|$NETWORK|g" \
      "$LOCKGATE_ROOT/examples/a-caddy-blue-green/docker-compose.yml.in" >"$APPS/$service/$slot/docker-compose.yml"
    on_exit remove_container "$service-$slot"
  done
  printf %s "$2" >"$APPS/$service/active_color"
  [ -z "$3" ] || printf %s "$3" >"$APPS/$service/previous_color"
  # They let Compose name the project after the folder: `blue`, for every service.
  (cd "$APPS/$service/blue" && docker compose up -d) >>"$WORK/old-scripts.log" 2>&1 \
    || { cat "$WORK/old-scripts.log" >&2; fail "the old scripts could not start $service"; }
}

remove_container() { docker rm -f "$1" >/dev/null 2>&1 || true; }

# A host with Compose v1 only: `docker compose` is unknown there.
sshd_with_compose_v1() {
  local port=$1
  mkdir -p "$WORK/v1"
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' '[ "$1" != compose ] || { echo "docker: compose is not a docker command" >&2; exit 1; }' \
    "exec $(command -v docker) \"\$@\"" >"$WORK/v1/docker"
  chmod +x "$WORK/v1/docker"
  sshd_up "$port" "$WORK/ssh-v1" "SetEnv HOME=$HOST_HOME PATH=$WORK/v1:$PATH"
}

# bytes FILE: its content with line ends made visible.
bytes() { od -An -c "$APPS/$1" | tr -d ' \n'; }

# Everything that a deployment could change, as text.
world() {
  (cd "$APPS" && find . -name .lockgate -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)
  docker ps -a --no-trunc --filter name='^lockn-(logger|web)-' --format '{{.Names}} {{.ID}} {{.State}}' | sort
  upstream lockn-logger
  upstream lockn-web
}

upstream() { curl -sf "http://127.0.0.1:$ADMIN/id/$1_upstream/upstreams" | jq -r 'map(.dial) | join(",")'; }
