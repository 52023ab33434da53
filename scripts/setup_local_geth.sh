#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Start an Ethereum node for development on http://127.0.0.1:8545: geth if it is installed, anvil otherwise.
#
#   bash scripts/setup_local_geth.sh         start it; its log is geth_dev.log in the current folder
#   bash scripts/setup_local_geth.sh stop    stop it
#
# MRV_GETH_PORT names another port. The chain is gone when the node stops; 'mrv devnet up' runs nodes that keep theirs.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
port=${MRV_GETH_PORT:-8545}
log=geth_dev.log
pid_file=geth_dev.pid

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $1"
  say "hint: $2"
  exit 1
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# The process id counts only with the time that process started, for ids are used again.
started_at() {
  local line
  if [ -r "/proc/$1/stat" ]; then
    line=$(<"/proc/$1/stat")
    read -r -a line <<<"${line##*) }" # after the name, which may hold spaces, field 20 is the start time
    printf '%s\n' "${line[19]}"
  elif [ ! -d /proc/self ]; then
    ps -o lstart= -p "$1" 2>/dev/null | tr -s ' '
  fi
}

running() {
  [ -s "$pid_file" ] || return 1
  { read -r pid && read -r started; } <"$pid_file" || return 1
  [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ]
}

if [ "${1:-}" = stop ]; then
  if running; then
    kill "$pid"
    for _ in $(seq 100); do
      running || break
      sleep 0.1
    done
    say "stopped process $pid"
  else
    say "nothing was running"
  fi
  rm -f "$pid_file"
  exit 0
fi
[ $# -eq 0 ] || die "unknown argument: $1" "without an argument the node is started, 'stop' stops it"

if running && listens; then
  say "it runs already: http://127.0.0.1:$port, process $pid, log $log"
  exit 0
fi
if listens; then
  die "port $port is used by another program" "see which one with 'lsof -i :$port', or set MRV_GETH_PORT"
fi

if command -v geth >/dev/null; then
  name=geth
  command=(geth --dev --http --http.addr 127.0.0.1 --http.port "$port" --http.api eth,net,web3)
else
  say "geth is not installed; starting anvil instead"
  python=$project/.venv/bin/python
  [ -x "$python" ] || python=$(command -v python3) || die "no python3" "run 'make test' once, or install Python"
  program=$(cd "$project" && "$python" -m mrv_devnet.programs anvil) ||
    die "there is no anvil either" "install geth or Foundry, or set MRV_ANVIL"
  name=anvil
  eval "command=($program)" # printed in shell quotes
  command+=(--host 127.0.0.1 --port "$port")
fi

(umask 077 && : >"$log")
nohup "${command[@]}" >>"$log" 2>&1 </dev/null &
pid=$!
printf '%s\n%s\n' "$pid" "$(started_at "$pid")" >"$pid_file"
for _ in $(seq 600); do
  listens && break
  if ! kill -0 "$pid" 2>/dev/null; then
    rm -f "$pid_file"
    die "$name ended: $(tail -n 3 "$log" | tr '\n' ' ')" "the whole log is $log"
  fi
  sleep 0.1
done
listens || die "$name does not listen on port $port after 60 s" "the whole log is $log"

say "$name listens on http://127.0.0.1:$port, process $pid, log $log"
if [ "$name" = anvil ]; then
  say "its accounts and their keys, which everybody knows, are at the top of $log"
else
  say "its account has no password; 'geth attach http://127.0.0.1:$port' opens a console"
fi
say "stop it with: bash scripts/setup_local_geth.sh stop"
