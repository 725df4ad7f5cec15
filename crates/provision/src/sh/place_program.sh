# shellcheck shell=sh
# place_program.sh FOLDER FILE PATH: makes FILE in FOLDER, which is this user's own, the program at PATH by sudo, whole or not at
# all, and removes the folder.
LC_ALL=C
export LC_ALL
trap 'rm -rf -- "$1"' EXIT
sudo -n -- install -m 755 -- "$1/$2" "$3.lockgate-new" || exit 1
sudo -n -- sync "$3.lockgate-new" 2>/dev/null || sync
sudo -n -- mv -f -- "$3.lockgate-new" "$3"
