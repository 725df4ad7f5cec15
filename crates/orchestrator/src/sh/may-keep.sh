# shellcheck shell=sh
# may-keep.sh FILE: succeeds when this user may make or replace FILE, whose folders may be missing; else says why not.
# Looks only.
folder=$(dirname -- "$1")
while [ ! -e "$folder" ] && [ ! -L "$folder" ]; do folder=$(dirname -- "$folder"); done
if [ ! -d "$folder" ]; then
    echo "$folder is no folder"
elif [ ! -w "$folder" ] || [ ! -x "$folder" ]; then
    echo "this user may not write in $folder"
elif [ -d "$1" ] && [ ! -L "$1" ]; then
    echo "$1 is a folder"
else
    exit 0
fi
exit 1
