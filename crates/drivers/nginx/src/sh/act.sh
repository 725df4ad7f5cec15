# shellcheck shell=sh
# act.sh CONTAINER CONFIG test|reload: has nginx test its configuration, or load it anew; `-` for what is not given. Ends as
# nginx does; 127 where there is no nginx.
PATH=$PATH:/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin
container=$1
config=$2
case $3 in
test) set -- -t ;;
reload) set -- -s reload ;;
*) exit 2 ;;
esac
[ "$config" = - ] || set -- "$@" -c "$config"
if [ "$container" = - ]; then
    command -v nginx >/dev/null 2>&1 || exit 127
    exec nginx "$@"
fi
exec docker exec -- "$container" nginx "$@"
