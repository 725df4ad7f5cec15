# shellcheck shell=sh disable=SC2154
# lines.sh: runs a command in a session of its own, as exec.sh says (`lg_exec`). The session's shell leads its process
# group, and both outputs are the session's.
set -- "$lg_size" "$$"
eval "$lg_exec"
