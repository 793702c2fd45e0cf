# Shared by the scripts: brings what they need onto a fresh Debian or Raspberry Pi OS machine. To be sourced.
# After `need_node`, $NODE is a Node 24 and node_modules is complete; nothing outside the checkout is changed by it,
# save that npm itself is installed if the machine has none.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NODE=$ROOT/node_modules/node/bin/node

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# need_packages PROGRAM:PACKAGE ... installs the package of each program that is missing.
need_packages() {
  local missing=() pair
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "these packages are missing and only root can install them: ${missing[*]} (use sudo)"
  command -v apt-get >/dev/null || die "please install: ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -qq >&2 || say "apt-get update failed, trying with the lists at hand"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 </dev/null ||
    die "could not install ${missing[*]}"
}

# What the agent needs of a host, and (need_lab) what hosts made of namespaces need besides.
need_agent_packages() {
  need_packages containerd:containerd runc:runc ip:iproute2 nft:nftables iptables:iptables modprobe:kmod mount:mount \
    /usr/lib/cni/bridge:containernetworking-plugins
}
# Not needed, but pods cost a third less with it; some distributions have none.
want_crun() {
  (need_packages crun:crun) || say "no crun: pods run with runc"
}
need_lab_packages() {
  need_agent_packages
  want_crun
  need_packages kubectl:kubernetes-client /bin/busybox:busybox-static nsenter:util-linux sysctl:procps hostname:hostname \
    lz4:lz4 bzip2:bzip2 conntrack:conntrack ping:iputils-ping
}

need_node() {
  local stamp=$ROOT/node_modules/.installed want
  want=$(sha256sum "$ROOT/package-lock.json" | cut -d' ' -f1)-$(uname -m)
  if [ ! -x "$NODE" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    need_packages npm:npm
    say "installing the npm packages (Node 24 among them)"
    (cd "$ROOT" && npm ci --no-audit --no-fund --loglevel=error >&2 </dev/null) || die "npm ci failed"
    [ -x "$NODE" ] || (cd "$ROOT/node_modules/node" && node installArchSpecificPackage >&2 </dev/null) || die "npm's node package did not bring a Node for $(uname -m)"
    printf %s "$want" >"$stamp"
  fi
  export NODE PATH="$ROOT/node_modules/node/bin:$ROOT/node_modules/.bin:$PATH"
}
