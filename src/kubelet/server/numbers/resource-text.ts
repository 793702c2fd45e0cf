import { type NodeNumbers, type PodNumbers, sum } from './usage.ts';

interface Sample {
  labels?: Readonly<Record<string, string>>;
  value: number;
  /** Milliseconds since the epoch. */
  time?: number;
}

/** The page /metrics/resource, in Prometheus' text format: what metrics-server since 0.6 reads for `kubectl top`. */
export function resourceText(node: NodeNumbers, pods: readonly PodNumbers[] | undefined): string {
  const known = pods ?? [];
  const containers = known.flatMap(({ namespace, pod, containers: list }) =>
    list.map((c) => ({ labels: { container: c.container, namespace, pod }, ...c })),
  );
  const totals = known
    .filter((p) => p.containers.length > 0)
    .map(({ namespace, pod, containers: list }) => ({
      labels: { namespace, pod },
      usage: sum(list.map((c) => c.usage)),
    }));
  return [
    family(
      'container_cpu_usage_seconds_total',
      'counter',
      'Cumulative cpu time consumed by the container in core-seconds',
      containers.map(({ labels, usage }) => ({ labels, value: usage.cpuNanoseconds / 1e9, time: usage.cpuTime })),
    ),
    family(
      'container_memory_working_set_bytes',
      'gauge',
      'Current working set of the container in bytes',
      containers.map(({ labels, usage }) => ({ labels, value: usage.workingSet, time: usage.memoryTime })),
    ),
    family(
      'container_start_time_seconds',
      'gauge',
      'Start time of the container since unix epoch in seconds',
      containers.map(({ labels, startedAt }) => ({ labels, value: startedAt / 1000 })),
    ),
    family('node_cpu_usage_seconds_total', 'counter', 'Cumulative cpu time consumed by the node in core-seconds', [
      { value: node.usage.cpuNanoseconds / 1e9, time: node.usage.cpuTime },
    ]),
    family('node_memory_working_set_bytes', 'gauge', 'Current working set of the node in bytes', [
      { value: node.usage.workingSet, time: node.usage.memoryTime },
    ]),
    family(
      'pod_cpu_usage_seconds_total',
      'counter',
      'Cumulative cpu time consumed by the pod in core-seconds',
      totals.map(({ labels, usage }) => ({ labels, value: usage.cpuNanoseconds / 1e9, time: usage.cpuTime })),
    ),
    family(
      'pod_memory_working_set_bytes',
      'gauge',
      'Current working set of the pod in bytes',
      totals.map(({ labels, usage }) => ({ labels, value: usage.workingSet, time: usage.memoryTime })),
    ),
    family('resource_scrape_error', 'gauge', '1 if there was an error while getting container metrics, 0 otherwise', [
      { value: pods === undefined ? 1 : 0 },
    ]),
  ].join('');
}

function family(name: string, type: 'counter' | 'gauge', help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(({ labels, value, time }) => {
    const inner = Object.entries(labels ?? {}).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
    const at = time === undefined ? '' : ` ${Math.round(time)}`;
    return `${name}${inner.length > 0 ? `{${inner.join(',')}}` : ''} ${value}${at}\n`;
  });
  return `# HELP ${name} [STABLE] ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
