# shellcheck shell=sh
# install_docker.sh LOCK_SECONDS ENGINE_SECONDS JOIN [PACKAGE]...: installs packages by apt-get and starts the engine; all that is
# said is on standard output. JOIN is `join` where this user becomes a member of the group `docker`, else `-`.
#
# What this user may not do is done by sudo, each command by itself: an administrator sees in sudo's log what was done. Somebody
# else's apt is waited for, at most LOCK_SECONDS at a time, and the engine's answer ENGINE_SECONDS. Broken off anywhere it is
# called again: what dpkg was in the middle of is ended first.
#
# Exit codes beside apt's: 90 when apt's lock was not free in time, 91 when the engine does not answer in time.
exec </dev/null 2>&1
LC_ALL=C
export LC_ALL
lg_lock_seconds=$1 lg_engine_seconds=$2 lg_join=$3
shift 3
lg_dir=$(mktemp -d) || exit 1
trap 'rm -rf -- "$lg_dir"' EXIT
trap 'exit 143' TERM INT HUP

lg_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi
}

# Asks nobody anything, keeps files that somebody has changed, and restarts nothing else.
lg_quiet() {
    lg_root env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 "$@"
}

lg_apt() {
    lg_quiet apt-get -q -y -o DPkg::Lock::Timeout=30 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Its exit code, and what it says in a file, too.
lg_heard() {
    rm -f -- "$lg_dir/code"
    { "$@"; echo "$?" >"$lg_dir/code"; } 2>&1 | tee "$lg_dir/said"
    read -r lg_code <"$lg_dir/code" || lg_code=1
    return "$lg_code"
}

# Waits for whoever has one of apt's locks. For two of them apt itself does not.
lg_turn() {
    lg_until=$(($(date +%s) + lg_lock_seconds))
    until lg_heard "$@"; do
        grep -Eq 'Could not get lock|Unable to lock|lock was locked by another process' "$lg_dir/said" || return "$lg_code"
        [ "$(date +%s)" -lt "$lg_until" ] || exit 90
        sleep 1
    done
}

lg_answers() { lg_root timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

if [ "$#" -gt 0 ]; then
    # Neither need succeed: a third party's source may be broken, and what is half installed may want what is missing.
    lg_turn lg_quiet dpkg --configure -a --force-confdef --force-confold
    lg_turn lg_apt update
    # Nothing that is there is removed for it.
    lg_turn lg_apt install --no-install-recommends --no-remove --fix-broken "$@" || exit
fi
if [ -d /run/systemd/system ]; then
    lg_root systemctl enable --now docker.service || echo 'systemctl could not start it'
elif ! lg_answers; then
    lg_root service docker start || echo 'service could not start it'
fi
lg_until=$(($(date +%s) + lg_engine_seconds))
until lg_answers; do
    if [ "$(date +%s)" -ge "$lg_until" ]; then
        lg_root journalctl -u docker -n 5 --no-pager -o cat
        lg_root docker version --format '{{.Server.Version}}'
        exit 91
    fi
    sleep 1
done
if [ "$lg_join" = join ]; then lg_root usermod -a -G docker -- "$(id -un)"; fi
