# shellcheck shell=sh disable=SC2154
# launcher.sh, after who.sh: says who it is, then becomes the service.
# It writes its own number and start time before it becomes the service, and both stay: no instant exists in which
# the service runs unknown, wherever the orchestrator is killed. It then looks whether it is still wanted; whoever
# supersedes it writes the record first and looks for its run after, so one of the two sees the other.
(umask 077 && echo "$$ $lg_born $lg_boot" > "$lg_prefix.$lg_token.pid") || lg_fail 'the pid file cannot be written'
IFS= read -r lg_record < "$lg_prefix.json"
case $lg_record in
'{"token":"'"$lg_token"'"'*) ;;
*)
    rm -f -- "$lg_prefix.$lg_token.pid"
    lg_fail 'another start or stop of this slot came in between'
    ;;
esac
lg_started
exec "$@"
