# shellcheck shell=bash
# The droplet as a Debian 12 that systemd boots here, in the place of this machine's own files behind an sshd. Sourced by `run`
# behind droplet.sh when it is told --booted. It has this machine's network and this machine's Docker Engine.

# shellcheck source=scripts/nspawn.sh
. "$LOCKGATE_ROOT/scripts/nspawn.sh"

readonly MACHINE=lockgate-droplet
readonly WITH_SSH=$CACHE/$SUITE-login
# Seen from the droplet its files are where the guide has them.
ON_DROPLET=

# sshd and sudo over the Debian, kept as a layer.
make_ssh_layer() {
  [ ! -e "$WITH_SSH/complete" ] || return 0
  say "putting sshd and sudo over the Debian, log in $WITH_SSH.log"
  rm -rf -- "$WITH_SSH"
  mkdir -p "$WITH_SSH/upper" "$WITH_SSH/work" "$WITH_SSH/root"
  mount -t overlay overlay -o "lowerdir=$CACHE/$SUITE,upperdir=$WITH_SSH/upper,workdir=$WITH_SSH/work" "$WITH_SSH/root"
  on_exit unmounted "$WITH_SSH/root"
  cp -L /etc/resolv.conf "$WITH_SSH/root/etc/resolv.conf"
  # Nothing is started in there.
  printf '#!/bin/sh\nexit 101\n' >"$WITH_SSH/root/usr/sbin/policy-rc.d"
  chmod 755 "$WITH_SSH/root/usr/sbin/policy-rc.d"
  in_layer apt-get update -q && in_layer apt-get install -q -y --no-install-recommends openssh-server sudo \
    || { tail -n 5 "$WITH_SSH.log" >&2; fail "sshd and sudo could not be put over the Debian"; }
  rm -f -- "$WITH_SSH/root/usr/sbin/policy-rc.d" "$WITH_SSH/root"/var/cache/apt/archives/*.deb "$WITH_SSH/root"/etc/ssh/ssh_host_*
  umount "$WITH_SSH/root"
  touch "$WITH_SSH/complete"
}

in_layer() { chroot "$WITH_SSH/root" env DEBIAN_FRONTEND=noninteractive "$@" >>"$WITH_SSH.log" 2>&1; }
unmounted() { ! mountpoint -q "$1" || umount "$1"; }

droplet_boots() {
  make_root
  make_ssh_layer
  mkdir -p "$WORK/ssh"
  ssh-keygen -q -t ed25519 -N '' -f "$WORK/ssh/host_key"
  ssh-keygen -q -t ed25519 -N '' -f "$WORK/ssh/id"
  debian_in "$DROPLET" "$WITH_SSH/upper:$CACHE/$SUITE"
  install -m 600 "$WORK/ssh/host_key" "$DROPLET/etc/ssh/ssh_host_ed25519_key"
  install -D -m 600 "$WORK/ssh/id.pub" "$DROPLET/root/.ssh/authorized_keys"
  printf '%s\n' "Port $SSH_PORT" 'ListenAddress 127.0.0.1' 'HostKey /etc/ssh/ssh_host_ed25519_key' >"$DROPLET/etc/ssh/sshd_config.d/droplet.conf"
  first_time_setup
  BINDS=("--bind=$(realpath /var/run/docker.sock):/run/docker.sock")
  power_on
  wait_for "$START_SECONDS_MAX" port_answers "$SSH_PORT" || fail "sshd does not answer on the droplet"
}

# What cloud-init does at the first boot: Docker is there at its end, and then the file that says so.
first_time_setup() {
  install -D -m 755 "$(command -v docker)" "$DROPLET/var/lib/first-time/docker"
  install -m 755 /usr/libexec/docker/cli-plugins/docker-compose "$DROPLET/var/lib/first-time/docker-compose"
  cat >"$DROPLET/var/lib/first-time/setup" <<'SETUP'
#!/bin/sh
set -e
until [ -e /var/lib/first-time/go ]; do sleep 0.1; done
install -m 755 /var/lib/first-time/docker /usr/local/bin/docker
install -D -m 755 /var/lib/first-time/docker-compose /usr/libexec/docker/cli-plugins/docker-compose
touch /opt/setup_complete
SETUP
  chmod 755 "$DROPLET/var/lib/first-time/setup"
  printf '%s\n' '[Service]' 'Type=exec' 'ExecStart=/var/lib/first-time/setup' '[Install]' 'WantedBy=multi-user.target' \
    >"$DROPLET/etc/systemd/system/first-time.service"
  ln -sf /etc/systemd/system/first-time.service "$DROPLET/etc/systemd/system/multi-user.target.wants/first-time.service"
}

droplet_is_complete() { touch "$DROPLET/var/lib/first-time/go"; }
