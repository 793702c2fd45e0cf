/** A container addressed by a path: `/exec/<namespace>/<pod>[/<uid>]/<container>`. */
export interface ContainerPath {
  namespace: string;
  pod: string;
  uid?: string;
  container: string;
}

export type Route =
  | { kind: 'healthz'; check: string | undefined }
  | { kind: 'pods' }
  | { kind: 'runningPods' }
  | ({ kind: 'logs' } & ContainerPath)
  | ({ kind: 'exec' } & ContainerPath)
  | ({ kind: 'attach' } & ContainerPath)
  | ({ kind: 'run' } & ContainerPath)
  | { kind: 'portForward'; namespace: string; pod: string; uid?: string }
  | { kind: 'stats'; document: 'configz' | 'summary' | 'resource' | 'metrics' | 'cadvisor' | 'probes' }
  | { kind: 'none'; status: 403 | 404 | 405; text: string };

export interface Target {
  /** Decoded, begins with a slash. */
  path: string;
  query: URLSearchParams;
}

const NOT_FOUND: Route = { kind: 'none', status: 404, text: '404: Page Not Found' };
const WRONG_METHOD: Route = { kind: 'none', status: 405, text: '405: Method Not Allowed' };

/**
 * Splits a request target; undefined if it is not a plain absolute path. Authorization and routing both work on what
 * this returns, so they can't disagree about what a request means.
 */
export function parseTarget(url: string): Target | undefined {
  const at = url.indexOf('?');
  const raw = at < 0 ? url : url.slice(0, at);
  if (!raw.startsWith('/')) return undefined;
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    return undefined;
  }
  if (/\/\/|\/\.{1,2}(\/|$)/.test(path)) return undefined;
  return { path, query: new URLSearchParams(at < 0 ? '' : url.slice(at + 1)) };
}

const DOCUMENTS: Readonly<Record<string, Extract<Route, { kind: 'stats' }>['document']>> = {
  '/configz': 'configz',
  '/stats/summary': 'summary',
  '/metrics': 'metrics',
  '/metrics/resource': 'resource',
  '/metrics/cadvisor': 'cadvisor',
  '/metrics/probes': 'probes',
};

/** The kubelet's routes (upstream: pkg/kubelet/server/server.go). A trailing slash makes no difference. */
export function route(method: string, path: string): Route {
  const clean = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  const [, root = '', ...rest] = clean.split('/');
  const only = (methods: readonly string[], found: Route | undefined): Route =>
    found === undefined ? NOT_FOUND : methods.includes(method) ? found : WRONG_METHOD;

  switch (root) {
    case 'healthz':
      return rest.length > 1 ? NOT_FOUND : { kind: 'healthz', check: rest[0] };
    case 'pods':
      return only(['GET'], rest.length === 0 ? { kind: 'pods' } : undefined);
    case 'runningpods':
      return only(['GET'], rest.length === 0 ? { kind: 'runningPods' } : undefined);
    case 'containerLogs': {
      const target = rest.length === 3 ? containerPath(rest) : undefined;
      return only(['GET'], target && { kind: 'logs', ...target });
    }
    case 'exec':
    case 'attach': {
      const target = containerPath(rest);
      return only(['GET', 'POST'], target && { kind: root, ...target });
    }
    case 'run': {
      const target = containerPath(rest);
      return only(['POST'], target && { kind: 'run', ...target });
    }
    case 'portForward': {
      const [namespace, pod, uid] = rest;
      if (!namespace || !pod || rest.length > 3) return NOT_FOUND;
      return only(['GET', 'POST'], { kind: 'portForward', namespace, pod, ...(uid ? { uid } : {}) });
    }
    case 'logs':
      return { kind: 'none', status: 403, text: 'the log folder of this host is not served' };
    default: {
      const document = Object.hasOwn(DOCUMENTS, clean) ? DOCUMENTS[clean] : undefined;
      return only(['GET'], document && { kind: 'stats', document });
    }
  }
}

function containerPath(rest: readonly string[]): ContainerPath | undefined {
  const [namespace, pod, third, fourth] = rest;
  if (!namespace || !pod || !third || rest.length > 4) return undefined;
  return fourth === undefined
    ? { namespace, pod, container: third }
    : { namespace, pod, uid: third, container: fourth };
}

/** True for paths whose `Connection: Upgrade` is meant; on others it is ignored, as HTTP allows. */
export function isStreamingPath(url: string): boolean {
  return /^\/(exec|attach|portForward)\//.test(url);
}
