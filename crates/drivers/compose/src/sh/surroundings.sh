# shellcheck shell=sh
# surroundings.sh: what docker's command line on this host goes by, each part ended by a zero byte: DOCKER_HOST, DOCKER_CONTEXT,
# DOCKER_TLS, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH, the folder of config.json; then that file's content, where it can be read.
config=${DOCKER_CONFIG:-}
if [ -z "$config" ]; then
    home=${HOME:-/root}
    config=${home%/}/.docker
fi
printf '%s\0' "${DOCKER_HOST:-}" "${DOCKER_CONTEXT:-}" "${DOCKER_TLS:-}" "${DOCKER_TLS_VERIFY:-}" "${DOCKER_CERT_PATH:-}" "$config"
if [ -r "$config/config.json" ]; then cat -- "$config/config.json"; fi
