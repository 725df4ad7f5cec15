# shellcheck shell=sh
# look_docker.sh: functions that look.sh begins with where Docker is wanted. `lg_docker FILE` says one line, FILE being the
# host's os-release, of which nothing is run:
#
#   docker CLI ENGINE VERSION COMPOSE PACKAGE FOREIGN MEMBER APT ID RELEASE NAME
#
# CLI is whose `docker` is there: `none`, `distribution`, `docker.com`, `snap`, `podman`, `other`. ENGINE is `up`, `denied` (it
# does not let this user in) or `down`; VERSION and COMPOSE are theirs, or `-`. PACKAGE is how it stands with docker.io as dpkg
# has it, or `none`; FOREIGN whether docker.com's packages are there; MEMBER whether this user is in the group `docker`; APT
# whether there is apt. ID, RELEASE and NAME are the system's own words, without what could be anything else.

lg_word() {
    lg_text=$(printf '%s' "$1" | tr -cd 'A-Za-z0-9.+~_-' | cut -c 1-40)
    printf '%s' "${lg_text:--}"
}

# A program that hangs is no answer.
lg_soon() {
    if command -v timeout >/dev/null 2>&1; then timeout 10 "$@"; else "$@"; fi
}

lg_status() {
    lg_word "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || echo none)"
}

lg_cli() {
    lg_path=$(command -v docker 2>/dev/null) || { echo none; return; }
    lg_real=$(readlink -f "$lg_path" 2>/dev/null) || lg_real=$lg_path
    case $lg_path:$lg_real in /snap/* | *:/snap/* | */snap) echo snap; return ;; esac
    lg_owner=$(dpkg-query -S "$lg_real" 2>/dev/null) || lg_owner=''
    case ${lg_owner%%:*} in
    docker.io | docker-cli) echo distribution ;;
    docker-ce-cli) echo docker.com ;;
    podman-docker) echo podman ;;
    *) echo other ;;
    esac
}

lg_engine() {
    if lg_text=$(lg_soon docker version --format '{{.Server.Version}}' 2>&1); then
        echo "up $(lg_word "$(printf '%s\n' "$lg_text" | tail -n 1)")"
        return
    fi
    case $lg_text in *"permission denied"*) echo 'denied -' ;; *) echo 'down -' ;; esac
}

lg_compose() {
    lg_text=''
    if command -v docker >/dev/null 2>&1; then
        lg_text=$(lg_soon docker compose version --short 2>/dev/null) || lg_text=''
    fi
    [ -n "$lg_text" ] || lg_text=$(lg_soon docker-compose version --short 2>/dev/null) || lg_text=''
    lg_word "$(printf '%s\n' "$lg_text" | tail -n 1)"
}

# lg_of FILE KEY: its value in an os-release.
lg_of() {
    head -c 65536 "$1" 2>/dev/null | sed -n "s/^$2=//p" | head -n 1 | tr -cd 'A-Za-z0-9.()/ +_-' | cut -c 1-60
}

lg_docker() {
    lg_whose=$(lg_cli)
    if [ "$lg_whose" = none ]; then lg_state='down -'; else lg_state=$(lg_engine); fi
    lg_has=$(lg_compose)
    lg_foreign=no lg_member=no lg_apt=no
    for lg_one in docker-ce docker-ce-cli containerd.io; do
        [ "$(lg_status "$lg_one")" != installed ] || lg_foreign=yes
    done
    case " $(id -nG "$(id -un)" 2>/dev/null) " in *" docker "*) lg_member=yes ;; esac
    if command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1; then lg_apt=yes; fi
    case $lg_state:$lg_has in up*:-) lg_ask ;; up*) ;; *) lg_ask ;; esac
    echo "docker $lg_whose $lg_state $lg_has $(lg_status docker.io) $lg_foreign $lg_member $lg_apt" \
        "$(lg_word "$(lg_of "$1" ID)") $(lg_word "$(lg_of "$1" VERSION_ID)") $(lg_of "$1" PRETTY_NAME)"
}
