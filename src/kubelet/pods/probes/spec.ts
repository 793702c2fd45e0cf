import type { Probe } from '../../../kube/index.ts';
import type { SpecContainer } from '../model.ts';

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

/** A probe with upstream's defaults filled in; milliseconds. */
export interface ProbeTiming {
  initialDelayMs: number;
  periodMs: number;
  timeoutMs: number;
  successThreshold: number;
  failureThreshold: number;
}

export function probesOf(container: SpecContainer): [ProbeKind, Probe][] {
  const { startupProbe, livenessProbe, readinessProbe } = container.spec;
  const all: [ProbeKind, Probe | undefined][] = [
    ['startup', startupProbe],
    ['liveness', livenessProbe],
    ['readiness', readinessProbe],
  ];
  return all.filter((entry): entry is [ProbeKind, Probe] => typeof entry[1] === 'object' && entry[1] !== null);
}

export function timingOf(probe: Probe): ProbeTiming {
  return {
    initialDelayMs: seconds(probe.initialDelaySeconds, 0),
    periodMs: Math.max(1_000, seconds(probe.periodSeconds, 10)),
    timeoutMs: Math.min(2 ** 31 - 1, Math.max(1_000, seconds(probe.timeoutSeconds, 1))), // what a timer can count
    successThreshold: count(probe.successThreshold, 1),
    failureThreshold: count(probe.failureThreshold, 3),
  };
}

function seconds(value: unknown, otherwise: number): number {
  return (
    (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.min(value, 86_400 * 365) : otherwise) *
    1000
  );
}

function count(value: unknown, otherwise: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 1 ? value : otherwise;
}

/** A port by number, or by its name among the container's ports. Throws with upstream's text (pkg/probe/util.go). */
export function resolvePort(port: unknown, container: SpecContainer): number {
  const ports = Array.isArray(container.spec.ports) ? container.spec.ports : [];
  const named = typeof port === 'string' ? ports.find((p) => p?.name === port)?.containerPort : undefined;
  const number = named ?? Number(port);
  if (Number.isInteger(number) && number > 0 && number < 65536) return number;
  if (typeof port === 'string' && !/^[+-]?\d+$/.test(port))
    throw new Error(`strconv.Atoi: parsing "${port}": invalid syntax`);
  throw new Error(`invalid port number: ${port}`);
}
