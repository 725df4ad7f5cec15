# shellcheck shell=sh disable=SC2119,SC2120
# (The arguments of lg_run are set by the line that it evaluates.)
#
# exec.sh SIZE WORKER: runs a command and watches the session. SIZE is that of the input, WORKER the worker's process id.
#
# The watcher reads what is left of the session. Its end means that nobody waits for the command any more, so it kills
# the process group, which is this shell's (see work.sh). Without input for the command the watcher is a plain
# background process. With input it must not read before all of that has been passed on, so it is what passes it on,
# and says its process id as the first line ($PPID of a child, for $$ stays the first shell's in a subshell). It
# waits with the shell's own `read` and is waited for: no process that reads the session outlives the command.
lg_size=$1 lg_worker=$2
IFS= read -r lg_line || exit 99
exec 3<&0 </dev/null 4>&2 2>/dev/null
lg_kill() {
    trap "" TERM
    kill -s TERM -- "-$$"
    sleep 2
    kill -s KILL -- "-$$"
}
lg_run() (
    exec 2>&4 3<&- 4>&-
    lg_why=line
    trap "echo lockgate-not-started:\$lg_why >&2" EXIT
    eval "$lg_line"
    exec "$@"
)
if [ "$lg_size" -eq 0 ]; then
    {
        while read -r _lg_rest; do :; done
        lg_kill
    } <&3 >/dev/null 4>&- 3<&- &
    lg_watch=$!
    lg_run
    lg_code=$?
    kill -s KILL "$lg_watch"
    wait "$lg_watch"
    exit "$lg_code"
else
    {
        sh -c "echo \$PPID"
        head -c "$lg_size" || kill -s KILL "$lg_worker"
        exec >/dev/null
        while read -r _lg_rest; do :; done
        lg_kill
    } <&3 3<&- 4>&- | {
        read -r lg_watch
        lg_run
        lg_code=$?
        cat >/dev/null
        kill -s KILL "$lg_watch"
        exit "$lg_code"
    }
fi
