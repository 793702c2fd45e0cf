import type { Exec } from '../../host/index.ts';

const MANAGER = ['org.freedesktop.systemd1', '/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager'];

type Properties = readonly (readonly [name: string, signature: string, value: string])[];

/** systemd's slices over its bus: it owns the cgroups below them, so nothing may write there behind its back. */
export interface Slices {
  ensure(unit: string, properties: Properties, signal: AbortSignal): Promise<void>;
  stop(unit: string, signal: AbortSignal): Promise<void>;
}

export function createSlices(exec: Exec): Slices {
  const call = (method: string, args: readonly string[], signal: AbortSignal) =>
    exec.run(['busctl', '--quiet', 'call', ...MANAGER, method, ...args], { signal });
  return {
    async ensure(unit, properties, signal) {
      const own = properties.flat();
      const accounting = [
        'CPUAccounting',
        'b',
        'true',
        'MemoryAccounting',
        'b',
        'true',
        'TasksAccounting',
        'b',
        'true',
      ];
      const all = ['DefaultDependencies', 'b', 'false', ...accounting, ...own];
      const start = ['ssa(sv)a(sa(sv))', unit, 'fail', String(all.length / 3), ...all, '0'];
      try {
        await call('StartTransientUnit', start, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        // It is there already, from a former run or through one of its children.
        if (properties.length === 0) return;
        await call('SetUnitProperties', ['sba(sv)', unit, 'true', String(properties.length), ...own], signal);
      }
    },
    async stop(unit, signal) {
      await call('StopUnit', ['ss', unit, 'replace'], signal);
    },
  };
}
