# shellcheck shell=sh
# launcher.sh PREFIX TOKEN CWD ARGV...: says who it is, then becomes the service.
# It writes its own number and start time before it becomes the service, and both stay: no instant exists in which
# the service runs unknown, wherever the orchestrator is killed. It then looks whether it is still wanted; whoever
# supersedes it writes the record first and looks for its run after, so one of the two sees the other.
lg_prefix=$1 lg_token=$2 lg_cwd=$3
shift 3
lg_fail() {
    printf 'error %s\n' "$1" >&3
    exit 1
}
lg_began() { shift 19; lg_born=$1; }
lg_text=
while IFS= read -r lg_line; do lg_text="$lg_text$lg_line "; done < "/proc/$$/stat"
# shellcheck disable=SC2086 # a word for each field
lg_began ${lg_text##*") "}
IFS= read -r lg_boot < /proc/sys/kernel/random/boot_id || lg_fail 'the boot id cannot be read'
cd "$lg_cwd" || lg_fail 'the working folder cannot be entered'
(umask 077 && echo "$$ $lg_born $lg_boot" > "$lg_prefix.$lg_token.pid") || lg_fail 'the pid file cannot be written'
IFS= read -r lg_record < "$lg_prefix.json"
case $lg_record in
'{"token":"'"$lg_token"'"'*) ;;
*)
    rm -f -- "$lg_prefix.$lg_token.pid"
    lg_fail 'another start or stop of this slot came in between'
    ;;
esac
# Who started it may have been cut off since, and a next start may have seen it alive: it must not die of a pipe that
# nobody reads. What is ignored would be inherited, so that is taken back.
trap '' PIPE
{ echo started >&3; } 2>/dev/null || :
trap - PIPE
exec 3>&-
exec "$@"
