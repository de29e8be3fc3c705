#!/bin/sh
# Starts gearmand-py with its own variables (GEARMAND_..., docs/options.md), and with those that the image
# artefactual/gearmand takes, so that its users change the image's name and nothing else. Ours win.
set -eu

# take THEIRS OURS: OURS gets the value of THEIRS, unless it has one of its own.
take() {
  eval "theirs=\${$1-} ours=\${$2-}"
  if [ -n "$theirs" ] && [ -z "$ours" ]; then
    export "$2=$theirs"
  fi
}

# Kubernetes sets this for a service of that name.
case "${GEARMAND_PORT-}" in tcp:*) unset GEARMAND_PORT ;; esac
# Whoever names a database means that one.
if [ -n "${GEARMAND_DATABASE-}${GEARMAND_DATABASE_FILE-}" ]; then unset QUEUE_TYPE; fi
# There 0 attempts are no limit, here -1 are.
if [ "${JOB_RETRIES-}" = 0 ]; then JOB_RETRIES=-1; fi

for name in VERBOSE QUEUE_TYPE THREADS BACKLOG FILE_DESCRIPTORS JOB_RETRIES WORKER_WAKEUP \
  KEEPALIVE KEEPALIVE_IDLE KEEPALIVE_INTERVAL KEEPALIVE_COUNT; do
  take "$name" "GEARMAND_$name"
done
case "${QUEUE_TYPE-}" in
  [Mm][Yy][Ss][Qq][Ll])
    : "${MYSQL_USER:=root}" "${MYSQL_DB:=Gearmand}" # its defaults
    for name in HOST PORT USER PASSWORD PASSWORD_FILE DB TABLE; do
      take "MYSQL_$name" "GEARMAND_MYSQL_$name"
    done
    ;;
esac
if [ -e /etc/gearmand.conf ]; then
  : "${GEARMAND_CONFIG_FILE:=/etc/gearmand.conf}"
  export GEARMAND_CONFIG_FILE
fi

case "${1-}" in gearmand | gearmand-py) shift ;; esac
exec gearmand-py "$@"
