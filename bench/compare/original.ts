import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Cluster } from '../../test/e2e/support/cluster.ts';
import { cgroupMounts } from '../../test/lab/cgroups.ts';
import { type LabHost, run } from '../../test/lab/index.ts';
import { type Contender, joinArguments, layImages } from './contender.ts';

const CNI_DIRS = ['/usr/lib/cni', '/opt/cni/bin'];
const MULTICALL = ['containerd', 'ctr', 'kubectl', 'crictl'];
const CAP_SYS_RESOURCE = 24n;

/**
 * The original agent out of a k3s binary. A released one brings its own tools; a plain build looks for them on PATH:
 * containerd as a link to itself, the CNI plugins, the shim and runc of the machine. It runs from a copy: the server on
 * the same machine is the same program, and would take a share of its pages' PSS, as nothing does on a board.
 */
export async function original(cluster: Cluster, binary: string): Promise<Contender> {
  const tools = join(cluster.lab.dir, 'original');
  mkdirSync(tools, { recursive: true });
  const copy = join(tools, 'k3s');
  await run(['cp', binary, copy]);
  for (const name of MULTICALL) symlinkSync('k3s', join(tools, name));
  const plugins = CNI_DIRS.find((dir) => existsSync(join(dir, 'bridge')));
  if (plugins === undefined) throw new Error('no CNI plugins: apt-get install containernetworking-plugins');
  if (!existsSync(join(plugins, 'flannel'))) {
    writeFileSync(join(tools, 'flannel'), flannelPlugin(join(plugins, 'bridge')));
    chmodSync(join(tools, 'flannel'), 0o755);
  }
  // k3s takes the folder of `host-local`, found on PATH, for that of all plugins.
  for (const name of ['host-local', 'bridge', 'portmap', 'loopback', 'bandwidth', 'firewall'])
    if (existsSync(join(plugins, name))) symlinkSync(join(plugins, name), join(tools, name));
  const path = [tools, dirname(binary), process.env.PATH].join(':');
  const version = (await run([binary, '--version'])).split('\n')[0] ?? '';
  const flags = kubeletFlags(version);
  return {
    name: version.split(' ').slice(0, 3).join(' ').replace(' version', ''),
    prepare(host) {
      layImages(cluster, host);
      if (!has(CAP_SYS_RESOURCE)) restrictOomScore(host);
    },
    argv: (host) => host.inside(['env', `PATH=${path}`, copy, 'agent', ...joinArguments(cluster, host), ...flags]),
  };
}

/** Kubernetes 1.35 and later refuse hosts with cgroup v1 unless told; the flag is known from 1.31 on. */
function kubeletFlags(version: string): string[] {
  const minor = Number(/v1\.(\d+)\./.exec(version)?.[1]);
  const v1 = cgroupMounts().some(({ type, options }) => type === 'cgroup' && options.includes('memory'));
  return v1 && minor >= 31 ? ['--kubelet-arg=fail-cgroupv1=false'] : [];
}

/** What k3s's own flannel plugin does, for machines without it: hands on to `bridge`, with the subnet flanneld wrote. */
function flannelPlugin(bridge: string): string {
  return `#!/bin/sh
config=$(cat)
version=\${config#*'"cniVersion":"'}; version=\${version%%'"'*}
name=\${config#*'"name":"'}; name=\${name%%'"'*}
. /run/flannel/subnet.env
exec ${bridge} <<END
{"cniVersion":"$version","name":"$name","type":"bridge","bridge":"cni0","mtu":$FLANNEL_MTU,"ipMasq":false,
"isGateway":true,"isDefaultGateway":true,"hairpinMode":true,"forceAddress":true,
"ipam":{"type":"host-local","subnet":"\${FLANNEL_SUBNET%.*}.0/\${FLANNEL_SUBNET#*/}","routes":[{"dst":"$FLANNEL_NETWORK"}]}}
END
`;
}

/** Without CAP_SYS_RESOURCE no process may make itself less likely to be killed, and containerd fails for trying. */
function restrictOomScore(host: LabHost): void {
  const dir = join(host.disk, 'var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d');
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    join(dir, '10-oom-score.toml'),
    "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\n  restrict_oom_score_adj = true\n",
  );
}

function has(capability: bigint): boolean {
  const mask = /^CapEff:\s+([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${mask}`) & (1n << capability)) !== 0n;
}
