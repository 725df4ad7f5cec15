# shellcheck shell=sh disable=SC2154
# work.sh: the worker's own part, after the functions for the requests; `lg_exec` is exec.sh.
#
# It keeps the session as 3 (input), 5 and 6 (outputs). A script gets its content through a pipe. One that succeeds has
# read all of it; what a failed one left is read to the end, for it would be taken for requests. Where that is not
# possible the worker kills itself. `lg_me` is the user who acts, asked for once.
#
# `exec` runs in a process group of its own, so that to kill one command hits nothing that an earlier one left running.
# Where there is no `setsid` it shares the worker's group, and the worker is used no more. It has pipes instead of the
# session's outputs, for what it leaves running may still write when the next request is on: the end comes, as with a
# session of its own, when everybody has closed them. `TMOUT` would end a bash that waits for requests.

# lg_mark WORD VALUE: a line of the worker's own, on both outputs.
lg_mark() {
    printf '\n%s %s %s\n' "$lg_nonce" "$1" "$2"
    printf '\n%s %s %s\n' "$lg_nonce" "$1" "$2" >&2
}
lg_start() {
    if [ "$lg_own" = 1 ]; then
        setsid sh -c "$lg_exec" sh "$lg_size" "$$"
    else
        (
            set -- "$lg_size" "$$"
            eval "$lg_exec"
        )
    fi
}
lg_command() {
    lg_code=$(
        exec 7>&1
        {
            {
                lg_start <&3 3<&- 5>&- 6>&- 7>&- 8>&-
                echo "$?" >&7
            } 2>&1 >&8 8>&- | cat >&6 3<&- 5>&- 7>&- 8>&-
        } 8>&1 | cat >&5 3<&- 6>&- 7>&-
    )
}
lg_script() (
    exec 3<&- 5>&- 6>&-
    LC_ALL=C
    export LC_ALL
    eval "$lg_line"
    "lg_$lg_name"
)
lg_file() {
    IFS= read -r lg_line <&3 || exit 99
    case $lg_name in write | swap) [ -n "$lg_me" ] || lg_me=$(id -u) ;; esac
    if [ "$lg_size" -eq 0 ]; then
        lg_script
        lg_code=$?
    else
        { head -c "$lg_size" <&3 || kill -s KILL "$$"; } | {
            lg_script
            lg_code=$?
            [ "$lg_code" -eq 0 ] || cat >/dev/null
            exit "$lg_code"
        }
        lg_code=$?
    fi
}
unset TMOUT
exec 3<&0 5>&1 6>&2 </dev/null
lg_me='' lg_own=0
if command -v setsid >/dev/null 2>&1; then lg_own=1; fi
while IFS=' ' read -r lg_nonce lg_name lg_size <&3; do
    lg_mark start "$lg_own"
    case $lg_name in exec) lg_command ;; *) lg_file ;; esac
    [ -n "$lg_code" ] || exit 1
    lg_mark end "$lg_code"
done
