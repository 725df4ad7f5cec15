# shellcheck shell=sh
# steps.sh DIR SERVICE TAG CADDY SSH_CONFIG HOST, where one deploys from: the same with a session for each step on one
# connection, as most such scripts are written.
set -eu
dir=$1 service=$2 tag=$3 caddy=$4 config=$5 host=$6
socket=$(mktemp -u)
on() { ssh -F "$config" -o ControlMaster=auto -o "ControlPath=$socket" -o ControlPersist=10 "$host" "$1"; }
old=$(on "cat $dir/active_color")
case $old in blue) new=green ;; *) new=blue ;; esac
container=$service-$new-$service-1
on "cd $dir/$new && TAG=$tag docker compose -p $service-$new up -d --no-deps $service >/dev/null 2>&1"
ip=$(on "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $container")
on "until curl -sf -o /dev/null http://$ip:8080/health; do sleep 0.05; done"
on "curl -sf -o /dev/null -X PATCH -H 'Content-Type: application/json' -d '[{\"dial\":\"$service-$new:8080\"}]' \
    $caddy/id/$service/upstreams"
on "echo $new >$dir/active_color"
on "cd $dir/$old && docker compose -p $service-$old stop -t 10 >/dev/null 2>&1"
ssh -F "$config" -o "ControlPath=$socket" -O exit "$host" 2>/dev/null
