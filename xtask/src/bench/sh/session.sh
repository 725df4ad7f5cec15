# shellcheck shell=sh
# session.sh DIR SERVICE TAG CADDY, on the host: a deployment by hand in one session. `ssh HOST sh -s -- … <session.sh`.
set -eu
dir=$1 service=$2 caddy=$4
export TAG="$3"
old=$(cat "$dir/active_color")
case $old in blue) new=green ;; *) new=blue ;; esac
cd "$dir/$new"
docker compose -p "$service-$new" up -d --no-deps "$service" >/dev/null 2>&1
ip=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$service-$new-$service-1")
until curl -sf -o /dev/null "http://$ip:8080/health"; do sleep 0.05; done
curl -sf -o /dev/null -X PATCH -H 'Content-Type: application/json' -d "[{\"dial\":\"$service-$new:8080\"}]" \
    "$caddy/id/$service/upstreams"
echo "$new" >"$dir/active_color"
cd "$dir/$old"
docker compose -p "$service-$old" stop -t 10 >/dev/null 2>&1
