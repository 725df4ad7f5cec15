# shellcheck shell=sh
# keeper.sh PREFIX TOKEN CWD ARGV...: says who it is, runs the program to its end, and writes down what it ended with. Its
# pid file is made once: of two who begin the same, one does.
lg_prefix=$1 lg_cwd=$3
LOCKGATE_TOKEN=$2
export LOCKGATE_TOKEN
shift 3
lg_fail() {
    printf 'error %s\n' "$1" >&3
    exit 1
}
lg_began() { shift 19; lg_born=$1; }
lg_text=
while IFS= read -r lg_line; do lg_text="$lg_text$lg_line "; done < "/proc/$$/stat"
# shellcheck disable=SC2086 # a word for each field
lg_began ${lg_text##*") "}
IFS= read -r lg_boot < /proc/sys/kernel/random/boot_id || lg_fail 'the boot id cannot be read'
cd "$lg_cwd" || lg_fail 'the working folder cannot be entered'
(umask 077 && set -C && echo "$$ $lg_born $lg_boot" > "$lg_prefix.pid") 2>/dev/null || lg_fail 'it was begun already, or its pid file cannot be written'
trap '' PIPE
{ echo started >&3; } 2>/dev/null || :
trap - PIPE
exec 3>&-
"$@"
lg_code=$?
(umask 077 && echo "$lg_code" > "$lg_prefix.code.new" && mv -f -- "$lg_prefix.code.new" "$lg_prefix.code")
