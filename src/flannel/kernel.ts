import { availableParallelism } from 'node:os';
import { errorCode, type Family, type Logger } from '../core/index.ts';
import { type Exec, ensureSysctl, loadModules, type Sysctl } from '../host/index.ts';

export interface PrepareKernelOptions {
  exec: Exec;
  sysctl: Sysctl;
  log: Logger;
  /** Families of the cluster. */
  families: readonly Family[];
  /** False if kube-proxy is off and flannel is none: then bridged packets need not pass iptables. */
  bridgeNetfilter: boolean;
  signal?: AbortSignal;
}

/** What could not be had, for status and node conditions; empty on a complete kernel. */
export interface KernelReport {
  missingModules: string[];
  failedSysctls: string[];
}

/**
 * Modules and settings that pods need (k3s pkg/agent/syssetup). Nothing here is fatal: a kernel with everything built
 * in has no modules, a container no writable settings. What is missing is named once, with the remedy.
 */
export async function prepareKernel(options: PrepareKernelOptions): Promise<KernelReport> {
  const { exec, sysctl, log, families, bridgeNetfilter, signal } = options;
  const v6 = families.includes(6);
  const report: KernelReport = { missingModules: [], failedSysctls: [] };
  const set = async (settings: readonly (readonly [string, string])[]) => {
    await Promise.all(
      settings.map(([key, value]) =>
        ensureSysctl(sysctl, key, value).catch((error) => {
          report.failedSysctls.push(`${key} (${errorCode(error) ?? 'failed'})`);
        }),
      ),
    );
  };
  const names = ['overlay', 'nf_conntrack', 'br_netfilter', 'iptable_nat', 'iptable_filter'];
  const soft = ['nft-expr-counter', 'nfnetlink-subsys-11', 'nft-chain-2-nat'];
  const modules = async () => {
    const wanted = [...names, ...(v6 ? ['ip6table_nat', 'ip6table_filter'] : []), ...soft];
    const { missing, reason } = await loadModules({ exec, names: wanted, ...(signal ? { signal } : {}) });
    await set(await settingsAfterModules(options));
    // The aliases only spare nft a first load; and a module that works is not missing, wherever it hides.
    const works = bridgeNetfilter && (await sysctl.get('net/bridge/bridge-nf-call-iptables')) !== undefined;
    report.missingModules = missing.filter((name) => !soft.includes(name) && !(name === 'br_netfilter' && works));
    if (report.missingModules.length > 0)
      log.debug('kernel modules could not be loaded', { modules: report.missingModules.join(','), reason });
    if (bridgeNetfilter && !works)
      log.warn('the kernel module br_netfilter is missing: Services are not reachable between pods of this node', {
        remedy:
          'Install the full kernel modules package (Ubuntu on a Pi: linux-modules-extra-raspi) or add it to the kernel.',
      });
  };
  await Promise.all([
    modules(),
    set([
      ['net/ipv4/conf/all/forwarding', '1'],
      ['net/ipv4/conf/default/forwarding', '1'],
      ...(v6
        ? ([
            ['net/ipv6/conf/all/forwarding', '1'],
            ['net/ipv6/conf/default/forwarding', '1'],
            ['net/core/devconf_inherit_init_net', '1'],
          ] as const)
        : []),
    ]),
  ]);
  if (report.failedSysctls.length > 0)
    log.warn('kernel settings could not be made', { settings: report.failedSysctls.sort().join(', ') });
  return report;
}

async function settingsAfterModules(options: PrepareKernelOptions): Promise<(readonly [string, string])[]> {
  const { families, bridgeNetfilter, sysctl } = options;
  const out: (readonly [string, string])[] = [];
  if (bridgeNetfilter) out.push(['net/bridge/bridge-nf-call-iptables', '1']);
  if (bridgeNetfilter && families.includes(6)) out.push(['net/bridge/bridge-nf-call-ip6tables', '1']);
  // Connection tracking as kube-proxy sets it by default.
  const entries = Math.max(131_072, 32_768 * availableParallelism());
  const key = 'net/netfilter/nf_conntrack_max';
  // A larger table was somebody's wish and must not be made smaller.
  if (Number(await sysctl.get(key)) < entries) out.push([key, String(entries)]);
  out.push(['net/netfilter/nf_conntrack_tcp_timeout_established', '86400']);
  out.push(['net/netfilter/nf_conntrack_tcp_timeout_close_wait', '3600']);
  const missing = await Promise.all(out.map(async ([name]) => (await sysctl.get(name)) === undefined));
  return out.filter(([name], i) => !missing[i] || !name.startsWith('net/bridge/'));
}
