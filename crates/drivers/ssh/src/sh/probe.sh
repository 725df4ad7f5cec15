# shellcheck shell=sh disable=SC2154
# For `doctor`: the clock, the system, and a line for every program that is missing.
lg_probe() {
    lg_clock
    uname -sr
    for lg_program in $lg_programs; do
        command -v "$lg_program" >/dev/null || echo "$lg_program"
    done
}
