# shellcheck shell=sh
# version.sh ADMIN…: which Caddy it is that listens at ADMIN (`tcp HOST PORT` or `unix PATH`). Says `of WHAT` and, where it
# is known, `version TEXT`. What it runs is a program of root's or of its own user's, or one in its own container. Looks
# only; nothing of it is an error.
kind=$1 host=$2 port=${3-}
socket=''
pid=''

# The inode of what listens there.
case $kind in
unix) socket=$(awk -v path="$host" '$NF == path && $6 == "01" { print $7; exit }' /proc/net/unix 2>/dev/null) ;;
tcp)
    hex=$(printf %04X "$port" 2>/dev/null)
    socket=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v end=":$hex\$" '$4 == "0A" && $2 ~ end { print $10; exit }')
    ;;
esac

# own_id FILE: the container that a process is in; nothing for the host's.
own_id() { grep -o '[0-9a-f]\{64\}' "$1" 2>/dev/null | head -n 1; }

if [ -n "$socket" ]; then
    for one in /proc/[0-9]*; do
        case $(ls -l "$one/fd" 2>/dev/null) in
        *"socket:[$socket]"*)
            pid=${one#/proc/}
            break
            ;;
        esac
    done
fi

in_container() {
    echo "of container $1"
    said=$(docker exec "$1" caddy version 2>/dev/null | head -n 1)
    [ -n "$said" ] || said=$(docker inspect -f '{{index .Config.Labels "org.opencontainers.image.version"}}' "$1" 2>/dev/null)
    [ -z "$said" ] || echo "version $said"
}

# Only what no stranger could have put there.
program() {
    owner=$(stat -L -c %u "$1" 2>/dev/null) mode=$(stat -L -c %a "$1" 2>/dev/null)
    case $owner in 0 | "$(id -u)") ;; *) return 1 ;; esac
    case $mode in *[2367][0-7] | *[0-7][2367]) return 1 ;; esac
    said=$("$1" version 2>/dev/null | head -n 1)
    [ -z "$said" ] || echo "version $said"
}

if [ -n "$pid" ]; then
    read -r name <"/proc/$pid/comm" 2>/dev/null
    container=$(own_id "/proc/$pid/cgroup")
    if [ -n "$container" ] && [ "$container" != "$(own_id /proc/self/cgroup)" ]; then
        in_container "$container"
        exit 0
    fi
    if [ "$name" != docker-proxy ]; then
        echo "of process $pid"
        program "/proc/$pid/exe"
        exit 0
    fi
fi

# A socket in a folder that a container has too, a published port, or a container's own address.
if command -v docker >/dev/null 2>&1; then
    case $host in
    /*)
        found=$(docker ps -q --no-trunc 2>/dev/null | xargs -r docker inspect -f \
            '{{.Id}}{{range .Mounts}}{{"\t"}}{{.Source}}{{end}}' 2>/dev/null |
            awk -F '\t' -v path="$host" '{ for (i = 2; i <= NF; i++) if (index(path, $i "/") == 1) { print $1; next } }')
        ;;
    127.* | localhost | "[::1]" | 0.0.0.0)
        found=$(docker ps --no-trunc --filter "publish=$port/tcp" --format '{{.ID}}' 2>/dev/null)
        ;;
    *)
        found=$(docker ps -q --no-trunc 2>/dev/null | xargs -r docker inspect -f \
            '{{.Id}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}{{.Name}} {{.Config.Hostname}}' 2>/dev/null |
            awk -v host="$host" '{ for (i = 2; i <= NF; i++) if ($i == host) { print $1; next } }')
        ;;
    esac
    # Several would be a guess.
    case $found in
    '' | *"
"*) ;;
    *)
        in_container "$found"
        exit 0
        ;;
    esac
fi

# Whoever may not see what others have open sees their names: of one Caddy on the host itself, its program.
if [ -z "$socket" ] || [ -n "$pid" ]; then exit 0; fi
found=
for one in /proc/[0-9]*; do
    name=
    { read -r name <"$one/comm"; } 2>/dev/null
    [ "$name" = caddy ] || continue
    [ "$(own_id "$one/cgroup")" = "$(own_id /proc/self/cgroup)" ] || continue
    [ -z "$found" ] || exit 0
    found=${one#/proc/}
done
[ -n "$found" ] || exit 0
path=$(tr '\0' '\n' <"/proc/$found/cmdline" 2>/dev/null | head -n 1)
case $path in
/*) ;;
*) path=$(command -v "$path" 2>/dev/null) ;;
esac
[ -n "$path" ] || exit 0
echo "of $path"
program "$path"
exit 0
