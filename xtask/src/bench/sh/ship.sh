# shellcheck shell=sh
# ship.sh IMAGE DIR PORT CONFIG HOST, in a repository: system C's way by hand, with one session on the host. Docker is logged in
# here and there, and DIR has its .env.
set -eu
image=$1 dir=$2 port=$3 config=$4 host=$5
test -z "$(git status --porcelain)"
sha=$(git rev-parse HEAD)
sh -c true
docker build -q -t "$image:$sha" -t "$image:latest" . >/dev/null
docker push -q "$image:$sha" >/dev/null
docker push -q "$image:latest" >/dev/null
ssh -F "$config" "$host" "set -e
mkdir -p $dir
cat >$dir/docker-compose.yml
cd $dir
export IMAGE_TAG=$sha
docker compose pull -q web
docker compose up -d --no-deps web >/dev/null 2>&1
until curl -sf -o /dev/null http://127.0.0.1:$port/health; do sleep 0.05; done" <docker-compose.yml
