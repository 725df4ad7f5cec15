# shellcheck shell=sh
# launch.sh DIR ARGV..., after ours.sh: starts the program in a session of its own, so that it outlives whoever called. Of
# the environment it gets only what any program needs: it lives long, and the caller's secrets are none of its business.
dir=$1
shift
# The folder alone; those above it are made as the umask says.
# shellcheck disable=SC2174
(umask go-w && mkdir -p -m 700 -- "$dir") || exit 1
[ ! -f "$dir/proxy.log" ] || [ -L "$dir/proxy.log" ] || [ ! -O "$dir/proxy.log" ] || chmod 600 "$dir/proxy.log"
lg_ours "$dir" "$dir"/*.json "$dir/proxy.lock" "$dir/supervisor.lock" "$dir/proxy.log" || exit 77
(umask 077 && : >> "$dir/proxy.log") || exit 1
set -- env -i PATH="$PATH" HOME="$HOME" LANG="$LANG" TZ="$TZ" "$@"
exec >> "$dir/proxy.log" 2>&1 < /dev/null || exit 1
setsid -f "$@" || { setsid "$@" & }
