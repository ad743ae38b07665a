#!/bin/sh
# Makes a store in the middle of its work, as text, by a program of before:
#     make.sh PROGRAM sqlite sqlite.sql
#     make.sh PROGRAM postgres://user@host/empty-database postgres.sql
# The program is stopped by SIGKILL while two runs are running, one waits for its next attempt, and two for their turn.
set -eu
program=$1
store=$2
target=$3
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
[ "$store" = sqlite ] && store="sqlite:$folder/store.db"
export CAMPANILE_TOKEN=cmp_Vq8tZ2xLr6YwKd1MhNc5 CAMPANILE_URL=http://127.0.0.1:17070
cd "$folder"
"$program" serve --store "$store" --listen 127.0.0.1:17070 --name old --queues default \
    --allow-commands /bin/true,/bin/false,/bin/echo,/bin/sh,/bin/sleep >serve.log 2>&1 &
node=$!
trap "kill -KILL $node 2>/dev/null || true" EXIT
until "$program" leader show --output json 2>/dev/null | grep -q '"epoch": *[1-9]'; do sleep 0.2; done
"$program" apply "$here/tasks.toml"
for task in spoken failing second-try killed behind killed-once elsewhere; do
    "$program" task trigger "$task" >/dev/null
done
"$program" run submit --task spoken --run-at 2099-01-01T00:00:00Z --idempotency-key in-2099
in_state() { "$program" run list --state "$1" --output json | grep -c '"state"' || true; }
until [ "$(in_state running)" -ge 2 ] && [ "$(in_state failed)" -ge 1 ] && [ "$(in_state succeeded)" -ge 1 ] &&
    "$program" run list --task second-try --output json | grep -q '"failures": *1'; do
    sleep 0.2
done
# As a program does that leaves a request in a transaction of its own, just before the leader dies.
kill -STOP $node
insert="INSERT INTO campanile_inbox (request) VALUES ('{\"task\": \"spoken\", \"idempotency_key\": \"from-inbox\"}')"
case $store in
sqlite:*)
    kill -KILL $node
    sqlite3 "$folder/store.db" "$insert; PRAGMA wal_checkpoint(TRUNCATE);" >/dev/null
    sqlite3 "$folder/store.db" .dump >"$target"
    ;;
*)
    kill -KILL $node
    psql -q "$store" -c "$insert"
    pg_dump --inserts --no-owner --no-privileges "$store" | grep -v '^\\\|^SET \|^SELECT pg_catalog.set_config\|^--\|^$' >"$target"
    ;;
esac
rm -rf "$folder"
