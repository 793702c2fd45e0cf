import { AgentError, parseMilliCpu, parseQuantity } from '../core/index.ts';

/** What `--kubelet-arg` may change so far. Sizes in bytes, cpu in millicores. */
export interface KubeletSettings {
  maxPods: number;
  port: number;
  reservedCpu: number;
  reservedMemory: number;
  reservedStorage: number;
  clusterDns: readonly string[] | undefined;
  clusterDomain: string | undefined;
  resolvConf: string | undefined;
  serializeImagePulls: boolean;
  maxParallelImagePulls: number | undefined;
  allowedUnsafeSysctls: readonly string[];
  seccompDefault: boolean;
  podPidsLimit: number | undefined;
  cpuCfsQuota: boolean;
  nodeLabels: readonly string[];
}

/** Of no consequence here: they ask for what is so anyway, or tune what this agent does by events. */
const NEEDLESS = new Set([
  'fail-cgroupv1',
  'fail-swap-on',
  'v',
  'vmodule',
  'logging-format',
  'sync-frequency',
  'node-status-update-frequency',
  'containerd',
  'runtime-request-timeout',
  'cgroup-driver',
  'streaming-connection-idle-timeout',
]);

type Values = ReadonlyMap<string, readonly string[]>;

/**
 * The settings of `--kubelet-arg`, and a sentence for each argument that is known to change something this agent does
 * not do yet: it goes on without, as a board must, but says so. A value of the wrong kind throws `CONFIG_INVALID`.
 */
export function kubeletSettings(args: Values): { settings: KubeletSettings; warnings: string[] } {
  const warnings: string[] = [];
  const left = new Set(args.keys());
  const take = (name: string): string | undefined => {
    left.delete(name);
    return args.get(name)?.at(-1);
  };
  const number = (name: string, fallback: number): number => {
    const text = take(name);
    if (text === undefined) return fallback;
    if (!/^-?\d+$/.test(text)) throw invalid(name, text, 'a whole number');
    return Number(text);
  };
  const flag = (name: string, fallback: boolean): boolean => {
    const text = take(name);
    if (text === undefined) return fallback;
    if (!/^(true|false|1|0|t|f)$/i.test(text)) throw invalid(name, text, 'true or false');
    return /^(true|1|t)$/i.test(text);
  };
  const list = (name: string): readonly string[] => {
    left.delete(name);
    return (args.get(name) ?? []).flatMap((value) => value.split(',')).filter((value) => value !== '');
  };
  const reserved = [
    ...pairs('kube-reserved', list('kube-reserved')),
    ...pairs('system-reserved', list('system-reserved')),
  ];
  const sum = (resource: string, parse: (text: string) => number) =>
    reserved.filter(([name]) => name === resource).reduce((total, [, value]) => total + parse(value), 0);
  const pids = number('pod-max-pids', -1);
  const parallel = number('max-parallel-image-pulls', 0);
  const settings: KubeletSettings = {
    maxPods: number('max-pods', 110),
    port: number('port', 10250),
    reservedCpu: sum('cpu', parseMilliCpu),
    reservedMemory: sum('memory', parseQuantity),
    reservedStorage: sum('ephemeral-storage', parseQuantity),
    clusterDns: args.has('cluster-dns') ? list('cluster-dns') : undefined,
    clusterDomain: take('cluster-domain'),
    resolvConf: take('resolv-conf'),
    serializeImagePulls: flag('serialize-image-pulls', false),
    maxParallelImagePulls: parallel > 0 ? parallel : undefined,
    allowedUnsafeSysctls: list('allowed-unsafe-sysctls'),
    seccompDefault: flag('seccomp-default', false),
    podPidsLimit: pids > 0 ? pids : undefined,
    cpuCfsQuota: flag('cpu-cfs-quota', true),
    nodeLabels: list('node-labels'),
  };
  for (const name of left)
    if (!NEEDLESS.has(name)) warnings.push(`--kubelet-arg=${name} is not supported yet and has no effect`);
  return { settings, warnings };
}

function pairs(flag: string, items: readonly string[]): [string, string][] {
  return items.map((item) => {
    const at = item.indexOf('=');
    if (at < 1) throw invalid(flag, item, 'a list such as cpu=100m,memory=256Mi');
    return [item.slice(0, at), item.slice(at + 1)];
  });
}

function invalid(name: string, value: string, wanted: string): AgentError {
  return new AgentError({
    code: 'CONFIG_INVALID',
    message: `--kubelet-arg=${name}: "${value.slice(0, 64)}" is not ${wanted}`,
  });
}
