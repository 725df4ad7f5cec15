# shellcheck shell=bash
# What the guide takes as given: a registry with a login, Slack, a droplet that has only just been ordered, and the repository
# of an app. Sourced by `run`, which sets $WORK.

readonly GUIDE=$LOCKGATE_ROOT/docs/ship.md
# Below it is what the droplet has in `/`, as this machine sees it, and as the droplet itself does.
readonly DROPLET=$WORK/droplet
ON_DROPLET=$DROPLET
readonly REPOSITORY=$WORK/repository
readonly REGISTRY_USER=ci
readonly CONTAINER=monarch

# around_up: all that is there before the droplet answers.
around_up() {
  local names
  names=$(docker ps -aq --filter "name=^$CONTAINER\$")
  [ -z "$names" ] || fail "a container $CONTAINER exists already" "another run of this example? else remove it"
  REGISTRY=127.0.0.1:$(free_port)
  APP=$(free_port)
  SSH_PORT=$(free_port)
  SLACK=$(free_port)
  # With what shells, Compose and YAML take for something else; the hexadecimal part is what is looked for.
  CANARY=c4nary$(openssl rand -hex 12)
  AWKWARD="$CANARY '\"\\ \$HOME #x"
  REGISTRY_PASSWORD=$(openssl rand -hex 12)
  htpasswd_file "$WORK/htpasswd" "$REGISTRY_USER" <<<"$REGISTRY_PASSWORD"
  registry_up "${REGISTRY##*:}" "$WORK/registry" "$WORK/htpasswd"
  start "$WORK/slack.log" python3 "$LOCKGATE_ROOT/examples/slack-double.py" "$SLACK" "$WORK/slack"
  wait_for "$START_SECONDS_MAX" port_answers "$SLACK"
  on_exit droplet_down
  # The droplet has a port of its own here, which ssh is told without the guide's help.
  export DEPLOY_SSH_PORT=$SSH_PORT
  # What the shell of whoever runs this has must not help.
  unset SSH_AUTH_SOCK DOCKER_CONFIG
}

# droplet_boots: sshd answers; Docker is there, and what says that all is there is not.
droplet_boots() {
  mkdir -p "$DROPLET/opt" "$DROPLET/root"
  sshd_up "$SSH_PORT" "$WORK/ssh" "SetEnv HOME=$DROPLET/root"
}

# cloud-init's last line.
droplet_is_complete() { touch "$DROPLET/opt/setup_complete"; }

# repository_up: the app as its authors left it, in git.
repository_up() {
  mkdir -p "$REPOSITORY"
  cp -R "$HERE/app/." "$REPOSITORY"
  install -D -m 755 "$LOCKGATE_HELLO" "$REPOSITORY/bin/app"
  # Nobody's own settings have a part in this.
  export GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_CONFIG_SYSTEM=/dev/null
  git config --global user.name 'Kim Ship'
  git config --global user.email kim@monarch.example
  git config --global init.defaultBranch main
  git -C "$REPOSITORY" init -q
  committed 'Begin'
}

# committed SUBJECT: all that lies in the repository.
committed() {
  git -C "$REPOSITORY" add -A
  git -C "$REPOSITORY" commit -q -m "$1"
}

sha() { git -C "$REPOSITORY" rev-parse HEAD; }

# Prints a file of the guide, for this machine.
guide_file() {
  sed -n "\\|^# ${1//./\\.}\$|,/^\`\`\`\$/p" "$GUIDE" | sed '$d' | here
}

# What the guide says, as it is called here.
here() {
  sed -e "s|registry\.example\.com|$REGISTRY|g; s|\"80:8000\"|\"127.0.0.1:$APP:8000\"|g; s|/opt/|$ON_DROPLET/opt/|g" \
    -e "s|ssh-keyscan |ssh-keyscan -p $SSH_PORT |g; s|203\.0\.113\.7|127.0.0.1|g; s|~/\.ssh/id_ed25519|$WORK/ssh/id|g" \
    -e "s|https://hooks\.slack\.com/services/…|http://127.0.0.1:$SLACK/services/T000/B000/$CANARY-slack|g" \
    -e "s|\"python manage.py migrate\"|\"/app --help\"|" \
    -e "s|DOCKER_PASSWORD=…|DOCKER_PASSWORD=\$REGISTRY_PASSWORD|g; s|SECRET_KEY=…|SECRET_KEY=\$AWKWARD|g"
}

droplet_down() {
  docker ps -aq --filter "name=^$CONTAINER\$" | xargs -r docker rm -f -v >/dev/null
  docker network ls -q --filter "name=^${CONTAINER}_default\$" | xargs -r docker network rm >/dev/null
  docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "$REGISTRY/*/*" \
    | tr ' ' '\n' | { grep -v '<none>' || true; } | sort -u | xargs -r docker image rm -f >/dev/null 2>&1 || true
  docker images --format '{{.Repository}}:{{.Tag}}' "lockgate.internal/keep/$CONTAINER/prod/$CONTAINER" \
    | xargs -r docker image rm >/dev/null 2>&1 || true
}

# ---- what is looked at ------------------------------------------------------------------------

live() { curl -s --max-time 5 -o /dev/null -w '%header{x-release}' "http://127.0.0.1:$APP/"; }
expect_live() { assert_eq "what is live" "$1" "$(live)"; }

# manifest TAG: the digest that the registry has for it; nothing where it has none.
manifest() {
  curl -s --max-time 5 -o /dev/null -u "$REGISTRY_USER:$REGISTRY_PASSWORD" -w '%header{docker-content-digest}' \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    -H 'Accept: application/vnd.oci.image.index.v1+json' "http://$REGISTRY/v2/acme/monarch/manifests/$1"
}

# slack_says TEXT: the last message does.
slack_says() {
  wait_for 10 slack_said "$1" || { cat "$WORK/slack" >&2; fail "Slack was not told '$1'"; }
}
slack_said() { tail -n 1 "$WORK/slack" | grep -qF -- "$1"; }
slack_count() { wc -l <"$WORK/slack"; }

# Looks at all command lines for the canary, until $WORK/watched is there.
watch_processes() {
  trap - EXIT INT TERM HUP
  until [ -e "$WORK/watched" ]; do
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -aFf "$WORK/canary" || true
    sleep 0.1
  done
}

# holding TEXT: the files below $WORK that have it in them, beside what this script keeps itself.
holding() {
  (cd "$WORK" && grep -raFl -e "$1" . --exclude=canary --exclude-dir=ssh --exclude-dir=layer | sed 's|^\./||' | sort | xargs)
}
