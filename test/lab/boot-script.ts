import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CgroupMount, cgroupMounts } from './cgroups.ts';

/** Folders that are a host's own: its disk. */
const DISK = [
  '/var/lib/kubelet',
  '/var/lib/cni',
  '/var/lib/rancher',
  '/var/lib/containerd',
  '/var/log/pods',
  '/var/log/containers',
  '/etc/cni',
  '/etc/rancher',
  '/opt/cni',
];

/**
 * What a host does to boot, as a bash script for process 1 of fresh namespaces: bind its disk, an empty /run, its own
 * /sys and cgroups, then wait for ever. Bash stays process 1: it reaps what is left to it.
 */
export function bootScript(options: { hostname: string; disk: string }): string {
  const { hostname, disk } = options;
  const lines = [
    'set -e',
    `hostname ${hostname}`,
    'mount --make-rprivate /',
    ...DISK.map((path) => `mkdir -p ${disk}${path} ${path}; mount --bind ${disk}${path} ${path}`),
    ...resolver(disk),
    ...machineId(disk),
    'mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/lock /run/netns',
    'mount -t sysfs sysfs /sys',
    ...cgroups(),
    'mount -t bpf bpf /sys/fs/bpf 2>/dev/null || true',
    'mount --make-rshared /',
    `touch ${disk}/booted`,
    'set +e',
    'while :; do sleep 1000000 & wait $!; done',
  ];
  return lines.join('\n');
}

/** A resolver the kubelet's rules accept: the switch. Nothing answers there; names are not looked up in tests. */
function resolver(disk: string): string[] {
  return [
    `mkdir -p ${disk}/etc; echo 'nameserver 10.99.0.254' > ${disk}/etc/resolv.conf`,
    `[ -f /etc/resolv.conf ] && mount --bind ${disk}/etc/resolv.conf "$(readlink -f /etc/resolv.conf)"`,
  ];
}

/** Hosts are told apart by their machine ids. */
function machineId(disk: string): string[] {
  return [
    `[ -s ${disk}/etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > ${disk}/etc/machine-id`,
    `if [ -f /etc/machine-id ]; then mount --bind ${disk}/etc/machine-id /etc/machine-id; fi`,
  ];
}

function cgroups(): string[] {
  const mounts = cgroupMounts();
  const unified = mounts.length === 1 && mounts[0]?.type === 'cgroup2';
  if (unified)
    return [
      `mount -t cgroup2 cgroup2 /sys/fs/cgroup`,
      // A group with processes can't hand controllers down: process 1 moves aside.
      'mkdir -p /sys/fs/cgroup/init.scope; echo $$ > /sys/fs/cgroup/init.scope/cgroup.procs',
      'for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c > /sys/fs/cgroup/cgroup.subtree_control || true; done',
    ];
  return ['mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup', ...mounts.map(mountLine), ...leftToV2(mounts)];
}

/** As systemd has it, v2 beside v1 holds no controllers; one that is in use there stays. */
function leftToV2(mounts: CgroupMount[]): string[] {
  const beside = mounts.find(({ type }) => type === 'cgroup2');
  if (beside === undefined) return [];
  return readFileSync(join(beside.path, 'cgroup.controllers'), 'utf8')
    .split(/\s+/)
    .filter((name) => name !== '')
    .map((name) => `${mountLine({ path: `/sys/fs/cgroup/${name}`, type: 'cgroup', options: name })} || true`);
}

function mountLine({ path, type, options }: CgroupMount): string {
  return `mkdir -p ${path}; mount -t ${type}${options ? ` -o ${options}` : ''} cgroup ${path}`;
}
