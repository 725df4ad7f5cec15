# shellcheck shell=sh
# files.sh CWD PROGRAM ARGUMENT...: which of them are files on this host, by what name, and their identity.
# Three lines each: `file INDEX CHANGED_SECONDS`, the path, the identity.
cd "$1" 2>/dev/null || { echo nocwd; exit 0; }
shift
lg_say() {
    lg_stat=$(stat -Lc '%Z %s:%d:%i:%y:%z' -- "$2") || return 0
    case $2 in /*) lg_path=$2 ;; *) lg_path=$PWD/$2 ;; esac
    printf 'file %s %s\n%s\n%s\n' "$1" "${lg_stat%% *}" "$lg_path" "${lg_stat#* }"
}
case $1 in
*/*) [ -f "$1" ] && [ -x "$1" ] && lg_say 0 "$1" ;;
*)
    lg_rest=$PATH:
    while [ -n "$lg_rest" ]; do
        lg_folder=${lg_rest%%:*} lg_rest=${lg_rest#*:}
        if [ -f "${lg_folder:-.}/$1" ] && [ -x "${lg_folder:-.}/$1" ]; then
            lg_say 0 "${lg_folder:-.}/$1"
            break
        fi
    done
    ;;
esac
shift
lg_index=1
for lg_arg do
    [ -z "$lg_arg" ] || { [ -f "$lg_arg" ] && lg_say "$lg_index" "$lg_arg"; }
    lg_index=$((lg_index + 1))
done
exit 0
