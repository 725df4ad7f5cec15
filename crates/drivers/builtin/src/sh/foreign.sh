# shellcheck shell=sh
# foreign.sh DIR, after ours.sh: whether the proxy's folder, and what it keeps there, is ours.
lg_ours "$1" "$1"/*.json "$1/proxy.lock" "$1/supervisor.lock" "$1/proxy.log"
