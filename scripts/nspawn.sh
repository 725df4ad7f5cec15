# shellcheck shell=bash
# A Debian 12 that systemd-nspawn boots here, for scripts/daemon and examples/c-ship. To be sourced behind examples/lib.sh; sets
# NSPAWN and ROOT, and wants MACHINE (its name) and BINDS (options of systemd-nspawn) from whoever boots it.
#
# The Debian lies in ~/.cache/lockgate/nspawn (kept; made anew when it is removed) and is not changed.

# shellcheck source=scripts/debian.sh
. "$LOCKGATE_ROOT/scripts/debian.sh"

readonly SUITE=bookworm
readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/lockgate/nspawn
readonly PACKAGES=systemd,systemd-sysv,dbus,curl,ca-certificates,iproute2,procps,openssl
readonly BOOT_SECONDS_MAX=60

make_root() {
  local mirror program package
  for program in debootstrap:debootstrap systemd-nspawn:systemd-container; do
    package=${program#*:}
    command -v "${program%%:*}" >/dev/null && continue
    say "installing $package"
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || fail "$package could not be installed"
  done
  [ ! -e "$CACHE/$SUITE/complete" ] || return 0
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || fail "apt has no source of Debian's" "look at /etc/apt/sources.list.d, run apt-get update"
  say "making a Debian $SUITE in $CACHE/$SUITE, log in $CACHE/$SUITE.log"
  rm -rf -- "${CACHE:?}/$SUITE"
  mkdir -p "$CACHE"
  debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$CACHE/$SUITE" "$mirror" >"$CACHE/$SUITE.log" 2>&1 \
    || { tail -n 5 "$CACHE/$SUITE.log" >&2; fail "Debian $SUITE could not be made"; }
  rm -f -- "$CACHE/$SUITE"/var/cache/apt/archives/*.deb
  touch "$CACHE/$SUITE/complete"
}

# debian_in FOLDER LOWER: what is in the folders LOWER, with a layer of its own in $WORK/layer over it, until the end.
debian_in() {
  mkdir -p "$WORK/layer/upper" "$WORK/layer/work" "$1"
  mount -t overlay overlay -o "lowerdir=$2,upperdir=$WORK/layer/upper,workdir=$WORK/layer/work" "$1"
  on_exit umount "$1"
  ROOT=$1
}

power_on() {
  start "$WORK/nspawn.log" systemd-nspawn -q -b --register=no --keep-unit --console=pipe -D "$ROOT" \
    --machine="$MACHINE" "${BINDS[@]}"
  NSPAWN=$STARTED_PID
  booted
}

booted() { wait_for "$BOOT_SECONDS_MAX" is_booted || { tail -n 30 "$WORK/nspawn.log" >&2; fail "it does not boot"; }; }

# The container's first process.
leader() { pgrep -P "$NSPAWN" | head -n 1; }

inside() {
  nsenter --target "$(leader)" --mount --uts --ipc --pid --cgroup -- env -i HOME=/root LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

is_booted() { case $(inside systemctl is-system-running) in running | degraded) ;; *) return 1 ;; esac; }

# With --keep-unit it is whoever started nspawn that starts it again after a reboot.
reboot_it() {
  inside systemctl reboot || true
  wait_for "$BOOT_SECONDS_MAX" is_off || fail "it does not go down"
  power_on
}

is_off() { ! kill -0 "$NSPAWN" 2>/dev/null; }
