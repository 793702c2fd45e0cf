import type { Sensors } from '../hardware/index.ts';

/** One part of the agent as a person wants to see it. */
export interface PartStatus {
  /** `servers`, `tunnels`, `containerd`, `node`, … */
  name: string;
  /** `ok`; `waiting` (something outside is missing, it goes on trying); `failed`. */
  state: 'ok' | 'waiting' | 'failed';
  /** One line. */
  summary: string;
  /** More lines, one fact each. */
  details?: readonly string[];
  lastError?: string;
  remedy?: string;
}

/** What `k3s-agent status --json` prints. */
export interface AgentStatus {
  version: string;
  pid: number;
  /** RFC 3339. */
  startedAt: string;
  nodeName: string;
  nodeIps: readonly string[];
  server: string;
  healthy: boolean;
  parts: readonly PartStatus[];
}

/** A status is healthy when no part waits or has failed. */
export function isHealthy(parts: readonly PartStatus[]): boolean {
  return parts.every((part) => part.state === 'ok');
}

const MARK: Readonly<Record<PartStatus['state'], string>> = { ok: 'ok  ', waiting: 'wait', failed: 'FAIL' };

/** The status as text: identity first, then a line a part, what is wrong and what to do about it below it. */
export function renderStatus(status: AgentStatus, nowMs: number): string {
  const lines = [
    `${status.nodeName} (${status.nodeIps.join(', ') || 'no address yet'}) at ${status.server}: ${status.healthy ? 'healthy' : 'NOT healthy'}`,
    `k3s-agent ${status.version}, pid ${status.pid}, up ${duration(nowMs - Date.parse(status.startedAt))}`,
    '',
  ];
  const width = Math.max(...status.parts.map((part) => part.name.length), 0);
  for (const part of status.parts) {
    lines.push(`${MARK[part.state]}  ${part.name.padEnd(width)}  ${part.summary}`);
    const indent = ' '.repeat(8 + width);
    for (const detail of part.details ?? []) lines.push(indent + detail);
    if (part.lastError) lines.push(`${indent}error: ${part.lastError}`);
    if (part.remedy) lines.push(`${indent}what to do: ${part.remedy}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The board in one line: `Raspberry Pi 4 Model B Rev 1.4, 61 °C, memory 300 MB of 1.9 GB free, …`. */
export function renderBoard({ model, temperature, memory, disk }: Sensors): string {
  const facts = [
    model ?? 'unknown board',
    temperature === undefined ? '' : `${Math.round(temperature)} °C`,
    memory ? `memory ${size(memory.available)} of ${size(memory.total)} free` : '',
    disk ? `${disk.type} ${size(disk.available)} of ${size(disk.total)} free` : '',
  ];
  return `\nboard: ${facts.filter((fact) => fact !== '').join(', ')}\n`;
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** `3d4h`, `2h5m`, `41s`. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const units: [number, string][] = [
    [Math.floor(s / 86_400), 'd'],
    [Math.floor(s / 3_600) % 24, 'h'],
    [Math.floor(s / 60) % 60, 'm'],
    [s % 60, 's'],
  ];
  const first = units.findIndex(([value]) => value > 0);
  if (first < 0) return '0s';
  return units
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value}${unit}`)
    .join('');
}
