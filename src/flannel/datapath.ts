import { AgentError } from '../core/index.ts';
import { type BatchFailure, ensureSysctl, type Ip, type NetworkState, type Sysctl } from '../host/index.ts';
import type { DatapathSteps } from './diff.ts';

export interface ApplyOptions {
  ip: Ip;
  sysctl: Sysctl;
  steps: DatapathSteps;
  /** More lines for the same ip batch. */
  also: readonly string[];
  state: NetworkState;
  signal: AbortSignal;
}

/** Performs the steps in at most two processes. Throws `FLANNEL_DEVICE` or `FLANNEL_DATAPATH` with all that failed. */
export async function applyDatapath({ ip, sysctl, steps, also, state, signal }: ApplyOptions): Promise<void> {
  const lines = [...steps.ip, ...also];
  let failures: BatchFailure[];
  if (steps.made.length > 0) {
    failures = await ip.apply('ip', lines, signal);
    failures.push(...(await ip.apply('bridge', steps.bridge, signal)));
    await Promise.all(steps.made.map(({ name, family }) => settleDevice(sysctl, name, family === 6)));
  } else
    failures = (await Promise.all([ip.apply('ip', lines, signal), ip.apply('bridge', steps.bridge, signal)])).flat();
  // What is already gone need not be deleted.
  const real = failures.filter(
    (f) => !(/ del /.test(f.command) && /No such|Cannot find|Cannot assign/.test(f.message)),
  );
  const [first] = real;
  if (first === undefined) return;
  if (first.command.startsWith('link add')) throw deviceError(first, state);
  throw new AgentError({
    code: 'FLANNEL_DATAPATH',
    message: `${real.length} network change(s) refused, the first: "${first.command}": ${first.message}`,
  });
}

async function settleDevice(sysctl: Sysctl, name: string, v6: boolean): Promise<void> {
  // Router advertisements from another node's pods must not configure this host.
  await ensureSysctl(sysctl, `net/ipv6/conf/${name}/accept_ra`, '0').catch(() => {});
  if (v6) await ensureSysctl(sysctl, `net/ipv6/conf/${name}/disable_ipv6`, '0').catch(() => {});
}

function deviceError({ command, message }: BatchFailure, state: NetworkState): AgentError {
  const name = /name (\S+)/.exec(command)?.[1] ?? 'the tunnel';
  if (/Unknown device type|not supported/i.test(message))
    return new AgentError({
      code: 'FLANNEL_DEVICE',
      message: `${name} can't be made: this kernel has no vxlan (${message})`,
      remedy:
        'Install the full kernel modules package (Ubuntu on a Pi: apt install linux-modules-extra-raspi) and restart.',
    });
  const id = Number(/ id (\d+)/.exec(command)?.[1]);
  const rival = [...state.links.values()].find((link) => link.vxlan?.id === id && link.name !== name);
  return new AgentError({
    code: 'FLANNEL_DEVICE',
    message: `${name} can't be made: ${message}${rival ? ` (${rival.name} already uses VNI ${id})` : ''}`,
    ...(rival ? { remedy: `Remove the leftover of another pod network: ip link del ${rival.name}` } : {}),
  });
}
