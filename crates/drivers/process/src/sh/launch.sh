# shellcheck shell=sh disable=SC2154
# launch.sh PREFIX LAUNCHER TOKEN CWD ARGV..., after leftovers.sh: starts the launcher detached and prints what it says.
# The record with TOKEN has been written before.
lg_launcher=$2
shift 2
set -- "$lg_prefix" "$@"
# A service may print secrets. The umask is the service's own again behind the brackets.
if [ -s "$lg_prefix.log" ]; then
    mv -f -- "$lg_prefix.log" "$lg_prefix.log.1" && chmod 600 "$lg_prefix.log.1" || exit 1
elif [ -e "$lg_prefix.log" ]; then
    rm -f -- "$lg_prefix.log" || exit 1
fi
(umask 077 && : >> "$lg_prefix.log") || exit 1
# The substitution ends when the launcher closes descriptor 3, which is the moment before it becomes the service.
# `setsid -f` keeps SIGINT as it is, while a shell starts what it puts in the background with SIGINT ignored.
lg_said=$(setsid -f sh -c "$lg_launcher" sh "$@" 3>&1 >> "$lg_prefix.log" 2>&1 < /dev/null)
if [ -z "$lg_said" ]; then
    lg_said=$(setsid sh -c "$lg_launcher" sh "$@" 3>&1 >> "$lg_prefix.log" 2>&1 < /dev/null &)
fi
# Pid files of runs that have ended are litter. Nobody waits for them to go, and they go by name: a look for them now
# could find the next start's.
[ -z "$lg_old" ] || for lg_one in $lg_old; do rm -f -- "$lg_prefix.$lg_one.pid"; done > /dev/null 2>&1 &
printf '%s\n' "$lg_said"
