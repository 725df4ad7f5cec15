# shellcheck shell=sh
# reader.sh PATH PORT: whether the process called caddy that listens on PORT (`-`: any) can read PATH, in its own view of
# the files. A line for each: `reads UID`, `alone UID` where it was given the file without its folder, `other UID` where it
# has another file there than the host, `not UID`, or `unknown UID` where we may not look. Looks only; nothing of it is an error.
path=$1
port=$2
me=$(id -u)

# Whether the process $1 listens on the port, as far as that can be seen.
listens() {
    [ "$port" != - ] || return 0
    hex=$(printf '%04X' "$port")
    inodes=$(cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null |
        awk -v port=":$hex" '$4 == "0A" && index($2, port) == length($2) - 4 { print $10 }')
    [ -n "$inodes" ] || return 1
    # Another user's descriptors are not shown.
    [ -r "/proc/$1/fd" ] && ls "/proc/$1/fd" >/dev/null 2>&1 || return 0
    for inode in $inodes; do
        [ -z "$(find "/proc/$1/fd" -lname "socket:?$inode?" 2>/dev/null)" ] || return 0
    done
    return 1
}

# By the rights of the process $1 with the ids $2, $3 and the groups $4. The folder is entered by us, the file is opened
# by them.
reads() {
    cd "/proc/$1/root" 2>/dev/null || return 2
    if [ "$me" = "$2" ]; then
        cat "./$path" 2>/dev/null
    elif [ "$me" = 0 ] && command -v setpriv >/dev/null 2>&1; then
        if [ -n "$4" ]; then
            setpriv --reuid "$2" --regid "$3" --groups "$4" cat "./$path" 2>/dev/null
        else
            setpriv --reuid "$2" --regid "$3" --clear-groups cat "./$path" 2>/dev/null
        fi
    else
        return 2
    fi
}

for one in /proc/[0-9]*; do
    name=
    { read -r name <"$one/comm"; } 2>/dev/null
    [ "$name" = caddy ] || continue
    pid=${one#/proc/}
    listens "$pid" || continue
    uid=$(awk '$1 == "Uid:" { print $3 }' "$one/status" 2>/dev/null)
    gid=$(awk '$1 == "Gid:" { print $3 }' "$one/status" 2>/dev/null)
    groups=$(awk '$1 == "Groups:" { $1 = ""; gsub(/^ +| +$/, ""); gsub(/ +/, ","); print }' "$one/status" 2>/dev/null)
    [ -n "$uid" ] || continue
    if awk -v path="$path" '$5 == path { found = 1 } END { exit !found }' "/proc/$pid/mountinfo" 2>/dev/null; then
        echo "alone $uid"
        continue
    fi
    seen=$(reads "$pid" "$uid" "$gid" "$groups")
    case $? in
    0)
        if [ "$seen" = "$(cat "$path" 2>/dev/null)" ]; then echo "reads $uid"; else echo "other $uid"; fi
        ;;
    2) echo "unknown $uid" ;;
    *) echo "not $uid" ;;
    esac
done
exit 0
