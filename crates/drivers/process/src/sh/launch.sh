# launch.sh LAUNCHER PREFIX TOKEN CWD COUNT NAME... ARGV...: starts the launcher detached and prints what it says.
# The record with TOKEN has been written before.
lg_launcher=$1 lg_prefix=$2 lg_token=$3
shift
# A launcher of an earlier start, cut off between its intent and its process, may have come to life late; it never
# had traffic. Or a run has ended and left workers behind.
lg_old=
for lg_file in "$lg_prefix".*.pid; do
    [ -e "$lg_file" ] || continue
    lg_one=${lg_file#"$lg_prefix."}
    lg_old="$lg_old ${lg_one%.pid}"
    lg_run "$lg_file" || continue
    if lg_alive; then kill -KILL "-$lg_pid"; else lg_sweep "${lg_old##* }" 800 || exit 1; fi
done
[ ! -s "$lg_prefix.log" ] || mv -f -- "$lg_prefix.log" "$lg_prefix.log.1" || exit 1
: >> "$lg_prefix.log" || exit 1
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
