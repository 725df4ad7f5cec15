# shellcheck shell=sh disable=SC2034
# who.sh PREFIX TOKEN CWD ARGV..., before launcher.sh or keeper.sh: who this process is, in the working folder. Behind it
# the arguments are ARGV alone.
lg_prefix=$1 lg_token=$2 lg_cwd=$3
shift 3
lg_fail() {
    printf 'error %s\n' "$1" >&3
    exit 1
}
# Who started it may have been cut off since, and a next start may have seen it alive: it must not die of a pipe that
# nobody reads. What is ignored would be inherited, so that is taken back.
lg_started() {
    trap '' PIPE
    { echo started >&3; } 2>/dev/null || :
    trap - PIPE
    exec 3>&-
}
lg_began() { shift 19; lg_born=$1; }
lg_text=
while IFS= read -r lg_line; do lg_text="$lg_text$lg_line "; done < "/proc/$$/stat"
# shellcheck disable=SC2086 # a word for each field
lg_began ${lg_text##*") "}
IFS= read -r lg_boot < /proc/sys/kernel/random/boot_id || lg_fail 'the boot id cannot be read'
cd "$lg_cwd" || lg_fail 'the working folder cannot be entered'
