# shellcheck shell=sh
# workers.sh CONTAINER PIDFILE: nginx's workers, `PID serving` or `PID leaving` for one that finishes what it has and takes
# nothing new, and before them `master PID`. CONTAINER is `-` for an nginx on the host. Nothing is said where there is no such
# master. Looks only.
if [ "$1" = - ]; then
    { read -r master <"$2"; } 2>/dev/null
else
    master=$(docker inspect -f '{{.State.Pid}}' -- "$1" 2>/dev/null)
fi
case $master in '' | 0 | *[!0-9]*) exit 0 ;; esac
name=
{ read -r name <"/proc/$master/comm"; } 2>/dev/null
[ "$name" = nginx ] || exit 0
echo "master $master"
for one in /proc/[0-9]*; do
    name=
    { read -r name <"$one/comm"; } 2>/dev/null
    [ "$name" = nginx ] || continue
    [ "$(awk '$1 == "PPid:" { print $2 }' "$one/status" 2>/dev/null)" = "$master" ] || continue
    case $(tr '\0' ' ' <"$one/cmdline" 2>/dev/null) in
    *'worker process is shutting down'*) echo "${one#/proc/} leaving" ;;
    *'worker process'*) echo "${one#/proc/} serving" ;;
    esac
done
exit 0
