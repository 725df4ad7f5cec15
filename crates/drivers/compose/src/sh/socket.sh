# shellcheck shell=sh
# socket.sh SOCKET: why Docker's socket does not answer this user. One line each: `missing`, `denied` or `silent`; the user; the
# socket's group, or nothing; `member` where the user database has the user in that group and this session does not; the socket
# of a rootless engine of this user, or nothing.
socket=$1
rootless=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock
group='' member=''
if [ ! -e "$socket" ]; then
    echo missing
elif [ -r "$socket" ] && [ -w "$socket" ]; then
    echo silent
else
    echo denied
    group=$(stat -L -c %G -- "$socket" 2>/dev/null)
fi
user=$(id -un)
if [ -n "$group" ]; then
    case " $(id -nG -- "$user" 2>/dev/null) " in *" $group "*) member=member ;; esac
fi
printf '%s\n' "$user" "$group" "$member"
if [ "$rootless" != "$socket" ] && [ -S "$rootless" ]; then printf '%s\n' "$rootless"; else echo; fi
