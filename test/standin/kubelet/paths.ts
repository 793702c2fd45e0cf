import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { allContainers } from '../registry/pod-defaults.ts';
import { badRequest } from '../status.ts';

/** The kubelet's path and query for a pod sub-resource (pkg/registry/core/pod/strategy.go). Throws 400. */
export function kubeletPath(pod: Pod, subresource: string, query: URLSearchParams): string {
  const { name = '', namespace = '' } = pod.metadata ?? {};
  const place = `${namespace}/${name}`;
  if (subresource === 'log') return withQuery(`/containerLogs/${place}/${containerOf(pod, query)}`, logQuery(query));
  if (subresource === 'portforward') {
    const ports = new URLSearchParams();
    for (const port of query.getAll('ports')) ports.append('port', port);
    return withQuery(`/portForward/${place}`, ports);
  }
  const streams = new URLSearchParams();
  for (const [from, to] of [
    ['stdin', 'input'],
    ['stdout', 'output'],
    ['stderr', 'error'],
    ['tty', 'tty'],
  ] as const)
    if (['true', '1'].includes(query.get(from) ?? '')) streams.set(to, '1');
  const container = containerOf(pod, query);
  if (subresource === 'attach') return withQuery(`/attach/${place}/${container}`, streams);
  for (const command of query.getAll('command')) streams.append('command', command);
  return withQuery(`/exec/${place}/${container}`, streams);
}

function withQuery(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function logQuery(query: URLSearchParams): URLSearchParams {
  const out = new URLSearchParams();
  for (const flag of ['follow', 'previous', 'timestamps'])
    if (['true', '1'].includes(query.get(flag) ?? '')) out.set(flag, 'true');
  for (const name of ['sinceSeconds', 'sinceTime', 'tailLines', 'limitBytes', 'stream']) {
    const value = query.get(name);
    if (value !== null) out.set(name, value);
  }
  return out;
}

function containerOf(pod: Pod, query: URLSearchParams): string {
  const name = pod.metadata?.name;
  const asked = query.get('container');
  const all = pod.spec ? allContainers(pod.spec).map((container) => container.name) : [];
  if (asked) {
    if (!all.includes(asked)) throw badRequest(`container ${asked} is not valid for pod ${name}`);
    return asked;
  }
  const main = (pod.spec?.containers ?? []).map((container) => container.name);
  if (main.length === 1) return main[0] as string;
  const init = (pod.spec?.initContainers ?? []).map((container) => container.name);
  const also = init.length > 0 ? ` or one of the init containers: [${init.join(' ')}]` : '';
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]${also}`);
}
