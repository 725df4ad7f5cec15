# shellcheck shell=sh disable=SC2154
# follow.sh PREFIX: what the program wrote, from the beginning until it has ended.
lg_ours "${1%/*}" "$1.pid" "$1.log" || exit 77
exec 5< "$1.log" || exit 1
lg_run "$1.pid" || lg_pid=
while :; do
    lg_over=1
    [ -e "$1.code" ] || { [ -n "$lg_pid" ] && lg_alive && lg_over=; }
    cat <&5
    [ -z "$lg_over" ] || exit 0
    sleep 0.1
done
