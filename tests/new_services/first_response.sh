#!/usr/bin/env bash
# Measures the time from `git clone` to the first 201 of a service of one's own, with all packages installed anew.
set -euo pipefail
project=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
work=$(mktemp -d)
port=${PORT:-8765}
server=
end() {
    if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; fi
    rm -rf "$work"
}
trap end EXIT
SECONDS=0

git clone --quiet "$project" "$work/clone"
cd "$work/clone"
make -s .venv/dev
echo "cloned and installed the tools after $SECONDS s"
make -s new NAME=orders
echo "made the service after $SECONDS s"
cd "$work/orders"
make -s .venv/run
echo "installed what the service needs after $SECONDS s"
make -s run PORT="$port" > "$work/log" 2>&1 &
server=$!
until curl --silent --fail "http://127.0.0.1:$port/health/ready" > /dev/null; do
    kill -0 "$server" || { cat "$work/log"; exit 1; }
    sleep 0.1
done
curl --silent --show-error --output /dev/null --write-out 'status %{http_code}' "http://127.0.0.1:$port/orders/" \
    --json '{"name": "The first"}'
echo " after $SECONDS s"
