# shellcheck shell=sh
# dump.sh CONTAINER CONFIG: nginx's version and, below it, its whole configuration as nginx itself reads it (`nginx -T`);
# `-` for what is not given. Ends as nginx does; 127 where there is no nginx. Changes nothing.
PATH=$PATH:/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin
container=$1
config=$2
run() {
    if [ "$container" = - ]; then "$@"; else docker exec -- "$container" "$@"; fi
}
if [ "$container" = - ]; then command -v nginx >/dev/null 2>&1 || exit 127; fi
version=$(run nginx -v 2>&1) || {
    code=$?
    echo "$version" >&2
    exit "$code"
}
echo "# $version"
if [ "$config" = - ]; then run nginx -T; else run nginx -T -c "$config"; fi
