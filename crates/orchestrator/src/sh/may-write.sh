# shellcheck shell=sh
# may-write.sh HOME STATE, after ours.sh: succeeds when this user may make and replace files in both folders (STATE is in
# HOME) and the files that are in STATE, or make them where they are missing. Looks only.
folder=$2
while [ ! -e "$folder" ]; do folder=$(dirname -- "$folder"); done
if [ ! -d "$folder" ] || [ ! -w "$folder" ] || [ ! -x "$folder" ]; then
    echo "$folder"
    exit 1
fi
[ "$folder" = "$2" ] || exit 0
lg_ours "$2" "$2"/*.json "$2"/*.lock || exit 77
for one in "$1" "$2"/*; do
    [ ! -e "$one" ] || [ -w "$one" ] || {
        echo "$one"
        exit 1
    }
done
